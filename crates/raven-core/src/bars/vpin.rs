//! VPIN: how one-sided flow was over the last buckets of equal volume.
//!
//! A bar is a bucket of exactly so much base volume (prints are split). With V its volume and n the number of buckets,
//! θ = Σ over the last n buckets of |bought − sold| ÷ (n · V), between 0 and 1 (Easley, López de Prado, O'Hara, *Flow
//! Toxicity and Liquidity in a High-Frequency World*, 2012). The paper guesses each side from price changes; here it is
//! the taker's. As long as there were fewer than n buckets, θ is over those there are, and the bar is warming up.

use std::collections::VecDeque;

use super::bar::{Bar, Scales, Trade};
use super::builder::Rule;
use super::volume::target;

/// θ is the VPIN.
#[derive(Clone, Debug)]
pub struct Vpin {
    amount: f64,
    target: i64,
    buckets: usize,
    /// Bought less sold of the last buckets, oldest first, in the scale of quantities.
    imbalances: VecDeque<i64>,
    sum: i128,
    scale: u8,
}

impl Vpin {
    /// Buckets of so much base volume, and how many of them.
    pub fn new(amount: f64, buckets: f64) -> Self {
        let buckets = (buckets as usize).max(1);
        let imbalances = VecDeque::with_capacity(buckets.min(1024));
        Self { amount, target: target(amount, 0), buckets, imbalances, sum: 0, scale: 0 }
    }

    fn value(&self) -> f64 {
        let volume = i128::from(self.target) * self.imbalances.len().max(1) as i128;
        self.sum as f64 / volume as f64
    }
}

impl Rule for Vpin {
    fn rescale(&mut self, scales: Scales) {
        let factor = 10_i64.checked_pow(u32::from(scales.quantity.saturating_sub(self.scale))).unwrap_or(i64::MAX);
        self.imbalances.iter_mut().for_each(|imbalance| *imbalance = imbalance.saturating_mul(factor));
        self.sum = self.imbalances.iter().map(|imbalance| i128::from(imbalance.unsigned_abs())).sum();
        self.target = target(self.amount, scales.quantity);
        self.scale = scales.quantity;
    }

    #[inline(always)]
    fn part(&self, bar: &Bar, _trade: &Trade, rest: i64) -> i64 {
        rest.min(self.target - bar.volume)
    }

    #[inline(always)]
    fn is_full(&self, bar: &Bar) -> bool {
        bar.volume >= self.target
    }

    fn describe(&self, bar: &mut Bar) {
        // A corrected bucket keeps its value: those behind it were computed with it.
        if bar.revision == 0 {
            bar.theta = self.value();
            bar.is_warming_up = self.imbalances.len() < self.buckets;
        }
    }

    fn end(&mut self, bar: &mut Bar) {
        if self.imbalances.len() == self.buckets {
            let oldest = self.imbalances.pop_front().unwrap_or(0);
            self.sum -= i128::from(oldest.unsigned_abs());
        }
        self.imbalances.push_back(bar.signed_volume);
        self.sum += i128::from(bar.signed_volume.unsigned_abs());
        self.describe(bar);
    }

    fn save(&self, out: &mut Vec<u64>) {
        out.extend([u64::from(self.scale), self.imbalances.len() as u64]);
        out.extend(self.imbalances.iter().map(|imbalance| *imbalance as u64));
    }

    fn load(&mut self, words: &mut dyn Iterator<Item = u64>) -> bool {
        let (Some(scale), Some(count)) = (words.next(), words.next()) else { return false };
        self.scale = scale as u8;
        self.imbalances = words.take(count.min(self.buckets as u64) as usize).map(|word| word as i64).collect();
        self.sum = self.imbalances.iter().map(|imbalance| i128::from(imbalance.unsigned_abs())).sum();
        self.imbalances.len() as u64 == count
    }
}
