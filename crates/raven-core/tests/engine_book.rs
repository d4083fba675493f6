//! The book against a naive oracle of decimal texts, under drops, doubles, swaps and snapshots of every age.
//!
//! Whatever arrives in whatever order: when the engine says `synced` the book is the oracle's at the same update id,
//! what readers got was true when it was published, a lost diff is noticed on the next, and the counters balance.
#![cfg(not(loom))]

mod engine_support;

use engine_support::market::{Dice, Market};
use engine_support::oracle::Levels;
use engine_support::text::{by_value, Style};
use engine_support::{Record, Rig};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use raven_core::engine::answer;
use raven_core::record::{flags, Kind};
use raven_core::sequence::Rule;

const DIFFS: usize = 60;
const DEPTH: usize = 20;

/// What happens to the stream.
#[derive(Clone, Copy, Debug)]
enum Act {
    Deliver,
    Drop,
    /// Deliver one of the last few diffs again.
    Repeat(usize),
    /// Deliver the next two in the wrong order.
    Swap,
    /// A snapshot, so many diffs older (negative) or newer than the stream, cut to so many levels.
    Snapshot(isize, usize),
    Desync,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => Just(Act::Deliver),
        1 => Just(Act::Drop),
        1 => (1usize..6).prop_map(Act::Repeat),
        1 => Just(Act::Swap),
        4 => (-4isize..4, prop_oneof![3 => Just(1000usize), 1 => 3usize..12]).prop_map(|(age, limit)| Act::Snapshot(age, limit)),
        1 => Just(Act::Desync),
    ]
}

/// A stream with its faults, and what has been checked of it so far.
struct Run {
    market: Market,
    rig: Rig,
    next: usize,
    dice: Dice,
    /// The last snapshot that was taken was cut: beyond the proven range the book is only as good as the diffs.
    is_cut: bool,
    checked_records: usize,
}

impl Run {
    fn new(rule: Rule, seed: u64) -> Self {
        let market = Market::new(rule, seed, DIFFS);
        Self { market, rig: Rig::new(rule), next: 0, dice: Dice(seed ^ 77), is_cut: false, checked_records: 0 }
    }

    fn take(&mut self, act: Act) {
        match act {
            Act::Deliver => self.deliver(self.next),
            Act::Drop => {}
            Act::Repeat(back) => return self.deliver(self.next.saturating_sub(back)),
            Act::Swap => {
                self.deliver(self.next + 1);
                self.deliver(self.next);
                self.next += 1;
            }
            Act::Snapshot(age, limit) => {
                let position = self.next.saturating_add_signed(age);
                return self.answer(position, limit);
            }
            Act::Desync => {
                let act = |instrument: &mut raven_core::instrument::Instrument, words: &mut Vec<u64>| {
                    instrument.desync("requested", 0, words);
                };
                self.rig.engine.with_instrument(self.rig.instrument, act);
                return self.check();
            }
        }
        self.next += 1;
    }

    fn deliver(&mut self, position: usize) {
        let Some(diff) = self.market.diffs.get(position).cloned() else { return };
        self.rig.frame(diff.recv_ns(), diff.json(Style::default()).as_bytes());
        if self.rig.is_synced() {
            assert!(self.rig.update_id() >= diff.last, "synced, yet {} was seen and is not in the book", diff.last);
        }
        self.check();
    }

    fn answer(&mut self, position: usize, limit: usize) {
        let id = self.market.id_near(position, &mut self.dice);
        let body = self.market.snapshot(id, limit);
        if self.rig.snapshot(0, body.as_bytes(), limit) & answer::PUBLISHED != 0 {
            self.is_cut = limit < 1000;
        }
        self.check();
    }

    fn check(&mut self) {
        self.rig.assert_balanced();
        if self.rig.is_synced() && !self.is_cut {
            let id = self.rig.update_id();
            assert_eq!(self.rig.canonical(), self.market.oracle.canonical(id), "at update id {id}");
        }
        for record in self.rig.published() {
            self.check_record(&record);
        }
    }

