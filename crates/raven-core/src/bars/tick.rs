//! Tick bars: so many trades each.

use super::bar::Bar;
use super::builder::Rule;

/// θ is the number of buys less sells.
#[derive(Clone, Debug)]
pub struct Tick {
    ticks: u64,
}

impl Tick {
    /// Bars of so many trades.
    pub fn new(ticks: f64) -> Self {
        Self { ticks: (ticks as u64).max(1) }
    }
}

impl Rule for Tick {
    #[inline(always)]
    fn is_full(&self, bar: &Bar) -> bool {
        bar.ticks() >= self.ticks
    }

    fn describe(&self, bar: &mut Bar) {
        bar.theta = bar.signed_ticks as f64;
    }
}
