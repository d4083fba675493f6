//! Takes trades in, hands bars out; what the kinds differ in is their [`Rule`].

use std::collections::VecDeque;

use super::bar::{Bar, Scales, Trade};
use super::order::{Order, Place};

/// Closed bars that a late trade can still correct.
const CORRECTABLE: usize = 8;
/// Bars that one print can be split into; the last takes the rest.
const MAX_PARTS: u32 = 10_000;
/// Empty bars in a row; a longer silence is left empty, and said to be a gap.
const MAX_EMPTY: i64 = 100_000;

/// When a bar ends.
pub trait Rule: Clone {
    /// The scales that prices and quantities have from now on.
    fn rescale(&mut self, _scales: Scales) {}

    /// Length of the bars, ms, when they are cut by the clock.
    fn interval_ms(&self) -> Option<i64> {
        None
    }

    /// Are there bars of intervals without a trade?
    fn keeps_empty(&self) -> bool {
        false
    }

    /// How much of a trade's rest the bar takes.
    #[inline(always)]
    fn part(&self, _bar: &Bar, _trade: &Trade, rest: i64) -> i64 {
        rest
    }

    /// Does it end with the trade that it has just got?
    fn is_full(&self, bar: &Bar) -> bool;

    /// Say θ and threshold of a bar that is open, or was corrected.
    fn describe(&self, bar: &mut Bar);

    /// Describe a bar that has ended, and learn from it.
    fn end(&mut self, bar: &mut Bar) {
        self.describe(bar);
    }

    /// Append what must survive a restart.
    fn save(&self, _out: &mut Vec<u64>) {}

    /// Take back what was saved; false when there are words missing.
    fn load(&mut self, _words: &mut dyn Iterator<Item = u64>) -> bool {
        true
    }
}

/// What became of trades. `trades = taken + known + dropped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Offered.
    pub trades: u64,
    /// In a bar, late ones included.
    pub taken: u64,
    /// Among them those that came late.
    pub late: u64,
    /// There already, or from before the beginning.
    pub known: u64,
    /// So late that no bar remembers them.
    pub dropped: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Builder<R> {
    rule: R,
    uses_tick_rule: bool,
    scales: Scales,
    order: Order,
    /// The newest bar, and whether it still takes trades.
    bar: Bar,
    is_open: bool,
    /// Where the clock's next bar begins, for rules that go by it.
    clock_ms: i64,
    /// Of the next bar.
    serial: u64,
    /// Bars that have ended and can be corrected, oldest first.
    recent: VecDeque<Bar>,
    /// Trades missing before the next one, and whether nobody can know how many.
    missing: u64,
    is_unknown: bool,
    /// Of the tick rule: the price before, and the direction that an unchanged price goes on in.
    last_price: i64,
    last_is_down: bool,
    counts: Counts,
}

impl<R: Rule> Builder<R> {
    /// A builder with a rule; `uses_tick_rule`: the direction of a trade is that of the price, not the taker's.
    pub fn new(rule: R, uses_tick_rule: bool) -> Self {
        let is_aligned = rule.interval_ms().is_some();
        Self {
            rule,
            uses_tick_rule,
            scales: Scales::default(),
            order: Order::default(),
            bar: Bar::empty(0, 0, 0),
            is_open: false,
            clock_ms: i64::MIN,
            serial: 0,
            recent: VecDeque::with_capacity(CORRECTABLE),
            missing: 0,
            // A bar of the clock began before anybody listened.
            is_unknown: is_aligned,
            last_price: 0,
            last_is_down: false,
            counts: Counts::default(),
        }
    }

    /// What became of trades.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Scales of what is taken and handed out.
    pub fn scales(&self) -> Scales {
        self.scales
    }

    /// Take trades of these scales from now on; they only grow.
    pub fn rescale(&mut self, scales: Scales) {
        let price = factor(scales.price, self.scales.price);
        let quantity = factor(scales.quantity, self.scales.quantity);
        self.scales = scales;
        self.bar.rescale(price, quantity);
        self.recent.iter_mut().for_each(|bar| bar.rescale(price, quantity));
        self.last_price = self.last_price.saturating_mul(price);
        self.rule.rescale(scales);
    }

