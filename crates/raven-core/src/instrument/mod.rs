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
use crate::slow_kinds::Newest;
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
const ID_RESTART_NS: i64 = 1_000_000_000;

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
    /// What came last of the slow kinds.
    pub newest: Newest,
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
            newest: Newest::default(),
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

    /// Take numbers of other scales from now on, all finer or all coarser. False: what is known would not be exact.
    pub fn adapt(&mut self, to: Scales) -> bool {
        let from = self.scales();
        if to.price < from.price || to.quantity < from.quantity {
            return self.coarsen(to);
        }
        let grown = self.book.rescale(to);
        if grown {
            self.guard.rescale(POW10[(to.price - from.price) as usize]);
        }
        grown
    }

    /// The way back when one odd number (a price of eighteen decimals) had made the scales so fine that usual ones do
    /// not fit any more. A book that waits for its snapshot is no reason to refuse that snapshot.
    fn coarsen(&mut self, to: Scales) -> bool {
        let factor = POW10[(self.scales().price - to.price) as usize];
        if !self.book.coarsen(to) {
            if self.state != State::Waiting {
                return false;
            }
            self.book.clear(to);
        }
        self.guard.coarsen(factor);
        true
    }

    /// Both scales in one word, for cells of the store.
    #[inline(always)]
    fn scales_word(&self) -> u64 {
        let Scales { price, quantity } = self.scales();
        u64::from(price) | u64::from(quantity) << 8
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

    /// Count an event that nobody needs.
    pub fn ignore(&mut self) -> Outcome {
        self.counters.ignored += 1;
        Outcome::Ignored
    }

    /// Count an event that came before.
    pub fn ignore_duplicate(&mut self) -> Outcome {
        self.counters.duplicates += 1;
        self.ignore()
    }

    /// Count a refusal.
    pub fn reject(&mut self, reason: Reason) -> Outcome {
        self.counters.rejected += 1;
        Outcome::Rejected(reason)
    }
}
