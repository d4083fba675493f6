//! Run bars: a bar ends when the heavier side alone has more than was expected of it.
//!
//! θ = max(Σ of what went up, Σ of what went down), in trades (tick runs) or base volume (volume runs); the other side
//! may trade in between without ending the run. The bar ends when θ > size · max(p, 1 − p), strictly, with the expected
//! size and the expected share p that goes up, see [`super::expectation`]; a bar's first trade is not tested.
//! The threshold is never below half of the size, so there is nothing for a floor to mend; a cap is taken all the same.

use super::bar::{Bar, Scales};
use super::builder::Rule;
use super::expectation::{Adaptive, Expectation, Measure};

/// θ is what is compared with the threshold.
#[derive(Clone, Debug)]
pub struct Run<M> {
    measure: M,
    expectation: Expectation,
    threshold: f64,
    /// The size at which the bar ends in any case.
    cap: f64,
}

impl<M: Measure> Run<M> {
    /// Bars by these parameters.
    pub fn new(measure: M, parameters: Adaptive) -> Self {
        let mut rule = Self { measure, expectation: Expectation::new(parameters), threshold: 0.0, cap: 0.0 };
        rule.expect();
        rule
    }

    fn expect(&mut self) {
        // max(p, 1 - p) with p = (1 + imbalance) / 2.
        self.threshold = self.expectation.size() * ((1.0 + self.expectation.imbalance().abs()) / 2.0);
        self.cap = self.expectation.cap();
    }

    /// The heavier side: half of all, and half of what it is ahead.
    #[inline(always)]
    fn heavier(&self, bar: &Bar) -> f64 {
        (self.measure.size(bar) + self.measure.theta(bar).abs()) / 2.0
    }
}

impl<M: Measure> Rule for Run<M> {
    fn rescale(&mut self, scales: Scales) {
        self.measure.rescale(scales);
    }

    #[inline(always)]
    fn is_full(&self, bar: &Bar) -> bool {
        bar.ticks() > 1 && (self.heavier(bar) > self.threshold || self.measure.size(bar) >= self.cap)
    }

    fn describe(&self, bar: &mut Bar) {
        bar.theta = self.heavier(bar);
        if bar.revision == 0 {
            bar.threshold = self.threshold;
            bar.is_warming_up = self.expectation.is_warming_up();
        }
    }

    fn end(&mut self, bar: &mut Bar) {
        self.describe(bar);
        self.expectation.learn(self.measure.size(bar), self.measure.theta(bar), bar.ticks());
        self.expect();
    }

    fn save(&self, out: &mut Vec<u64>) {
        self.expectation.save(out);
    }

    fn load(&mut self, mut words: &mut dyn Iterator<Item = u64>) -> bool {
        let is_loaded = self.expectation.load(&mut words);
        self.expect();
        is_loaded
    }
}
