//! Validation: accept, repair or refuse, with a reason from [`crate::reject`].
//!
//! What is repaired (only with `sanitize`): times in micro- or nanoseconds are brought to milliseconds; trades that
//! come late are published with the `backfilled` flag instead of being refused (only when not `strict`).

use crate::reject::Reason;

/// Policy, decided by configuration.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Off: only what cannot be understood is refused.
    pub enabled: bool,
    /// Refuse what could be repaired by delivering it out of order.
    pub strict: bool,
    /// Repair what can be repaired.
    pub sanitize: bool,
    /// Largest step of a price from the last accepted one, as a fraction (0.1 is ten percent); 0 turns the rule off.
    pub max_price_deviation: f64,
    /// So many events in a row that agree with each other make a far price the new level: the way back after a true jump.
    pub deviation_confirmations: u32,
    /// Largest difference between the venue's clock and ours, ns; 0: measured, never a reason to refuse.
    pub max_clock_skew_ns: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            enabled: true,
            strict: true,
            sanitize: true,
            max_price_deviation: 0.1,
            deviation_confirmations: 3,
            max_clock_skew_ns: 0,
        }
    }
}

/// Exchange times before 2001-09-09 or after 2100-01-01 are in another unit, or wrong.
const EARLIEST_MS: u64 = 1_000_000_000_000;
const LATEST_MS: u64 = 4_102_444_800_000;

impl Policy {
    /// Check a venue's time and bring it to nanoseconds.
    ///
    /// # Errors
    /// `TimestampOutOfRange`, `ClockSkew`.
    #[inline(always)]
    pub fn time_ns(&self, value: u64, recv_ns: i64) -> Result<i64, Reason> {
        let milliseconds = if (EARLIEST_MS..LATEST_MS).contains(&value) { value } else { self.repair_time(value)? };
        let time_ns = milliseconds as i64 * 1_000_000;
        if self.max_clock_skew_ns > 0 && time_ns.abs_diff(recv_ns) > self.max_clock_skew_ns as u64 {
            return Err(Reason::ClockSkew);
        }
        Ok(time_ns)
    }

    #[cold]
    fn repair_time(&self, value: u64) -> Result<u64, Reason> {
        if self.sanitize {
            for divisor in [1_000, 1_000_000] {
                if (EARLIEST_MS..LATEST_MS).contains(&(value / divisor)) {
                    return Ok(value / divisor);
                }
            }
        }
        Err(Reason::TimestampOutOfRange)
    }
}

/// Guards one instrument against prices that cannot be true.
///
/// A price is compared with the last accepted one. A far price is refused and remembered; once enough far prices in a
/// row agree with each other, the market has really moved and the guard follows.
#[derive(Clone, Copy, Debug, Default)]
pub struct PriceGuard {
    low: i64,
    high: i64,
    candidate: i64,
    confirmations: u32,
}

impl PriceGuard {
    /// Judge a price.
    ///
    /// # Errors
    /// `PriceDeviation`.
    #[inline(always)]
    pub fn check(&mut self, policy: &Policy, price: i64) -> Result<(), Reason> {
        if price >= self.low && price <= self.high {
            if self.confirmations != 0 {
                self.confirmations = 0;
            }
            self.follow(policy, price);
            return Ok(());
        }
        self.judge_far_price(policy, price)
    }

    #[inline(always)]
    fn follow(&mut self, policy: &Policy, price: i64) {
        let step = (price as f64 * policy.max_price_deviation) as i64;
        self.low = price - step;
        self.high = price.saturating_add(step);
    }

    #[cold]
    fn judge_far_price(&mut self, policy: &Policy, price: i64) -> Result<(), Reason> {
        if policy.max_price_deviation <= 0.0 {
            return Ok(());
        }
        let first = self.high == 0;
        let step = (self.candidate as f64 * policy.max_price_deviation) as i64;
        let agrees = self.confirmations > 0 && self.candidate.abs_diff(price) <= step as u64;
        self.confirmations = if agrees { self.confirmations + 1 } else { 1 };
        self.candidate = price;
        if first || self.confirmations >= policy.deviation_confirmations {
            self.confirmations = 0;
            self.follow(policy, price);
            return Ok(());
        }
        Err(Reason::PriceDeviation)
    }

    /// The instrument's prices got more decimals.
    pub fn rescale(&mut self, factor: i64) {
        self.low = self.low.saturating_mul(factor);
        self.high = self.high.saturating_mul(factor);
        self.candidate = self.candidate.saturating_mul(factor);
    }

    /// The instrument's prices got fewer decimals.
    pub fn coarsen(&mut self, factor: i64) {
        self.low /= factor;
        self.high = self.high / factor + i64::from(self.high % factor != 0);
        self.candidate /= factor;
    }
}

/// The time of the newest id, to notice when the venue starts its ids anew (after maintenance, on test networks): an
/// id that was passed long ago with a time that is newer than all before cannot be a copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdClock {
    newest_ns: i64,
}

impl IdClock {
    /// Remember the time of an id that was new.
    #[inline(always)]
    pub fn note(&mut self, exchange_ns: i64) {
        self.newest_ns = exchange_ns;
    }

