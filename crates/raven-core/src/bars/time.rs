//! Time bars: cut by the clock, at whole multiples of their length since 1970.

use super::bar::Bar;
use super::builder::Rule;

/// θ is the number of buys less sells.
#[derive(Clone, Debug)]
pub struct Time {
    interval_ms: i64,
    keeps_empty: bool,
}

impl Time {
    /// Bars of so many seconds; `keeps_empty`: also of intervals without a trade, at the last price.
    pub fn new(seconds: f64, keeps_empty: bool) -> Self {
        Self { interval_ms: ((seconds * 1000.0).round() as i64).max(1), keeps_empty }
    }
}

impl Rule for Time {
    #[inline(always)]
    fn interval_ms(&self) -> Option<i64> {
        Some(self.interval_ms)
    }

    fn keeps_empty(&self) -> bool {
        self.keeps_empty
    }

    #[inline(always)]
    fn is_full(&self, _bar: &Bar) -> bool {
        false
    }

    fn describe(&self, bar: &mut Bar) {
        bar.theta = bar.signed_ticks as f64;
    }
}
