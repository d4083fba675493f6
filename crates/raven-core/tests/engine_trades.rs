//! Trades in order, or marked: whatever is dropped, doubled, late or refused, a reader of the topic can account for
//! every id between the first and the last trade, and the counters balance.
#![cfg(not(loom))]

mod engine_support;

use std::collections::BTreeSet;

use engine_support::events;
use engine_support::market::START_MS;
use engine_support::text::Style;
use engine_support::Rig;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use raven_core::citadel::Policy;
use raven_core::engine::EngineConfig;
use raven_core::record::{flags, gap, GapReason, Kind};
use raven_core::sequence::Rule;

#[derive(Clone, Copy, Debug)]
enum Act {
    Deliver,
    /// So many ids never come, or come later.
    Drop(u64),
    Repeat(u64),
    /// One that was dropped comes after all.
    Late,
    ZeroQuantity,
    NotANumber,
    /// The other kind of trade stream of the same symbol.
    OtherKind,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        10 => Just(Act::Deliver),
        1 => (1u64..5).prop_map(Act::Drop),
        1 => (1u64..9).prop_map(Act::Repeat),
        2 => Just(Act::Late),
        1 => Just(Act::ZeroQuantity),
        1 => Just(Act::NotANumber),
        1 => Just(Act::OtherKind),
    ]
}

struct Run {
    rig: Rig,
    is_strict: bool,
    next: u64,
    dropped: BTreeSet<u64>,
    /// What a reader knows: the next id that it has not heard of.
    expected: Option<u64>,
    /// Ids that gap marks named and that have not come since.
    marked: BTreeSet<u64>,
    sent: u64,
}

impl Run {
    fn new(is_strict: bool) -> Self {
        let policy = Policy { strict: is_strict, ..Policy::default() };
        let rig = Rig::with_config(Rule::Futures, EngineConfig { policy, ..EngineConfig::default() });
        Self { rig, is_strict, next: 100, dropped: BTreeSet::new(), expected: None, marked: BTreeSet::new(), sent: 0 }
    }

    fn take(&mut self, act: Act) {
        match act {
            Act::Deliver => self.deliver("1.5", "2.25"),
            Act::Drop(count) => {
                self.dropped.extend(self.next..self.next + count);
                self.next += count;
            }
            Act::Repeat(back) => self.send(self.next.saturating_sub(back).max(100), "1.5", "2.25"),
            Act::Late => {
                if let Some(id) = self.dropped.pop_first() {
                    self.send(id, "1.5", "2.25");
                }
            }
            Act::ZeroQuantity => self.deliver("1.5", "0.000"),
            Act::NotANumber => self.deliver("1.5", "NaN"),
            Act::OtherKind => {
                let frame = events::aggregate(self.next, START_MS, "1.5", "2.25").json(Style::default());
                // The first trade of all decides which kind is published.
                if self.expected.is_some() {
                    self.rig.frame(0, frame.as_bytes());
                    self.sent += 1;
                }
            }
        }
        self.check();
    }

    fn deliver(&mut self, price: &str, quantity: &str) {
        self.send(self.next, price, quantity);
        self.next += 1;
    }

    fn send(&mut self, id: u64, price: &str, quantity: &str) {
        let trade = events::trade(id, START_MS + id, price, quantity);
        self.rig.frame(trade.recv_ns(), trade.json(Style::default()).as_bytes());
        self.sent += 1;
    }

    fn check(&mut self) {
        self.rig.assert_balanced();
        let counters = self.rig.instrument().counters;
        assert_eq!(counters.received, self.sent, "every frame is counted once");
        assert_eq!(counters.pending + counters.gap, 0, "trades wait for nothing");
        for record in self.rig.published() {
            match record.header.kind {
                Kind::Trade => self.check_trade(record.header.id, record.header.flags),
                Kind::Gap => self.check_gap(&record.body),
                other => panic!("{other:?} on the trades topic"),
            }
        }
    }

    fn check_trade(&mut self, id: u64, seen: u32) {
        if seen & flags::BACKFILLED != 0 {
            assert!(!self.is_strict && self.marked.remove(&id), "{id} is late but was never marked as missing");
            return;
        }
        assert_eq!(*self.expected.get_or_insert(id), id, "a trade out of order or after a hole that is not marked");
        self.expected = Some(id + 1);
    }

    fn check_gap(&mut self, body: &[u64]) {
        let (first, last, count) = (body[gap::FIRST_ID], body[gap::LAST_ID], body[gap::COUNT]);
        let reason = GapReason::from_u64(body[gap::REASON]).expect("a known reason");
        assert_eq!(count, last - first + 1, "the count is that of the ids");
        if reason == GapReason::Rejected && self.marked.contains(&first) {
            return; // a late one that was refused as well: its hole is marked already
        }
        assert_eq!(*self.expected.get_or_insert(first), first, "the mark starts where the trades end");
        self.expected = Some(last + 1);
        if reason != GapReason::Rejected {
            self.marked.extend(first..=last);
        }
    }
}

fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let cases = asked.unwrap_or(cases);
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn every_trade_is_in_order_or_marked(is_strict in any::<bool>(), acts in prop::collection::vec(act(), 1..80)) {
        let mut run = Run::new(is_strict);
        run.take(Act::Deliver);
        for act in acts {
            run.take(act);
        }
        run.take(Act::Deliver);
        prop_assert_eq!(run.expected, Some(run.next), "the reader has heard of every id");
        let counters = run.rig.instrument().counters;
        prop_assert_eq!(counters.missing_trades, run.marked.len() as u64);
    }
}
