//! Frames of every type with bytes flipped, cut out, put in and moved: never a panic, every frame counted exactly once,
//! nothing crossed is ever published, and the engine is right again as soon as the frames are.
#![cfg(not(loom))]

mod engine_support;

use engine_support::events;
use engine_support::market::{Dice, Market, START_MS};
use engine_support::text::Style;
use engine_support::Rig;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use raven_core::engine::answer;
use raven_core::record::Kind;
use raven_core::sequence::Rule;

/// What a connection carries, of every type that Raven reads and some that it does not.
fn real_looking_frames(market: &Market, dice: &mut Dice) -> Vec<Vec<u8>> {
    let plain = Style::default();
    let mut frames: Vec<String> = events::mixed(dice, 60).iter().map(|event| event.combined(plain)).collect();
    frames.extend(events::mixed(dice, 20).iter().map(|event| event.json(plain)));
    frames.extend(market.diffs.iter().take(20).map(|diff| diff.json(plain)));
    let stream = |name: &str, data: &str| engine_support::text::combined(name, data, plain);
    frames.extend(market.diffs.iter().take(20).map(|diff| stream("btcusdt@depth@100ms", &diff.json(plain))));
    frames.push(stream("btcusdt@depth20@100ms", &market.diffs[3].json(plain)));
    frames.push(stream("btcusdt@depth20", &market.snapshot(market.diffs[5].last, 20)));
    let marks = ["100.5", "100.6"].map(|price| events::mark_price(START_MS, price, "").json(plain)).join(",");
    frames.push(stream("!markPrice@arr", &format!("[{marks}]")));
    frames.push("{\"result\":null,\"id\":3}".into());
    frames.push("{\"error\":{\"code\":2,\"msg\":\"Invalid request\"},\"id\":4}".into());
    frames.push(format!("{{\"e\":\"serverShutdown\",\"E\":{START_MS}}}"));
    frames.push(format!("{{\"e\":\"24hrTicker\",\"E\":{START_MS},\"s\":\"BTCUSDT\",\"p\":\"0.0015\"}}"));
    frames.into_iter().map(String::into_bytes).collect()
}

fn mutate(frame: &[u8], dice: &mut Dice) -> Vec<u8> {
    const TOKENS: [&[u8]; 16] = [
        b"\"",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\\",
        b"-",
        b".",
        b"e9",
        b"999999999999",
        b"null",
        b"\xff",
        b"\0",
        b" ",
    ];
    let mut out = frame.to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(out.len().max(1) as u64) as usize;
        let to = (at + dice.roll(12) as usize).min(out.len());
        match dice.roll(7) {
            0 if at < out.len() => out[at] ^= 1 << dice.roll(8),
            1 if at < out.len() => out[at] = b'0' + dice.roll(10) as u8,
            2 => out.truncate(at),
            3 => drop(out.drain(at..to)),
            4 => drop(out.splice(at..at, TOKENS[dice.roll(16) as usize].iter().copied())),
            5 => {
                let piece = out[at..to].to_vec();
                drop(out.splice(at..at, piece));
            }
            _ => out.extend_from_slice(TOKENS[dice.roll(16) as usize]),
        }
    }
    out
}

/// How many things the engine says it has seen.
fn seen(rig: &Rig) -> u64 {
    let t = rig.engine.totals();
    t.replies + t.notices + t.unknown_events + t.not_collected + t.unattributed + rig.instrument().counters.received
}

fn feed(rig: &mut Rig, frame: &[u8]) {
    let (seen_before, book_before) = (seen(rig), rig.canonical());
    let rejects = |rig: &Rig| rig.engine.rejects().named().map(|(_, count)| count).sum::<u64>();
    let rejects_before = rejects(rig);
    let bits = rig.frame(START_MS as i64 * 1_000_000, frame);
    let counted = seen(rig) - seen_before;
    let is_array = frame.windows(2).any(|pair| pair == b"[{");
    assert!(counted == 1 || is_array && counted > 1, "counted {counted} times");
    rig.assert_balanced();
    if bits & answer::REJECTED != 0 {
        assert!(rejects(rig) > rejects_before, "a refusal has a reason");
        let events = rig.engine.take_events();
        let kept = events.iter().find(|event| event.name == "rejected").expect("a refused frame goes to quarantine");
        assert!(!kept.reason.is_empty() && !kept.raw.is_empty() || frame.is_empty());
    }
    if bits & (answer::PUBLISHED | answer::REJECTED) == 0 {
        assert_eq!(rig.canonical(), book_before, "what was ignored changed the book");
    }
    for record in rig.published() {
        if record.header.kind == Kind::Book {
            let (bids, asks) = record.levels();
            if let (Some(bid), Some(ask)) = (bids.first(), asks.first()) {
                assert!(engine_support::text::by_value(&bid.0, &ask.0).is_lt(), "crossed: {record:?}");
            }
        }
    }
}

