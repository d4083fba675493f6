//! Imbalance bars: a bar ends when buys outweigh sells, or the reverse, by more than was expected of it.
//!
//! With b = +1 for a trade that goes up and -1 for one that goes down, θ = Σ b (tick imbalance), or θ = Σ b·q with the
//! quantities q (volume imbalance). A bar's first trade is not tested; from the second on the bar ends when
//! |θ| > |threshold|, strictly. What is expected, and how that is bounded, see [`super::expectation`].
//!
//! In volume imbalance bars sizes and the initial size are base volume, and the expected imbalance is the share of
//! *volume* bought, times two, less one. With all quantities 1 they are the tick imbalance bars.

use super::bar::{Bar, Scales};
use super::builder::Rule;
use super::expectation::{Adaptive, Expectation, Measure};

/// θ is what is compared with the threshold.
#[derive(Clone, Debug)]
pub struct Imbalance<M> {
    measure: M,
    expectation: Expectation,
    /// With the sign of the expected imbalance, and without it: what |θ| must exceed.
    threshold: f64,
    limit: f64,
    /// The size at which the bar ends in any case.
    cap: f64,
}

impl<M: Measure> Imbalance<M> {
    /// Bars by these parameters.
    pub fn new(measure: M, parameters: Adaptive) -> Self {
        let expectation = Expectation::new(parameters);
        let mut rule = Self { measure, expectation, threshold: 0.0, limit: 0.0, cap: 0.0 };
        rule.expect();
        rule
    }

    fn expect(&mut self) {
        self.threshold = self.expectation.threshold(M::COUNTS_TRADES);
        self.limit = self.threshold.abs();
        self.cap = self.expectation.cap();
    }
}

impl<M: Measure> Rule for Imbalance<M> {
    fn rescale(&mut self, scales: Scales) {
        self.measure.rescale(scales);
    }

    #[inline(always)]
    fn is_full(&self, bar: &Bar) -> bool {
        bar.ticks() > 1 && (self.measure.theta(bar).abs() > self.limit || self.measure.size(bar) >= self.cap)
    }

    fn describe(&self, bar: &mut Bar) {
        bar.theta = self.measure.theta(bar);
        // A corrected bar keeps the threshold that it had.
        if bar.revision == 0 {
            bar.threshold = self.threshold;
            bar.is_warming_up = self.expectation.is_warming_up();
        }
    }

    fn end(&mut self, bar: &mut Bar) {
        self.describe(bar);
        self.expectation.learn(self.measure.size(bar), bar.theta, bar.ticks());
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
