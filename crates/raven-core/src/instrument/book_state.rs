//! The book of an instrument, from waiting over bridging to live, and what of it readers see.

use super::{Instrument, Notice, Outcome, State, ID_RESTART_NS};
use crate::citadel::Policy;
use crate::parse::event::{Depth, Level};
use crate::pending::{PendingDiffs, PendingLimits};
use crate::record::{flags, Header, Kind, HEADER_WORDS};
use crate::reject::Reason;
use crate::sequence::{self, Ids, Verdict};
use crate::store::{BOOK_WORDS, STORE_DEPTH};

/// A venue's cache may be some seconds late, so what waits is kept for so many answers.
const MOST_LATE_SNAPSHOTS: u32 = 5;

impl Instrument {
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
            Verdict::Known if self.has_restarted(policy, depth.event_ms, recv_ns) => {
                self.counters.sequence_errors += 1;
                self.lose_sync("ids_restarted", recv_ns, scratch);
                return self.wait(limits, recv_ns, raw);
            }
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
        self.diff_clock.note(exchange_ns);
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

    #[cold]
    fn has_restarted(&self, policy: &Policy, event_ms: u64, recv_ns: i64) -> bool {
        let time_ns = policy.time_ns(event_ms, recv_ns);
        self.state == State::Live && time_ns.is_ok_and(|ns| self.diff_clock.has_restarted(ns, ID_RESTART_NS))
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
        if self.state != State::Waiting {
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

    /// The same, for one that is older than what waits. After a few of them it is what waits that must be wrong.
    pub fn refuse_old_snapshot(&mut self) -> Option<Notice> {
        self.late_snapshots += 1;
        if self.late_snapshots >= MOST_LATE_SNAPSHOTS {
            self.late_snapshots = 0;
            self.counters.gap += self.pending.clear() as u64;
            self.counters.pending = 0;
        }
        self.refuse_snapshot("snapshot_too_old")
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
        if is_crossed(bids, asks) {
            return None;
        }
        self.book.load(snapshot.last_id, bids, asks, limit);
        self.state = State::Bridging;
        self.is_stale = false;
        self.snapshot_requested = false;
        self.late_snapshots = 0;
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
        if is_crossed(bids, asks) {
            return self.reject(Reason::CrossedBook);
        }
        self.last_partial_id = depth.last_id;
        // Everything beyond the few levels sent is unknown, so both sides count as cut.
        self.book.load(depth.last_id, bids, asks, 0);
        self.state = State::Live;
        self.is_stale = false;
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
}

/// Is the best bid of a whole book at or above its best ask? Levels may come in any order.
fn is_crossed(bids: &[Level], asks: &[Level]) -> bool {
    let best_bid = bids.iter().map(|level| level.price).max();
    let best_ask = asks.iter().map(|level| level.price).min();
    matches!((best_bid, best_ask), (Some(bid), Some(ask)) if bid >= ask)
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
