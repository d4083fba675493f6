//! Everything the engine keeps about one instrument, and what it does with each event of it.
//!
//! A book goes through three states: *waiting* (diffs are kept until a snapshot comes), *bridging* (the snapshot is
//! loaded, the next diff must reach over it) and *live*. Any break leads back to waiting; the last good state stays
//! visible, flagged, and nothing that could be wrong is published.

use std::sync::Arc;

use crate::book::Book;
use crate::citadel::{Policy, PriceGuard, TradeIds, TradeOrder};
use crate::counters::Counters;
use crate::parse::binance::{BookTicker, Depth, Level, Scales, Trade};
use crate::parse::decimal::POW10;
use crate::pending::{PendingDiffs, PendingLimits};
use crate::record::{data_type, flags, gap, GapReason, Header, Kind, HEADER_WORDS};
use crate::reject::Reason;
use crate::sequence::{self, Ids, Rule, Verdict};
use crate::store::{Latest, BOOK_WORDS, STORE_DEPTH};
use crate::topics::Topics;

/// How a taken event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A record was appended.
    Published,
    /// Known already, or not asked for.
    Ignored,
    /// Waits for a snapshot.
    Buffered,
    /// Refused.
    Rejected(Reason),
}

/// What an instrument wants the engine to tell Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Fetch a snapshot, because of this.
    Resync(&'static str),
    /// The book is exact again, at this update id.
    Synced(u64),
    /// The venue's ids skipped so many trades.
    Gap(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Bridging,
    Live,
}

/// When the last event of each kind came, ns; 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastSeen {
    /// Diff or partial depth.
    pub book: i64,
    /// Trade.
    pub trade: i64,
    /// Best bid and ask.
    pub quote: i64,
    /// Candle.
    pub candle: i64,
    /// Mark price.
    pub funding: i64,
    /// Forced order.
    pub liquidation: i64,
}

/// One symbol of one venue.
pub struct Instrument {
    /// Venue handle.
    pub venue: u16,
    /// The venue's name of it.
    pub symbol: Box<str>,
    /// False until somebody wants its book: diffs are then ignored.
    pub needs_book: bool,
    /// What was counted.
    pub counters: Counters,
    /// When what was last seen.
    pub last_seen: LastSeen,
    /// What readers of "now" see.
    pub latest: Arc<Latest>,
    /// Its rings.
    pub topics: Topics,
    rule: Rule,
    book: Book,
    state: State,
    is_stale: bool,
    was_published: bool,
    snapshot_requested: bool,
    resync_reason: &'static str,
    pending: PendingDiffs,
    trade_ids: TradeIds,
    /// An instrument publishes either single trades or aggregates: what came first.
    takes_aggregates: Option<bool>,
    was_reconnected: bool,
    last_quote_id: u64,
    last_partial_id: u64,
    guard: PriceGuard,
}

impl Instrument {
    /// A fresh instrument.
    pub fn new(venue: u16, symbol: &str, rule: Rule, scales: Scales, needs_book: bool, topics: Topics) -> Self {
        Self {
            venue,
            symbol: symbol.into(),
            needs_book,
            counters: Counters::default(),
            last_seen: LastSeen::default(),
            latest: Arc::default(),
            topics,
            rule,
            book: Book::new(scales),
            state: State::Waiting,
            is_stale: false,
            was_published: false,
            snapshot_requested: false,
            resync_reason: "start",
            pending: PendingDiffs::default(),
            trade_ids: TradeIds::default(),
            takes_aggregates: None,
            was_reconnected: false,
            last_quote_id: 0,
            last_partial_id: 0,
            guard: PriceGuard::default(),
        }
    }

    /// Its book.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Decimals of its numbers.
    #[inline(always)]
    pub fn scales(&self) -> Scales {
        self.book.scales()
    }