    /// Take the next trade.
    #[inline(always)]
    pub fn take(&mut self, trade: &Trade, emit: &mut impl FnMut(&Bar)) {
        self.counts.trades += 1;
        let is_known = match self.order.place(trade.id, trade.time_ms) {
            Place::Next { missing: 0 } => false,
            other => self.take_note(other, trade, emit),
        };
        if is_known {
            return;
        }
        if let Some(interval_ms) = self.rule.interval_ms() {
            if trade.time_ms < self.clock_ms {
                return self.insert(trade, false, emit);
            }
            if self.is_open && trade.time_ms >= self.bar.open_ms + interval_ms {
                self.close(emit);
            }
        }
        self.counts.taken += 1;
        let is_down = self.direction(trade);
        let (mut rest, mut parts) = (trade.quantity, 0_u32);
        loop {
            if !self.is_open {
                self.begin(trade, emit);
                self.bar.part = parts;
            }
            parts += 1;
            let part = if parts < MAX_PARTS { self.rule.part(&self.bar, trade, rest) } else { rest };
            self.bar.add(trade, part, is_down, parts > 1);
            self.missing = 0;
            self.is_unknown = false;
            rest -= part;
            if self.rule.is_full(&self.bar) {
                self.close(emit);
            }
            if rest <= 0 {
                break;
            }
        }
    }

    /// Take note of a trade that is not simply the next one; true when that was all there is to do.
    #[cold]
    fn take_note(&mut self, place: Place, trade: &Trade, emit: &mut impl FnMut(&Bar)) -> bool {
        match place {
            Place::Next { missing } => self.note_missing(missing, emit),
            Place::Restart => self.note_unknown(emit),
            Place::Late => {
                self.insert(trade, true, emit);
                return true;
            }
            Place::Known => {
                self.counts.known += 1;
                return true;
            }
        }
        false
    }

    fn note_missing(&mut self, count: u64, emit: &mut impl FnMut(&Bar)) {
        self.note_in_last(emit, |bar| bar.gap_count += count);
        self.missing += count;
    }

    fn note_unknown(&mut self, emit: &mut impl FnMut(&Bar)) {
        self.note_in_last(emit, |bar| bar.is_cut = true);
        self.is_unknown = true;
    }

    /// What is missing may belong to the last bar: to the one that is open, or to the one that the clock has ended before
    /// anybody could know, and to those without a trade since then.
    fn note_in_last(&mut self, emit: &mut impl FnMut(&Bar), note: impl Fn(&mut Bar)) {
        if self.is_open {
            return note(&mut self.bar);
        }
        if self.rule.interval_ms().is_none() {
            return;
        }
        let Self { recent, rule, .. } = self;
        let last = recent.iter().rposition(|bar| !bar.is_empty()).unwrap_or(0);
        for bar in recent.range_mut(last..) {
            note(bar);
            bar.revision += 1;
            rule.describe(bar);
            emit(bar);
        }
    }

    /// Trades were lost on the way. With ids the next trade shows how many; without, the count is all there is.
    pub fn note_gap(&mut self, count: u64, emit: &mut impl FnMut(&Bar)) {
        match count {
            // A bar that has ended is not doubted before its neighbour's id says that something is missing.
            0 if self.is_open || !self.order.has_ids() => self.note_unknown(emit),
            0 => self.is_unknown = true,
            _ if self.order.has_ids() => {}
            _ => self.note_missing(count, emit),
        }
    }

    #[inline(always)]
    fn direction(&mut self, trade: &Trade) -> bool {
        if !self.uses_tick_rule {
            return trade.sells;
        }
        let is_first = self.last_price == 0;
        self.last_is_down = match trade.price.cmp(&self.last_price) {
            _ if is_first => trade.sells,
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal => self.last_is_down,
        };
        self.last_price = trade.price;
        self.last_is_down
    }

    fn begin(&mut self, trade: &Trade, emit: &mut impl FnMut(&Bar)) {
        let open_ms = match self.rule.interval_ms() {
            Some(interval_ms) => {
                let open_ms = trade.time_ms.div_euclid(interval_ms) * interval_ms;
                self.fill_until(open_ms, interval_ms, emit);
                self.clock_ms = open_ms;
                open_ms
            }
            None => trade.time_ms,
        };
        self.bar = self.fresh(open_ms, trade.price);
        self.bar.first_id = trade.id;
        self.is_open = true;
    }