/// Later than every wrong time that is accepted before: ids that were wrong are told from right ones by their times.
const AFTER_ALL_MS: u64 = 4_102_000_000_000;

/// After the rubbish: fresh frames, and a snapshot when one is asked for.
fn assert_right_again(rig: &mut Rig, rule: Rule) {
    let market = Market::starting(rule, 99, 30, AFTER_ALL_MS);
    let act = |instrument: &mut raven_core::instrument::Instrument, words: &mut Vec<u64>| {
        instrument.desync("reconnect", 0, words);
    };
    rig.engine.with_instrument(rig.instrument, act);
    rig.engine.take_events();
    for (position, diff) in market.diffs.iter().enumerate() {
        rig.frame(diff.recv_ns(), diff.json(Style::default()).as_bytes());
        if rig.wants_snapshot() {
            rig.snapshot(0, market.snapshot(diff.last, 1000).as_bytes(), 1000);
        }
        let id = 50 + position as u64;
        let trade = events::trade(id, diff.event_ms, "100.5", "2.5").json(Style::default());
        let quote = events::quote(id, diff.event_ms, "100.5", "100.6", "2.5").json(Style::default());
        let bits = [trade, quote].map(|frame| rig.frame(diff.recv_ns(), frame.as_bytes()));
        // A price that was wrong may have become the level; three that agree bring it back.
        assert!(
            position < 4 || bits.iter().all(|bits| bits & answer::PUBLISHED != 0),
            "{position}: {bits:?} {:?} {:?}",
            rig.engine.take_events(),
            rig.instrument().counters
        );
    }
    assert!(
        rig.is_synced(),
        "{} {:?} {:?}",
        rig.instrument().state_name(),
        rig.instrument().scales(),
        rig.instrument().counters
    );
    assert_eq!(rig.canonical(), market.oracle.canonical(rig.update_id()));
    rig.assert_balanced();
}

fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let cases = asked.unwrap_or(cases);
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(13), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn broken_frames_are_counted_once_and_forgotten(seed in any::<u64>(), is_spot in any::<bool>(), one_in in 1u64..12) {
        let rule = if is_spot { Rule::Spot } else { Rule::Futures };
        let mut dice = Dice(seed);
        let market = Market::new(rule, seed, 40);
        let mut rig = Rig::new(rule);
        rig.frame(0, market.diffs[0].json(Style::default()).as_bytes());
        rig.snapshot(0, market.snapshot(market.diffs[0].last, 1000).as_bytes(), 1000);
        for frame in real_looking_frames(&market, &mut dice) {
            let frame = if dice.roll(one_in) == 0 { mutate(&frame, &mut dice) } else { frame };
            feed(&mut rig, &frame);
        }
        assert_right_again(&mut rig, rule);
    }

    #[test]
    fn broken_snapshots_change_nothing_and_are_asked_for_again(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let market = Market::new(Rule::Futures, seed, 10);
        let mut rig = Rig::new(Rule::Futures);
        for diff in &market.diffs {
            rig.frame(diff.recv_ns(), diff.json(Style::default()).as_bytes());
            prop_assert!(rig.is_synced() || rig.wants_snapshot() || diff.last > market.diffs[0].last);
            if !rig.is_synced() {
                let body = mutate(market.snapshot(diff.last, 1000).as_bytes(), &mut dice);
                let bits = rig.snapshot(0, &body, 1000);
                rig.assert_balanced();
                let is_refused = bits & (answer::REJECTED | answer::IGNORED) != 0;
                prop_assert!(!is_refused || rig.is_synced() || rig.wants_snapshot(), "a refused snapshot is asked for again");
            }
        }
        assert_right_again(&mut rig, Rule::Futures);
    }
}
