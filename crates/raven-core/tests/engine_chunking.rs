//! The same events give the same records and books whatever the frames look like: combined or raw, one by one or in
//! arrays, with keys in another order (numbers before their symbol included) and white space anywhere.
#![cfg(not(loom))]

mod engine_support;

use engine_support::events::{mixed, Event};
use engine_support::market::{Dice, Diff, Market};
use engine_support::text::{spaced, Style};
use engine_support::{Record, Rig};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use raven_core::counters::Counters;
use raven_core::sequence::Rule;

/// What an engine made of a stream.
#[derive(Debug, PartialEq)]
struct Outcome {
    records: Vec<Record>,
    canonical: String,
    counters: Counters,
    resyncs: usize,
}

enum Item {
    Diff(Diff),
    Event(Event),
}

impl Item {
    fn json(&self, style: Style) -> String {
        match self {
            Self::Diff(diff) => diff.json(style),
            Self::Event(event) => event.json(style),
        }
    }

    fn stream(&self) -> &'static str {
        match self {
            Self::Diff(_) => "depth@100ms",
            Self::Event(event) => event.stream,
        }
    }

    fn recv_ns(&self) -> i64 {
        match self {
            Self::Diff(diff) => diff.recv_ns(),
            Self::Event(event) => event.recv_ns(),
        }
    }
}

/// How the stream is cut into frames and how each is written.
#[derive(Clone, Copy, Debug)]
struct Writing {
    style: Style,
    is_combined: bool,
    /// Up to so many events of one type in one array.
    array: usize,
}

const PLAIN: Writing = Writing { style: Style { order: 0, spaces: 0 }, is_combined: false, array: 1 };

/// Diffs and other events in turn; a diff is missing on the way, so the book resyncs in mid-stream.
fn stream(seed: u64) -> (Market, Vec<Item>) {
    let mut dice = Dice(seed);
    let market = Market::new(Rule::Futures, seed, 30);
    let mut items: Vec<Item> = Vec::new();
    let mut events = mixed(&mut dice, 120).into_iter();
    for (position, diff) in market.diffs.iter().enumerate() {
        if position != 17 {
            items.push(Item::Diff(diff.clone()));
        }
        items.extend(events.by_ref().take(dice.roll(8) as usize).map(Item::Event));
    }
    (market, items)
}

fn run(seed: u64, writing: Writing) -> Outcome {
    let (market, items) = stream(seed);
    let mut rig = Rig::new(Rule::Futures);
    let mut resyncs = 0;
    let mut at = 0;
    while at < items.len() {
        let alike =
            items[at..].iter().take(writing.array).take_while(|item| item.stream() == items[at].stream()).count();
        let chunk = &items[at..at + alike];
        at += alike;
        let mut body = match chunk {
            [one] if writing.array == 1 => one.json(writing.style),
            many => {
                let parts: Vec<String> = many.iter().map(|item| item.json(writing.style)).collect();
                spaced(&format!("[{}]", parts.join(",")), 0)
            }
        };
        if writing.is_combined {
            let stream = format!("btcusdt@{}", chunk[0].stream());
            body = engine_support::text::combined(&stream, &body, writing.style);
        }
        // One frame has one time of arrival, so a chunk's events all take that of its first, written together or not.
        rig.frame(chunk[0].recv_ns(), body.as_bytes());
        if rig.wants_snapshot() {
            resyncs += 1;
            let last = chunk.iter().rev().find_map(|item| match item {
                Item::Diff(diff) => Some(diff.last),
                Item::Event(_) => None,
            });
            let id = last.expect("only a diff asks for a snapshot");
            rig.snapshot(0, spaced(&market.snapshot(id, 1000), writing.style.spaces).as_bytes(), 1000);
        }
    }
    rig.assert_balanced();
    let counters = rig.instrument().counters;
    Outcome { records: rig.published(), canonical: rig.canonical(), counters, resyncs }
}

fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let cases = asked.unwrap_or(cases);
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn how_a_frame_is_written_changes_nothing(
        seed in any::<u64>(), order in 0usize..40, spaces in 0usize..4, is_combined in any::<bool>()
    ) {
        let plain = run(seed, PLAIN);
        prop_assert_eq!(plain.counters.rejected, 0);
        prop_assert!(plain.resyncs == 2 && plain.records.len() > 60);
        let written = run(seed, Writing { style: Style { order, spaces }, is_combined, array: 1 });
        prop_assert_eq!(plain, written);
    }

    #[test]
    fn events_in_arrays_are_events_one_by_one(seed in any::<u64>(), array in 2usize..6, is_combined in any::<bool>()) {
        let single = run_with_shared_times(seed, array);
        let together = run(seed, Writing { array, is_combined, ..PLAIN });
        prop_assert_eq!(single, together);
    }
}

/// The plain stream with the times of arrival that the same events would have in arrays.
fn run_with_shared_times(seed: u64, array: usize) -> Outcome {
    let (market, items) = stream(seed);
    let mut rig = Rig::new(Rule::Futures);
    let (mut resyncs, mut at) = (0, 0);
    while at < items.len() {
        let alike = items[at..].iter().take(array).take_while(|item| item.stream() == items[at].stream()).count();
        let chunk = &items[at..at + alike];
        at += alike;
        let mut last = None;
        for item in chunk {
            rig.frame(chunk[0].recv_ns(), item.json(Style::default()).as_bytes());
            if let Item::Diff(diff) = item {
                last = Some(diff.last);
            }
        }
        if rig.wants_snapshot() {
            resyncs += 1;
            rig.snapshot(0, market.snapshot(last.expect("a diff"), 1000).as_bytes(), 1000);
        }
    }
    let counters = rig.instrument().counters;
    Outcome { records: rig.published(), canonical: rig.canonical(), counters, resyncs }
}