    /// One word for people.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Waiting if self.was_published => "resyncing",
            State::Waiting => "waiting",
            _ if self.is_stale => "stale",
            _ => "synced",
        }
    }

    /// Take longer decimals from now on. False: the numbers would not fit.
    pub fn grow(&mut self, to: Scales) -> bool {
        let from = self.scales();
        let to = Scales { price: from.price.max(to.price), quantity: from.quantity.max(to.quantity) };
        let grown = self.book.rescale(to);
        if grown {
            self.guard.rescale(POW10[(to.price - from.price) as usize]);
        }
        grown
    }

    fn header(&self, kind: Kind, flags: u32, recv_ns: i64, exchange_ns: i64, id: u64) -> Header {
        let Scales { price, quantity } = self.scales();
        let (price_scale, quantity_scale) = (price, quantity);
        Header { kind, flags, sequence: 0, recv_ns, exchange_ns, id, price_scale, quantity_scale, bids: 0, asks: 0 }
    }

    // --- book ---------------------------------------------------------------------------------------------------

    /// Take one diff whose levels were read already; `raw` is kept when it has to wait.
    #[allow(clippy::too_many_arguments)]
    #[inline]
    pub fn take_diff(
        &mut self,
        policy: &Policy,
        limits: PendingLimits,
        recv_ns: i64,
        depth: &Depth,
        (bids, asks): (&[Level], &[Level]),
        raw: &[u8],
        scratch: &mut Vec<u64>,
    ) -> (Outcome, Option<Notice>) {
        let ids = Ids { first: depth.first_id, last: depth.last_id, previous: depth.previous_id };
        let verdict = match self.state {
            State::Live => sequence::follows(self.rule, self.book.update_id(), ids),
            State::Bridging => sequence::bridges(self.rule, self.book.update_id(), ids),
            State::Waiting => return self.wait(limits, recv_ns, raw),
        };
        match verdict {
            Verdict::Apply => {}
            Verdict::Known => {
                self.counters.ignored += 1;
                self.counters.duplicates += 1;
                return (Outcome::Ignored, None);
            }
            Verdict::Gap => {
                self.counters.sequence_errors += 1;
                self.lose_sync("sequence_gap", recv_ns, scratch);
                return self.wait(limits, recv_ns, raw);
            }
        }
        let exchange_ns = match policy.time_ns(depth.event_ms, recv_ns) {
            Ok(exchange_ns) => exchange_ns,
            // Not applying it breaks the chain, so the next diff asks for a snapshot.
            Err(reason) => return (self.reject(reason), None),
        };
        self.book.apply(depth.last_id, bids, asks);
        self.state = State::Live;
        if self.book.is_crossed() {
            self.counters.crossed += 1;
            self.lose_sync("crossed", recv_ns, scratch);
            return (self.reject(Reason::CrossedBook), None);
        }
        self.is_stale = false;
        self.publish_book(0, recv_ns, exchange_ns, scratch);
        self.counters.published += 1;
        (Outcome::Published, None)
    }

    fn wait(&mut self, limits: PendingLimits, recv_ns: i64, raw: &[u8]) -> (Outcome, Option<Notice>) {
        let dropped = self.pending.push(recv_ns, raw, limits) as u64;
        self.counters.gap += dropped;
        self.counters.pending = self.pending.len() as u64;
        (Outcome::Buffered, self.ask_for_snapshot())
    }

    /// Asked once per break, when diffs flow: a snapshot fetched before the stream could be too old for it.
    fn ask_for_snapshot(&mut self) -> Option<Notice> {
        if self.snapshot_requested {
            return None;
        }
        self.snapshot_requested = true;
        self.counters.resyncs += 1;
        Some(Notice::Resync(self.resync_reason))
    }

    fn lose_sync(&mut self, reason: &'static str, recv_ns: i64, scratch: &mut Vec<u64>) {
        self.state = State::Waiting;
        self.snapshot_requested = false;
        self.resync_reason = reason;
        self.publish_flagged(flags::STALE | flags::RESYNCING, recv_ns, scratch);
    }

    /// The connection of its streams was lost: a hole in trade ids that follows has this cause.
    pub fn note_reconnect(&mut self) {
        self.was_reconnected = true;
    }

    /// Declare the book untrusted from outside (a lost connection, a silent stream).
    pub fn desync(&mut self, reason: &'static str, recv_ns: i64, scratch: &mut Vec<u64>) {
        self.counters.gap += self.pending.clear() as u64;
        self.counters.pending = 0;
        self.note_reconnect();
        if self.needs_book && self.state != State::Waiting {
            self.lose_sync(reason, recv_ns, scratch);
        } else {
            self.resync_reason = reason;
            self.snapshot_requested = false;
        }
    }

    /// Set or clear the stale flag; readers are told when it changes.
    pub fn mark_stale(&mut self, stale: bool, recv_ns: i64, scratch: &mut Vec<u64>) {
        if stale != self.is_stale && self.state != State::Waiting {
            self.is_stale = stale;
            self.publish_flagged(if stale { flags::STALE } else { 0 }, recv_ns, scratch);
        }
    }

    /// Would a snapshot help? A book that is in sync is better than any answer that was under way meanwhile.
    pub fn waits_for_snapshot(&self) -> bool {
        self.state == State::Waiting
    }

    /// Does the first waiting diff that matters fit a snapshot of this id?
    pub fn snapshot_fits(&self, snapshot_id: u64, ids_of: impl Fn(&[u8]) -> Option<Ids>) -> bool {
        let verdicts = self.pending.iter().filter_map(|(_, raw)| ids_of(raw));
        let first = verdicts.map(|ids| sequence::bridges(self.rule, snapshot_id, ids)).find(|v| *v != Verdict::Known);
        first != Some(Verdict::Gap)
    }

    /// The snapshot came too late for what waits: ask again, keep what waits.
    pub fn refuse_snapshot(&mut self, reason: &'static str) -> Option<Notice> {
        self.snapshot_requested = false;
        self.resync_reason = reason;
        self.ask_for_snapshot()
    }

    /// Load a snapshot that fits; hands out the waiting diffs, which the engine then feeds again.
    /// `None`: the snapshot is crossed in itself, and nothing has changed.
    pub fn load_snapshot(
        &mut self,
        recv_ns: i64,
        exchange_ns: i64,
        snapshot: &Depth,
        (bids, asks): (&[Level], &[Level]),
        limit: usize,
        scratch: &mut Vec<u64>,
    ) -> Option<PendingDiffs> {
        let best_bid = bids.iter().map(|level| level.price).max();
        let best_ask = asks.iter().map(|level| level.price).min();
        if matches!((best_bid, best_ask), (Some(bid), Some(ask)) if bid >= ask) {
            return None;
        }
        self.book.load(snapshot.last_id, bids, asks, limit);
        self.state = State::Bridging;
        self.is_stale = false;
        self.snapshot_requested = false;
        self.publish_book(flags::SNAPSHOT, recv_ns, exchange_ns, scratch);
        self.counters.pending = 0;
        Some(std::mem::take(&mut self.pending))
    }

    /// After a snapshot and its waiting diffs: is the book exact now?
    pub fn synced(&self) -> Option<Notice> {
        (self.state != State::Waiting).then(|| Notice::Synced(self.book.update_id()))
    }

    /// Give the emptied buffer back, so that the next resync needs no new memory.
    pub fn return_buffer(&mut self, mut buffer: PendingDiffs) {
        if self.pending.is_empty() {
            buffer.clear();
            self.pending = buffer;
        }
    }

    /// Take the whole best levels of a partial depth stream, for instruments without a diff stream.
    pub fn take_partial(
        &mut self,
        policy: &Policy,
        recv_ns: i64,
        depth: &Depth,
        (bids, asks): (&[Level], &[Level]),
        scratch: &mut Vec<u64>,
    ) -> Outcome {
        if self.needs_book || depth.last_id <= self.last_partial_id {
            self.counters.ignored += 1;
            return Outcome::Ignored;
        }
        let exchange_ns = match depth.event_ms {
            0 => recv_ns,
            time => match policy.time_ns(time, recv_ns) {
                Ok(exchange_ns) => exchange_ns,
                Err(reason) => return self.reject(reason),
            },
        };
        if matches!((bids.first(), asks.first()), (Some(bid), Some(ask)) if bid.price >= ask.price) {
            return self.reject(Reason::CrossedBook);
        }
        self.last_partial_id = depth.last_id;
        // Everything beyond the few levels sent is unknown, so both sides count as cut.
        self.book.load(depth.last_id, bids, asks, 0);
        self.state = State::Live;
        self.publish_book(flags::SNAPSHOT, recv_ns, exchange_ns, scratch);
        self.counters.published += 1;
        Outcome::Published
    }

    fn publish_book(&mut self, flags: u32, recv_ns: i64, exchange_ns: i64, scratch: &mut Vec<u64>) {
        let mut header = self.header(Kind::Book, flags, recv_ns, exchange_ns, self.book.update_id());
        let (store_at, body_at) = (0, 3);
        scratch.clear();
        scratch.extend([header.id, u64::from(flags), 0]);
        (header.bids, header.asks) = self.book.write_record(self.topics.depth, scratch);
        self.topics.book.publish(&header, &scratch[body_at..]);
        if self.topics.depth > STORE_DEPTH {
            scratch.truncate(body_at);
            (header.bids, header.asks) = self.book.write_record(STORE_DEPTH, scratch);
        }
        scratch[2] = pack_store_meta(&header);
        self.latest.book.write(&scratch[store_at..]);
        for deep in self.topics.deep.iter_mut().filter(|deep| deep.is_wanted()) {
            scratch.clear();
            (header.bids, header.asks) = self.book.write_record(deep.depth, scratch);
            deep.publisher.publish(&header, scratch);
        }
        self.was_published = true;
        self.counters.books += 1;
    }

    /// Show the last good state again, with flags: the book in memory may be what cannot be trusted.
    fn publish_flagged(&mut self, flags: u32, recv_ns: i64, scratch: &mut Vec<u64>) {
        let Some(mut last) = self.latest.book.read().filter(|_| self.was_published) else { return };
        last[1] = u64::from(flags);
        self.latest.book.write(&last);
        let header = unpack_store(&last, flags, recv_ns);
        let words = 1 + 2 * (usize::from(header.bids) + usize::from(header.asks));
        scratch.clear();
        scratch.extend_from_slice(&last[3..3 + words]);
        self.topics.book.publish(&header, scratch);
        for deep in self.topics.deep.iter_mut().filter(|deep| deep.is_wanted()) {
            deep.publisher.publish(&header, scratch);
        }
    }

    /// Publish the present state on the deeper tier of this topic, for its first reader.
    pub fn publish_deep(&mut self, topic_id: u32, recv_ns: i64, scratch: &mut Vec<u64>) {
        let mut header = self.header(Kind::Book, flags::SNAPSHOT, recv_ns, recv_ns, self.book.update_id());
        let is_ready = self.state != State::Waiting;
        let mut deep = self.topics.deep.iter_mut();
        if let Some(deep) = deep.find(|deep| is_ready && deep.publisher.topic().id() == topic_id) {
            scratch.clear();
            (header.bids, header.asks) = self.book.write_record(deep.depth, scratch);
            deep.publisher.publish(&header, scratch);
        }
    }

    /// Append the latest best levels as `_core.pyi` documents `Engine.snapshot`.
    pub fn write_snapshot(&self, out: &mut Vec<u64>) {
        let Some(last) = self.latest.book.read() else {
            out.extend([0; 5]);
            return;
        };
        let header = unpack_store(&last, 0, 0);
        out.extend([header.id, u64::from(header.price_scale), u64::from(header.quantity_scale)]);
        out.extend([u64::from(header.bids), u64::from(header.asks)]);
        let words = 2 * (usize::from(header.bids) + usize::from(header.asks));
        out.extend_from_slice(&last[4..4 + words]);
    }

    // --- trades and quotes --------------------------------------------------------------------------------------

    /// Take one trade or aggregate.
    #[inline]
    pub fn take_trade(
        &mut self,
        policy: &Policy,
        recv_ns: i64,
        trade: &Trade,
        aggregate: bool,
    ) -> (Outcome, Option<Notice>) {
        if *self.takes_aggregates.get_or_insert(aggregate) != aggregate {
            self.counters.ignored += 1;
            return (Outcome::Ignored, None);
        }
        let mut notice = None;
        let mut flags = 0;
        match self.trade_ids.judge(trade.id) {
            TradeOrder::Next => {}
            TradeOrder::AfterGap { first, missing } => {
                self.counters.sequence_errors += 1;
                self.counters.missing_trades += missing;
                let reason = if self.was_reconnected { GapReason::Reconnect } else { GapReason::VenueGap };
                self.report_gap(recv_ns, data_type::TRADES, missing, first, trade.id - 1, reason, false);
                flags = flags::AFTER_GAP;
                notice = Some(Notice::Gap(missing));
            }
            TradeOrder::Duplicate => {
                self.counters.ignored += 1;
                self.counters.duplicates += 1;
                return (Outcome::Ignored, None);
            }
            TradeOrder::Late => {
                self.counters.late_trades += 1;
                if policy.enabled && policy.strict {
                    return (self.reject(Reason::OutOfOrderTrade), None);
                }
                self.counters.missing_trades -= 1;
                flags = flags::BACKFILLED;
            }
        }
        self.was_reconnected = false;
        match self.check_trade(policy, recv_ns, trade) {
            Ok(exchange_ns) => {
                let header = self.header(Kind::Trade, flags, recv_ns, exchange_ns, trade.id);
                let sells = u64::from(trade.taker_sells);
                let (price, quantity) = (trade.price as u64, trade.quantity as u64);
                self.topics.trades.publish(&header, &[price, quantity, sells, trade.first_fill, trade.last_fill]);
                self.latest.trade.write(&[trade.id, price, quantity, sells, exchange_ns as u64]);
                self.counters.trades += 1;
                self.counters.published += 1;
                (Outcome::Published, notice)
            }
            Err(reason) => {
                self.report_gap(recv_ns, data_type::TRADES, 1, trade.id, trade.id, GapReason::Rejected, false);
                (self.reject(reason), notice)
            }
        }
    }

    #[inline(always)]
    fn check_trade(&mut self, policy: &Policy, recv_ns: i64, trade: &Trade) -> Result<i64, Reason> {
        if trade.price == 0 {
            return Err(Reason::ZeroPrice);
        }
        if trade.quantity == 0 {
            return Err(Reason::ZeroQuantity);
        }
        let exchange_ns = policy.time_ns(trade.trade_ms, recv_ns)?;
        if policy.enabled {
            self.guard.check(policy, trade.price)?;
        }
        Ok(exchange_ns)
    }

    /// Take one best bid and ask.
    #[inline]
    pub fn take_quote(&mut self, policy: &Policy, recv_ns: i64, ticker: &BookTicker) -> Outcome {
        if ticker.update_id <= self.last_quote_id {
            self.counters.ignored += 1;
            self.counters.duplicates += 1;
            return Outcome::Ignored;
        }
        let exchange_ns = match self.check_quote(policy, recv_ns, ticker) {
            Ok(exchange_ns) => exchange_ns,
            Err(reason) => return self.reject(reason),
        };
        self.last_quote_id = ticker.update_id;
        let header = self.header(Kind::Quote, 0, recv_ns, exchange_ns, ticker.update_id);
        let words = [ticker.bid_price, ticker.bid_quantity, ticker.ask_price, ticker.ask_quantity].map(|v| v as u64);
        self.topics.quotes.publish(&header, &words);
        self.latest.quote.write(&[ticker.update_id, words[0], words[1], words[2], words[3]]);
        self.counters.quotes += 1;
        self.counters.published += 1;
        Outcome::Published
    }

    #[inline(always)]
    fn check_quote(&mut self, policy: &Policy, recv_ns: i64, ticker: &BookTicker) -> Result<i64, Reason> {
        // Spot sends no time with its quotes; the moment of arrival is the best there is.
        let exchange_ns = if ticker.time_ms == 0 { recv_ns } else { policy.time_ns(ticker.time_ms, recv_ns)? };
        let one_sided = ticker.bid_quantity == 0 || ticker.ask_quantity == 0;
        if one_sided || !policy.enabled {
            return Ok(exchange_ns);
        }
        if ticker.bid_price == 0 || ticker.ask_price == 0 {
            return Err(Reason::ZeroPrice);
        }
        if ticker.bid_price >= ticker.ask_price {
            return Err(Reason::CrossedQuote);
        }
        self.guard.check(policy, ticker.bid_price)?;
        Ok(exchange_ns)
    }

    /// Append a gap mark to the topic concerned.
    #[allow(clippy::too_many_arguments)]
    pub fn report_gap(
        &mut self,
        recv_ns: i64,
        data_type: i32,
        count: u64,
        first_id: u64,
        last_id: u64,
        reason: GapReason,
        repaired: bool,
    ) {
        let header = self.header(Kind::Gap, flags::AFTER_GAP, recv_ns, recv_ns, last_id);
        let mut words = [0; gap::WORDS];
        words[gap::DATA_TYPE] = data_type as u64;
        words[gap::COUNT] = count;
        words[gap::FIRST_ID] = first_id;
        words[gap::LAST_ID] = last_id;
        words[gap::REASON] = reason as u64;
        words[gap::REPAIRED] = u64::from(repaired);
        if let Some(publisher) = self.topics.of_data_type(data_type) {
            publisher.publish(&header, &words);
        }
    }

    /// Publish a record of one of the slow kinds.
    pub fn publish_slow(&mut self, data_type: i32, header: &Header, words: &[u64]) -> Outcome {
        match self.topics.of_data_type(data_type) {
            Some(publisher) => {
                publisher.publish(header, words);
                self.counters.published += 1;
                Outcome::Published
            }
            None => {
                self.counters.ignored += 1;
                Outcome::Ignored
            }
        }
    }

    /// A header of one of the slow kinds.
    pub fn slow_header(&self, kind: Kind, recv_ns: i64, exchange_ns: i64, id: u64) -> Header {
        self.header(kind, 0, recv_ns, exchange_ns, id)
    }

    /// Count a refusal.
    pub fn reject(&mut self, reason: Reason) -> Outcome {
        self.counters.rejected += 1;
        Outcome::Rejected(reason)
    }
}

/// Scales and level counts in one word of the store's book cell.
fn pack_store_meta(header: &Header) -> u64 {
    header.to_words(HEADER_WORDS)[5]
}

fn unpack_store(words: &[u64; BOOK_WORDS], flags: u32, recv_ns: i64) -> Header {
    Header {
        kind: Kind::Book,
        flags,
        sequence: 0,
        recv_ns,
        exchange_ns: recv_ns,
        id: words[0],
        price_scale: words[2] as u8,
        quantity_scale: (words[2] >> 8) as u8,
        bids: (words[2] >> 16) as u16,
        asks: (words[2] >> 32) as u16,
    }
}
