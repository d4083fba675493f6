//! Everything the engine keeps about one instrument, and what it does with each event of it.
//!
//! A book goes through three states: *waiting* (diffs are kept until a snapshot comes), *bridging* (the snapshot is
//! loaded, the next diff must reach over it) and *live*. Any break leads back to waiting; the last good state stays
//! visible, flagged, and nothing that could be wrong is published.

mod book_state;
mod trades;

use std::sync::Arc;

use crate::book::Book;
use crate::citadel::{IdClock, PriceGuard, TradeIds};
use crate::counters::Counters;
use crate::latency::Histogram;
use crate::parse::decimal::POW10;
use crate::parse::event::Scales;
use crate::pending::PendingDiffs;
use crate::record::{flags, gap, GapReason, Header, Kind};
use crate::reject::Reason;
use crate::sequence::Rule;
use crate::store::Latest;
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

/// Copies from a second connection carry the time of the original; what is so much newer is no copy.
const ID_RESTART_MS: u64 = 1_000;

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
    /// How long its events took from arrival to publication.
    pub latency: Histogram,
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
    /// Snapshots in a row that were too old for what waits.
    late_snapshots: u32,
    trade_ids: TradeIds,
    /// An instrument publishes either single trades or aggregates: what came first.
    takes_aggregates: Option<bool>,
    was_reconnected: bool,
    trade_clock: IdClock,
    quote_clock: IdClock,
    diff_clock: IdClock,
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
            latency: Histogram::default(),
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
            late_snapshots: 0,
            trade_ids: TradeIds::default(),
            takes_aggregates: None,
            was_reconnected: false,
            trade_clock: IdClock::default(),
            quote_clock: IdClock::default(),
            diff_clock: IdClock::default(),
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
        let (price, quantity) =
            (POW10[(to.price - from.price) as usize], POW10[(to.quantity - from.quantity) as usize]);
        let grown = self.leaves_room(price, quantity) && self.book.rescale(to);
        if grown {
            self.guard.rescale(price);
            self.rescale_latest(price, quantity);
        }
        grown
    }

    /// Would prices and quantities like the last ones still fit, with room to move? One odd number must not make all
    /// that follow unreadable.
    fn leaves_room(&self, price: i64, quantity: i64) -> bool {
        const ROOM: i64 = 1_000;
        let fits = |value: u64, factor: i64| {
            let grown = (value as i64).checked_mul(factor);
            grown.and_then(|grown| grown.checked_mul(ROOM)).is_some()
        };
        let trade = self.latest.trade.read().unwrap_or_default();
        let quote = self.latest.quote.read().unwrap_or_default();
        let prices = [trade[1], quote[1], quote[3]];
        let quantities = [trade[2], quote[2], quote[4]];
        prices.iter().all(|value| fits(*value, price)) && quantities.iter().all(|value| fits(*value, quantity))
    }

    /// The cells hold no scales of their own: what they say is in those of the instrument.
    fn rescale_latest(&self, price: i64, quantity: i64) {
        let grow = |value: &mut u64, factor: i64| *value = (*value as i64).saturating_mul(factor) as u64;
        if let Some(mut trade) = self.latest.trade.read() {
            grow(&mut trade[1], price);
            grow(&mut trade[2], quantity);
            self.latest.trade.write(&trade);
        }
        if let Some(mut quote) = self.latest.quote.read() {
            [1, 3].into_iter().for_each(|at| grow(&mut quote[at], price));
            [2, 4].into_iter().for_each(|at| grow(&mut quote[at], quantity));
            self.latest.quote.write(&quote);
        }
    }

    fn header(&self, kind: Kind, flags: u32, recv_ns: i64, exchange_ns: i64, id: u64) -> Header {
        let Scales { price, quantity } = self.scales();
        let (price_scale, quantity_scale) = (price, quantity);
        Header { kind, flags, sequence: 0, recv_ns, exchange_ns, id, price_scale, quantity_scale, bids: 0, asks: 0 }
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