    fn fresh(&mut self, open_ms: i64, price: i64) -> Bar {
        let bar = Bar::empty(self.serial, open_ms, price);
        self.serial += 1;
        Bar { gap_count: self.missing, is_cut: self.is_unknown, ..bar }
    }

    /// Hand out bars of the intervals in which nothing was traded.
    fn fill_until(&mut self, open_ms: i64, interval_ms: i64, emit: &mut impl FnMut(&Bar)) {
        if !self.rule.keeps_empty() || self.clock_ms == i64::MIN {
            return;
        }
        let count = (open_ms - self.clock_ms) / interval_ms;
        // After a restart the newest bar is the only one that is known.
        let price = self.recent.back().map_or(self.bar.close, |bar| bar.close);
        if count > MAX_EMPTY {
            self.is_unknown = true;
        }
        for _ in 0..count.min(MAX_EMPTY) {
            self.bar = self.fresh(self.clock_ms, price);
            self.close(emit);
        }
    }

    fn close(&mut self, emit: &mut impl FnMut(&Bar)) {
        self.is_open = false;
        if let Some(interval_ms) = self.rule.interval_ms() {
            self.clock_ms = self.bar.open_ms + interval_ms;
            self.bar.close_ms = self.clock_ms - 1;
        }
        self.rule.end(&mut self.bar);
        if self.recent.len() == CORRECTABLE {
            self.recent.pop_front();
        }
        self.recent.push_back(self.bar);
        emit(&self.bar);
    }

    /// The clock has moved on: bars that go by it end, also when nothing is traded.
    pub fn on_clock(&mut self, now_ms: i64, emit: &mut impl FnMut(&Bar)) {
        let Some(interval_ms) = self.rule.interval_ms() else { return };
        if self.is_open && now_ms >= self.bar.open_ms + interval_ms {
            self.close(emit);
        }
        if !self.is_open {
            self.fill_until(now_ms.div_euclid(interval_ms) * interval_ms, interval_ms, emit);
        }
    }

    /// A trade that belongs before others: correct the bar that it falls into. `fills_hole`: it was counted as missing.
    #[cold]
    fn insert(&mut self, trade: &Trade, fills_hole: bool, emit: &mut impl FnMut(&Bar)) {
        if fills_hole {
            self.fill_hole(trade.id, emit);
        }
        let Some(serial) = self.home_of(trade, fills_hole) else {
            self.counts.dropped += 1;
            return;
        };
        self.counts.taken += 1;
        self.counts.late += 1;
        if self.is_open && serial == self.bar.serial {
            self.bar.insert(trade);
            if self.rule.is_full(&self.bar) {
                self.close(emit);
            }
            return;
        }
        let Self { recent, rule, .. } = self;
        if let Some(bar) = recent.iter_mut().find(|bar| bar.serial == serial) {
            // An interval in which nothing had been traded begins with it.
            if bar.is_empty() {
                *bar = Bar {
                    first_id: trade.id,
                    last_id: trade.id,
                    revision: bar.revision,
                    gap_count: bar.gap_count,
                    is_cut: bar.is_cut,
                    ..Bar::empty(serial, bar.open_ms, trade.price)
                };
                bar.close_ms = bar.open_ms + rule.interval_ms().unwrap_or(1) - 1;
            }
            bar.insert(trade);
            bar.revision += 1;
            rule.describe(bar);
            emit(bar);
        }
    }

    /// The bar that a late trade belongs to.
    fn home_of(&mut self, trade: &Trade, fills_hole: bool) -> Option<u64> {
        let Some(interval_ms) = self.rule.interval_ms() else {
            // The newest that begins before it, so that the first trade of a bar, by which it is known, stays the same.
            let open = self.is_open.then_some(&self.bar);
            let mut bars = open.into_iter().chain(self.recent.iter().rev());
            return bars.find(|bar| bar.first_id < trade.id).map(|bar| bar.serial);
        };
        let open_ms = trade.time_ms.div_euclid(interval_ms) * interval_ms;
        if self.is_open && self.bar.open_ms == open_ms {
            return Some(self.bar.serial);
        }
        if let Some(bar) = self.recent.iter().find(|bar| bar.open_ms == open_ms) {
            return Some(bar.serial);
        }
        // An interval without a bar so far, if it is not too long ago.
        let place = self.recent.iter().position(|bar| bar.open_ms > open_ms).unwrap_or(self.recent.len());
        if place == 0 {
            return None;
        }
        // Its neighbours that are missing still may be in it, too.
        let gap_count = self.order.missing_beside(trade.id);
        let empty = Bar::empty(self.serial, open_ms, trade.price);
        // One that is newer by its id and older by its time: nobody knows how many such are still to come.
        let bar = Bar { gap_count, is_cut: self.is_unknown || !fills_hole, ..empty };
        self.serial += 1;
        let is_full = self.recent.len() == CORRECTABLE;
        if is_full {
            self.recent.pop_front();
        }
        self.recent.insert(place - usize::from(is_full), bar);
        Some(bar.serial)
    }

