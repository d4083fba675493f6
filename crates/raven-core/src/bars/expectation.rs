//! What imbalance and run bars expect of the next bar: how much there will be of it, and how one-sided it will be.
//!
//! Both are exponentially weighted means over closed bars. With `n` the size of a bar (trades, or base volume) and θ the
//! sum of its signed trades (or volumes), a bar that closes changes them in this order, in doubles:
//!
//! ```text
//! p         = ((n + θ) / 2) / n                                   the share that went up
//! imbalance = alpha_imbl · (2p − 1) + (1 − alpha_imbl) · imbalance
//! size      = alpha_size · n + (1 − alpha_size) · size            then limited to size_min .. size_max
//! threshold = size · imbalance
//! ```
//!
//! That is the literal rule (López de Prado, *Advances in Financial Machine Learning*, 2018, chapter 2.3.2). It has two
//! faults. When flow is even the imbalance goes through 0, the threshold with it, and bars of two trades come out, one
//! after the other. And when flow alternates, θ goes nowhere, and a bar never ends. The bounded rule mends both:
//!
//! - **floor**: the threshold is never below `floor · √(size · q)`, with `q` the size of one trade: 1 where trades are
//!   counted, the mean quantity where volume is. That is about how far an even flow of `size` strays by chance, so an
//!   even flow makes bars of about the expected size.
//! - **cap**: a bar ends at the latest when it is `cap` times as large as expected, or as it was expected in the beginning.
//!
//! The literal rule is the one with neither.

use super::bar::{Bar, Scales};
use crate::encode::to_double;

/// Parameters of imbalance and run bars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptive {
    /// Expected size of the first bar: trades, or base volume.
    pub initial_size: f64,
    /// Expected share of it that goes up.
    pub initial_p_buy: f64,
    /// Weight of the newest bar in the expected size.
    pub alpha_size: f64,
    /// Weight of the newest bar in the expected imbalance.
    pub alpha_imbl: f64,
    /// The expected size is never below.
    pub size_min: f64,
    /// The expected size is never above.
    pub size_max: f64,
    /// See the module; 0 for none.
    pub floor: f64,
    /// See the module; 0 for none.
    pub cap: f64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Expectation {
    parameters: Adaptive,
    /// Mean size of a bar, within its limits.
    size: f64,
    /// Mean imbalance of a bar, between -1 and 1.
    imbalance: f64,
    /// Mean size of a trade, 0 as long as that is not known.
    of_trade: f64,
    /// Bars it has learned from, and how many it takes until the parameters weigh little.
    bars: u64,
    warm_up: u64,
}

impl Expectation {
    /// What the parameters make one expect.
    pub fn new(parameters: Adaptive) -> Self {
        let alpha = parameters.alpha_size.min(parameters.alpha_imbl);
        // After so many bars less than a twentieth of the means comes from the parameters. Means that never move stay.
        let warm_up = if alpha <= 0.0 || alpha >= 1.0 { 0.0 } else { (0.05_f64.ln() / (1.0 - alpha).ln()).ceil() };
        let imbalance = 2.0 * parameters.initial_p_buy - 1.0;
        Self { parameters, size: parameters.initial_size, imbalance, of_trade: 0.0, bars: 0, warm_up: warm_up as u64 }
    }

    /// Expected size.
    pub fn size(&self) -> f64 {
        self.size
    }

    /// Expected imbalance, between -1 and 1.
    pub fn imbalance(&self) -> f64 {
        self.imbalance
    }

    /// What |θ| must exceed, with the sign of the expected imbalance; `counts_trades`: sizes are numbers of trades.
    pub fn threshold(&self, counts_trades: bool) -> f64 {
        let threshold = self.size * self.imbalance;
        let of_trade = if counts_trades { 1.0 } else { self.of_trade };
        let floor = self.parameters.floor * (self.size * of_trade).sqrt();
        if threshold.abs() < floor {
            floor.copysign(threshold)
        } else {
            threshold
        }
    }

    /// The size at which a bar ends whatever its imbalance.
    pub fn cap(&self) -> f64 {
        if self.parameters.cap > 0.0 {
            self.parameters.cap * self.size.min(self.parameters.initial_size)
        } else {
            f64::INFINITY
        }
    }

    /// Are the means still those of the parameters?
    pub fn is_warming_up(&self) -> bool {
        self.bars < self.warm_up
    }

    /// Learn from a bar of size `n`, sum `theta` and so many trades.
    pub fn learn(&mut self, n: f64, theta: f64, ticks: u64) {
        let Adaptive { alpha_size, alpha_imbl, size_min, size_max, .. } = self.parameters;
        let p = ((n + theta) / 2.0) / n;
        self.imbalance = alpha_imbl * (2.0 * p - 1.0) + (1.0 - alpha_imbl) * self.imbalance;
        self.size = (alpha_size * n + (1.0 - alpha_size) * self.size).clamp(size_min, size_max);
        let of_trade = n / ticks as f64;
        let before = if self.of_trade == 0.0 { of_trade } else { self.of_trade };
        self.of_trade = alpha_size * of_trade + (1.0 - alpha_size) * before;
        self.bars += 1;
    }

    /// Append what must survive a restart.
    pub fn save(&self, out: &mut Vec<u64>) {
        out.extend([self.size.to_bits(), self.imbalance.to_bits(), self.of_trade.to_bits(), self.bars]);
    }

    /// Take back what was saved; false when there are words missing.
    pub fn load(&mut self, words: &mut impl Iterator<Item = u64>) -> bool {
        let mut next = || words.next();
        let (Some(size), Some(imbalance), Some(of_trade), Some(bars)) = (next(), next(), next(), next()) else {
            return false;
        };
        (self.size, self.imbalance) = (f64::from_bits(size), f64::from_bits(imbalance));
        (self.of_trade, self.bars) = (f64::from_bits(of_trade), bars);
        true
    }
}

/// What a bar is measured in.
pub trait Measure: Copy {
    /// Whether its unit is one trade.
    const COUNTS_TRADES: bool;
    /// Size of a bar.
    fn size(self, bar: &Bar) -> f64;
    /// Sum of its signed trades.
    fn theta(self, bar: &Bar) -> f64;
    /// The scales that quantities have from now on.
    fn rescale(&mut self, scales: Scales);
}

/// Trades.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ticks;

impl Measure for Ticks {
    const COUNTS_TRADES: bool = true;

    #[inline(always)]
    fn size(self, bar: &Bar) -> f64 {
        bar.ticks() as f64
    }

    #[inline(always)]
    fn theta(self, bar: &Bar) -> f64 {
        bar.signed_ticks as f64
    }

    fn rescale(&mut self, _: Scales) {}
}

/// Base volume.
#[derive(Clone, Copy, Debug, Default)]
pub struct Volume {
    scale: u8,
}

impl Measure for Volume {
    const COUNTS_TRADES: bool = false;

    #[inline(always)]
    fn size(self, bar: &Bar) -> f64 {
        to_double(bar.volume, self.scale)
    }

    #[inline(always)]
    fn theta(self, bar: &Bar) -> f64 {
        to_double(bar.signed_volume, self.scale)
    }

    fn rescale(&mut self, scales: Scales) {
        self.scale = scales.quantity;
    }
}
