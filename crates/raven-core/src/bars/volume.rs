//! Volume bars and quote-volume ("dollar") bars: at least so much base or quote volume each.
//!
//! Unsplit, a bar takes the whole of the print that fills it and is then larger than its target by what was too much.
//! Split, the print fills the bar to the unit and what is left of it opens the next one; a print of many targets makes
//! many bars. It is counted as a trade in the first of them, and all carry its id.

use super::bar::{integer_of, Bar, Scales, Trade};
use super::builder::Rule;

/// θ is the number of buys less sells.
#[derive(Clone, Debug)]
pub struct Volume {
    amount: f64,
    is_split: bool,
    target: i64,
}

impl Volume {
    /// Bars of so much base volume.
    pub fn new(amount: f64, is_split: bool) -> Self {
        Self { amount, is_split, target: target(amount, 0) }
    }
}

/// The integer of an amount in a scale, between 1 and what fits.
pub(super) fn target(amount: f64, scale: u8) -> i64 {
    integer_of(amount, scale).clamp(1, i128::from(i64::MAX)) as i64
}

impl Rule for Volume {
    fn rescale(&mut self, scales: Scales) {
        self.target = target(self.amount, scales.quantity);
    }

    #[inline(always)]
    fn part(&self, bar: &Bar, _trade: &Trade, rest: i64) -> i64 {
        if self.is_split {
            rest.min(self.target - bar.volume)
        } else {
            rest
        }
    }

    #[inline(always)]
    fn is_full(&self, bar: &Bar) -> bool {
        bar.volume >= self.target
    }

    fn describe(&self, bar: &mut Bar) {
        bar.theta = bar.signed_ticks as f64;
    }
}

/// θ is the number of buys less sells.
#[derive(Clone, Debug)]
pub struct QuoteVolume {
    amount: f64,
    is_split: bool,
    target: i128,
}

impl QuoteVolume {
    /// Bars of so much quote volume. Split, a bar ends with the smallest quantity that reaches it.
    pub fn new(amount: f64, is_split: bool) -> Self {
        Self { amount, is_split, target: integer_of(amount, 0).max(1) }
    }
}

impl Rule for QuoteVolume {
    fn rescale(&mut self, scales: Scales) {
        self.target = integer_of(self.amount, scales.price.saturating_add(scales.quantity)).max(1);
    }

    #[inline(always)]
    fn part(&self, bar: &Bar, trade: &Trade, rest: i64) -> i64 {
        if !self.is_split || trade.price <= 0 {
            return rest;
        }
        let (room, price) = (self.target - bar.quote_volume, i128::from(trade.price));
        let quantity = (room + price - 1) / price;
        i64::try_from(quantity).unwrap_or(i64::MAX).clamp(1, rest.max(1))
    }

    #[inline(always)]
    fn is_full(&self, bar: &Bar) -> bool {
        bar.quote_volume >= self.target
    }

    fn describe(&self, bar: &mut Bar) {
        bar.theta = bar.signed_ticks as f64;
    }
}