    /// One trade less is missing: from the bar around the hole, or from all bars that the hole touches.
    fn fill_hole(&mut self, id: u64, emit: &mut impl FnMut(&Bar)) {
        let is_aligned = self.rule.interval_ms().is_some();
        let Self { recent, bar, is_open, rule, .. } = self;
        let mut bars: Vec<&mut Bar> = recent.iter_mut().chain(is_open.then_some(bar)).collect();
        let newest = bars.last().map_or(0, |bar| bar.serial);
        let touches = |bar: &Bar| !bar.is_empty();
        let before = bars.iter().rposition(|bar| touches(bar) && bar.last_id < id);
        let after = bars.iter().position(|bar| touches(bar) && bar.last_id > id);
        let Some(after) = after else { return };
        let is_inside = bars[after].first_id < id;
        let from = if is_inside || !is_aligned { after } else { before.unwrap_or(after) };
        for bar in &mut bars[from..=after] {
            if bar.gap_count > 0 {
                bar.gap_count -= 1;
                let is_closed = !(*is_open && bar.serial == newest);
                if is_closed {
                    bar.revision += 1;
                    rule.describe(bar);
                    emit(bar);
                }
            }
        }
    }

    /// The bar that is open, as it is now: cut off, for the rule did not end it.
    pub fn open_bar(&self) -> Option<Bar> {
        self.is_open.then(|| {
            let mut bar = Bar { is_cut: true, ..self.bar };
            if let Some(interval_ms) = self.rule.interval_ms() {
                bar.close_ms = bar.open_ms + interval_ms - 1;
            }
            self.rule.describe(&mut bar);
            bar
        })
    }

    /// Id of the newest trade, 0 for none.
    pub fn last_id(&self) -> u64 {
        self.order.last_id()
    }

    /// Append what must survive a restart.
    pub fn save(&self, out: &mut Vec<u64>) {
        out.extend([u64::from(self.scales.price), u64::from(self.scales.quantity), u64::from(self.is_open)]);
        out.extend([self.clock_ms as u64, self.serial, self.missing, u64::from(self.is_unknown)]);
        out.extend([self.last_price as u64, u64::from(self.last_is_down)]);
        self.bar.save(out);
        self.order.save(out);
        self.rule.save(out);
    }

    /// Take back what was saved by a builder of the same rule; false, and nothing changed, when the words do not fit.
    pub fn load(&mut self, words: &[u64]) -> bool {
        let mut words = words.iter().copied();
        let Some(mut loaded) = self.loaded(&mut words) else { return false };
        let fits = loaded.rule.load(&mut words) && words.next().is_none();
        if fits {
            loaded.rule.rescale(loaded.scales);
            *self = loaded;
        }
        fits
    }

    fn loaded(&self, words: &mut impl Iterator<Item = u64>) -> Option<Self> {
        let mut next = || words.next();
        let scales = Scales { price: next()? as u8, quantity: next()? as u8 };
        let is_open = next()? != 0;
        let (clock_ms, serial, missing, is_unknown) = (next()? as i64, next()?, next()?, next()? != 0);
        let (last_price, last_is_down) = (next()? as i64, next()? != 0);
        let bar = Bar::load(words)?;
        let order = Order::load(words)?;
        let fresh = Self::new(self.rule.clone(), self.uses_tick_rule);
        let mut loaded = Self { scales, is_open, clock_ms, serial, missing, is_unknown, order, bar, ..fresh };
        (loaded.last_price, loaded.last_is_down) = (last_price, last_is_down);
        Some(loaded)
    }
}