    /// A published book was true, best first and never crossed, whatever came before or after it.
    fn check_record(&mut self, record: &Record) {
        assert_eq!(record.header.kind, Kind::Book, "{record:?}");
        let (bids, asks) = record.levels();
        if let (Some(bid), Some(ask)) = (bids.first(), asks.first()) {
            assert!(by_value(&bid.0, &ask.0).is_lt(), "a crossed book was published: {record:?}");
        }
        let (true_bids, true_asks) = self.market.oracle.at(record.header.id);
        let (proven_bids, proven_asks) = record.proven();
        assert!(self.is_cut || record.header.flags & flags::STALE != 0 || proven_bids == bids.len());
        let best = |levels: Levels, count: usize| levels.into_iter().take(count).collect::<Levels>();
        let is_whole = proven_bids == bids.len() && proven_asks == asks.len() && !self.is_cut;
        let (bid_count, ask_count) = if is_whole { (DEPTH, DEPTH) } else { (proven_bids, proven_asks) };
        assert_eq!(best(bids, bid_count), best(true_bids.into_iter().rev().collect(), bid_count), "{record:?}");
        assert_eq!(best(asks, ask_count), best(true_asks, ask_count), "{record:?}");
        self.checked_records += 1;
    }

    /// From here on nothing fails: snapshots are answered as they are asked for.
    fn heal(&mut self) {
        let from = self.next.min(DIFFS - 6);
        for position in from..DIFFS {
            self.deliver(position);
            if self.rig.wants_snapshot() || !self.rig.is_synced() {
                self.answer(position, 1000);
            }
        }
        assert!(
            self.rig.is_synced(),
            "a book with every answer it asked for is {}",
            self.rig.instrument().state_name()
        );
        let last = self.market.diffs[DIFFS - 1].last;
        assert_eq!(self.rig.update_id(), last);
        if !self.is_cut {
            assert_eq!(self.rig.canonical(), self.market.oracle.canonical(last));
        }
    }
}

fn config(cases: u32) -> ProptestConfig {
    // The same cases every time; PROPTEST_CASES asks for more of them.
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let cases = asked.unwrap_or(cases);
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(2024), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn a_synced_book_is_the_oracles_whatever_came_before(
        is_spot in any::<bool>(), seed in any::<u64>(), acts in prop::collection::vec(act(), 1..70)
    ) {
        let mut run = Run::new(if is_spot { Rule::Spot } else { Rule::Futures }, seed);
        for act in acts {
            run.take(act);
        }
        run.heal();
        prop_assert!(run.checked_records > 0);
    }

    #[test]
    fn a_lost_diff_is_noticed_on_the_next(is_spot in any::<bool>(), seed in any::<u64>(), lost in 3usize..50) {
        let mut run = Run::new(if is_spot { Rule::Spot } else { Rule::Futures }, seed);
        run.take(Act::Deliver);
        run.answer(0, 1000);
        while run.next < lost {
            run.take(Act::Deliver);
        }
        prop_assert!(run.rig.is_synced());
        run.rig.wants_snapshot();
        run.take(Act::Drop);
        prop_assert!(run.rig.is_synced(), "nobody can know yet");
        run.take(Act::Deliver);
        prop_assert_eq!(run.rig.instrument().state_name(), "resyncing");
        prop_assert!(run.rig.wants_snapshot());
        prop_assert_eq!(run.rig.instrument().counters.sequence_errors, 1);
    }
}

#[test]
fn the_market_of_these_tests_is_worth_testing_with() {
    for rule in [Rule::Spot, Rule::Futures] {
        let mut run = Run::new(rule, 5);
        run.take(Act::Deliver);
        run.answer(0, 1000);
        for _ in 1..DIFFS {
            run.take(Act::Deliver);
        }
        let counters = run.rig.instrument().counters;
        assert_eq!(counters.published + counters.ignored, DIFFS as u64, "an undisturbed stream loses nothing");
        let scales = run.rig.instrument().scales();
        assert!(scales.price >= 4 && scales.quantity >= 4, "decimals grow: {scales:?}");
        assert!(run.rig.instrument().book().unknown_removals() > 0, "some removals name unknown levels");
    }
}