    /// Was an old id sent so much later than the newest one that the ids must have started anew? Also when no id was
    /// ever good: then the first ones were wrong.
    #[cold]
    pub fn has_restarted(&self, exchange_ns: i64, margin_ns: i64) -> bool {
        exchange_ns > self.newest_ns.saturating_add(margin_ns)
    }
}

/// What an id says about a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TradeOrder {
    /// The next one.
    Next,
    /// `missing` trades before it never came.
    AfterGap {
        /// First missing id.
        first: u64,
        /// How many.
        missing: u64,
    },
    /// Seen before.
    Duplicate,
    /// One of those that had been missing.
    Late,
}

/// Remembered holes per instrument; a venue that loses more than this at once is told apart only by count.
const OPEN_GAPS: usize = 8;

/// Tells new, doubled and late trades apart by their ids.
#[derive(Clone, Debug, Default)]
pub struct TradeIds {
    last: u64,
    gaps: [(u64, u64); OPEN_GAPS],
    next_gap: usize,
}

impl TradeIds {
    /// Forget all: the venue's ids start anew with this one.
    pub fn restart(&mut self, id: u64) {
        *self = Self { last: id, ..Self::default() };
    }

    /// Judge the next id and remember it.
    #[inline(always)]
    pub fn judge(&mut self, id: u64) -> TradeOrder {
        if id == self.last + 1 || self.last == 0 {
            self.last = id;
            return TradeOrder::Next;
        }
        self.judge_jump(id)
    }

    #[cold]
    fn judge_jump(&mut self, id: u64) -> TradeOrder {
        if id <= self.last {
            return if self.close_gap_at(id) { TradeOrder::Late } else { TradeOrder::Duplicate };
        }
        let (first, missing) = (self.last + 1, id - self.last - 1);
        self.gaps[self.next_gap] = (first, id - 1);
        self.next_gap = (self.next_gap + 1) % OPEN_GAPS;
        self.last = id;
        TradeOrder::AfterGap { first, missing }
    }

    /// Take one id out of the hole it lies in. A hole that is cut in the middle keeps its upper part only:
    /// late trades come in order.
    fn close_gap_at(&mut self, id: u64) -> bool {
        for gap in &mut self.gaps {
            if (gap.0..=gap.1).contains(&id) {
                gap.0 = id + 1;
                if gap.0 > gap.1 {
                    *gap = (0, 0);
                }
                return id != 0;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_far_price_is_refused_until_the_market_confirms_it() {
        let policy = Policy::default();
        let mut guard = PriceGuard::default();
        let verdicts: Vec<bool> = [10_000, 10_900, 99_999, 10_800, 13_000, 13_100, 13_050, 13_100]
            .iter()
            .map(|price| guard.check(&policy, *price).is_ok())
            .collect();
        assert_eq!(verdicts, [true, true, false, true, false, false, true, true]);
    }

    #[test]
    fn scattered_wrong_prices_never_confirm_each_other() {
        let policy = Policy::default();
        let mut guard = PriceGuard::default();
        assert!(guard.check(&policy, 10_000).is_ok());
        for price in [20_000, 40_000, 1, 80_000, 3] {
            assert_eq!(guard.check(&policy, price), Err(Reason::PriceDeviation), "{price}");
        }
        assert!(guard.check(&policy, 10_001).is_ok());
    }

    #[test]
    fn the_rule_can_be_turned_off() {
        let policy = Policy { max_price_deviation: 0.0, ..Policy::default() };
        let mut guard = PriceGuard::default();
        assert!(guard.check(&policy, 1).is_ok() && guard.check(&policy, 1_000_000).is_ok());
    }

    #[test]
    fn trades_are_told_apart_by_id() {
        let mut ids = TradeIds::default();
        assert_eq!(ids.judge(100), TradeOrder::Next);
        assert_eq!(ids.judge(101), TradeOrder::Next);
        assert_eq!(ids.judge(101), TradeOrder::Duplicate);
        assert_eq!(ids.judge(105), TradeOrder::AfterGap { first: 102, missing: 3 });
        assert_eq!(ids.judge(102), TradeOrder::Late);
        assert_eq!(ids.judge(102), TradeOrder::Duplicate);
        assert_eq!(ids.judge(104), TradeOrder::Late);
        assert_eq!(ids.judge(50), TradeOrder::Duplicate);
        assert_eq!(ids.judge(106), TradeOrder::Next);
    }

    #[test]
    fn times_in_other_units_are_repaired_or_refused() {
        let policy = Policy::default();
        let expected = Ok(1_723_161_256_299_000_000);
        assert_eq!(policy.time_ns(1_723_161_256_299, 0), expected);
        assert_eq!(policy.time_ns(1_723_161_256_299_000, 0), expected);
        let exact = Policy { sanitize: false, ..policy };
        assert_eq!(exact.time_ns(1_723_161_256_299_000, 0), Err(Reason::TimestampOutOfRange));
        for wrong in [0, 1, 1_723_161_256, u64::MAX] {
            assert_eq!(policy.time_ns(wrong, 0), Err(Reason::TimestampOutOfRange), "{wrong}");
        }
        let bounded = Policy { max_clock_skew_ns: 1_000_000_000, ..policy };
        assert!(bounded.time_ns(1_723_161_256_299, 1_723_161_256_000_000_000).is_ok());
        assert_eq!(bounded.time_ns(1_723_161_256_299, 1_723_161_250_000_000_000), Err(Reason::ClockSkew));
    }
}