/// What a number is multiplied with when its scale grows.
pub(super) fn factor(to: u8, from: u8) -> i64 {
    10_i64.checked_pow(u32::from(to.saturating_sub(from))).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tick::Tick;
    use super::super::time::Time;
    use super::super::volume::Volume;
    use super::*;

    fn trade(id: u64, time_ms: i64, quantity: i64) -> Trade {
        Trade { time_ms, price: 100, quantity, sells: false, id }
    }

    /// Take trades of quantity 1; return what was handed out.
    fn taken<R: Rule>(builder: &mut Builder<R>, trades: &[(u64, i64)]) -> Vec<Bar> {
        let mut bars = Vec::new();
        trades.iter().for_each(|(id, time_ms)| builder.take(&trade(*id, *time_ms, 1), &mut |bar| bars.push(*bar)));
        bars
    }

    #[test]
    fn after_a_restart_empty_bars_have_the_last_price() {
        let mut builder = Builder::new(Time::new(1.0, true), false);
        taken(&mut builder, &[(1, 500)]);
        builder.on_clock(1000, &mut |_| ());
        let mut words = Vec::new();
        builder.save(&mut words);
        let mut again = Builder::new(Time::new(1.0, true), false);
        assert!(again.load(&words));
        let mut prices = Vec::new();

        again.on_clock(3000, &mut |bar| prices.push((bar.open_ms, bar.close)));

        assert_eq!(prices, [(1000, 100), (2000, 100)]);
    }

    #[test]
    fn a_late_trade_that_fills_a_bar_ends_it() {
        let bars = taken(&mut Builder::new(Tick::new(3.0), false), &[(1, 0), (3, 2), (2, 1), (4, 3)]);

        assert_eq!(bars.iter().map(|bar| (bar.ticks(), bar.is_complete())).collect::<Vec<_>>(), [(3, true)]);
    }

    #[test]
    fn a_split_bar_that_a_late_trade_overfills_takes_nothing_from_the_next() {
        let mut builder = Builder::new(Volume::new(10.0, true), false);
        let mut volumes = Vec::new();
        for (id, quantity) in [(1, 6), (3, 2), (2, 5), (4, 10)] {
            builder.take(&trade(id, 0, quantity), &mut |bar| volumes.push(bar.volume));
        }

        assert_eq!(volumes, [13, 10]);
    }

    #[test]
    fn a_bar_that_a_late_trade_begins_says_what_is_missing_beside_it() {
        let mut builder = Builder::new(Time::new(1.0, false), false);
        taken(&mut builder, &[(1, 100), (2, 1100), (6, 4100)]);

        let bars = taken(&mut builder, &[(4, 2500)]);
        let begun = bars.iter().find(|bar| bar.open_ms == 2000).map(|bar| (bar.first_id, bar.gap_count));

        assert_eq!(begun, Some((4, 2)), "3 and 5 may be in it");
    }

    #[test]
    fn a_trade_from_the_future_makes_nothing_complete_that_comes_after_it() {
        let mut builder = Builder::new(Time::new(1.0, false), false);
        taken(&mut builder, &[(1, 500), (2, 1500), (3, 3_600_000)]);

        let bars = taken(&mut builder, &[(4, 2500), (5, 2600)]);

        assert_eq!(
            bars.iter().map(|bar| (bar.ticks(), bar.is_complete())).collect::<Vec<_>>(),
            [(1, false), (2, false)]
        );
    }

    #[test]
    fn a_late_trade_does_not_make_an_empty_bar_complete() {
        let mut builder = Builder::new(Time::new(1.0, true), false);
        taken(&mut builder, &[(1, 100), (2, 1100), (6, 3100)]);

        let bars = taken(&mut builder, &[(4, 2500)]);
        let last = bars.iter().rfind(|bar| bar.open_ms == 2000).map(|bar| (bar.ticks(), bar.gap_count));

        assert_eq!(last, Some((1, 2)), "3 and 5 may be in it");
    }

    #[test]
    fn bars_that_late_trades_begin_stand_in_the_order_of_time() {
        let mut builder = Builder::new(Time::new(1.0, false), false);
        let seconds = [0, 1, 2, 3, 5, 6, 7, 8, 9];
        let trades: Vec<_> = seconds.iter().map(|second| (2 * second + 1, 1000 * *second as i64)).collect();
        taken(&mut builder, &trades);

        taken(&mut builder, &[(8, 4000)]);

        let order: Vec<_> = builder.recent.iter().map(|bar| bar.open_ms / 1000).collect();
        assert_eq!(order, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
