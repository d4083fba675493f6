//! Each of these was once wrong in the engine; the names say what holds now.
#![cfg(not(loom))]

mod engine_support;

use engine_support::events;
use engine_support::market::{Market, START_MS};
use engine_support::text::Style;
use engine_support::{Rig, SYMBOL};
use raven_core::engine::{answer, EngineConfig};
use raven_core::hub::Hub;
use raven_core::parse::event::Scales;
use raven_core::pending::{PendingDiffs, PendingLimits};
use raven_core::record::Kind;
use raven_core::sequence::Rule;

fn synced(rule: Rule) -> (Rig, Market) {
    let market = Market::new(rule, 3, 40);
    let mut rig = Rig::new(rule);
    rig.frame(0, market.diffs[0].json(Style::default()).as_bytes());
    rig.snapshot(0, market.snapshot(market.diffs[0].last, 1000).as_bytes(), 1000);
    rig.frame(0, market.diffs[1].json(Style::default()).as_bytes());
    assert!(rig.is_synced());
    rig.wants_snapshot();
    rig.published();
    (rig, market)
}

#[test]
fn white_space_in_front_of_the_data_of_a_combined_stream_is_allowed() {
    let mut rig = Rig::new(Rule::Futures);
    let event = events::quote(7, START_MS, "1.5", "1.6", "2").json(Style::default());
    for blank in [" ", "\n\t", ""] {
        let frame = format!("{{\"stream\":\"btcusdt@bookTicker\",\"data\":{blank}{event}}}");
        assert_eq!(rig.frame(0, frame.as_bytes()) & answer::REJECTED, 0, "{frame}");
        let frame = format!("{{\"stream\":\"btcusdt@bookTicker\",\"data\":{blank}[{event}]}}");
        assert_eq!(rig.frame(0, frame.as_bytes()) & answer::REJECTED, 0, "{frame}");
    }
}

#[test]
fn a_book_that_nobody_wants_is_not_shown_as_synced_when_it_is_wanted_again() {
    let (mut rig, _) = synced(Rule::Futures);
    rig.engine.want_book(rig.instrument, false);
    rig.engine.with_instrument(rig.instrument, |instrument, words| instrument.desync("resubscribed", 0, words));
    rig.engine.want_book(rig.instrument, true);
    assert_eq!(rig.instrument().state_name(), "resyncing");
}

#[test]
fn a_broken_snapshot_that_nobody_waits_for_changes_nothing() {
    let (mut rig, _) = synced(Rule::Futures);
    assert_eq!(rig.snapshot(0, b"<html>502</html>", 1000), answer::IGNORED);
    assert!(!rig.wants_snapshot() && rig.is_synced());
    assert_eq!(rig.instrument().counters.resyncs, 1);
}

#[test]
fn ids_beyond_63_bits_are_refused_and_poison_nothing() {
    let mut rig = Rig::new(Rule::Futures);
    for id in [u64::MAX, u64::MAX - 1, i64::MAX as u64 + 1] {
        let frame = events::trade(id, START_MS, "1.5", "2").json(Style::default());
        assert_eq!(rig.frame(0, frame.as_bytes()) & answer::REJECTED, answer::REJECTED, "{id}");
    }
    for id in 10..13 {
        let frame = events::trade(id, START_MS, "1.5", "2").json(Style::default());
        assert_eq!(rig.frame(0, frame.as_bytes()) & answer::PUBLISHED, answer::PUBLISHED, "{id}");
    }
}

#[test]
fn a_removed_level_does_not_stand_in_the_way_of_finer_scales() {
    let (mut rig, _) = synced(Rule::Futures);
    let id = rig.update_id();
    let diff = |first: u64, previous: u64, bids: &str, asks: &str| {
        format!("{{\"e\":\"depthUpdate\",\"E\":{START_MS},\"s\":\"{SYMBOL}\",\"U\":{first},\"u\":{first},\"pu\":{previous},\"b\":[{bids}],\"a\":[{asks}]}}")
    };
    rig.frame(0, diff(id + 1, id, "", "[\"900000000000000\",\"1\"]").as_bytes());
    rig.frame(0, diff(id + 2, id + 1, "", "[\"900000000000000\",\"0\"]").as_bytes());
    rig.frame(0, diff(id + 3, id + 2, "[\"1.12345678\",\"1\"]", "").as_bytes());
    assert!(rig.is_synced());
    assert_eq!(rig.instrument().scales().price, 8);
    rig.frame(0, diff(id + 4, id + 3, "", "[\"90000000000\",\"1\"]").as_bytes());
    assert!(rig.canonical().starts_with("1.12345678:1,") && rig.canonical().ends_with(",90000000000:1"));
}

#[test]
fn one_odd_number_does_not_make_all_later_ones_unreadable() {
    let mut rig = Rig::new(Rule::Futures);
    let mut frame = |id, price: &str, quantity: &str| {
        let frame = events::trade(id, START_MS + id, price, quantity).json(Style::default());
        rig.frame(0, frame.as_bytes())
    };
    let published = |bits: u32| bits & answer::PUBLISHED != 0;
    assert!(published(frame(1, "61800.2", "0.000000000000000001")));
    assert!(published(frame(2, "61800.2", "1000.5")));
    assert!(!published(frame(3, "61800.200000000000000001", "1000.5")));
    assert!(!published(frame(3, "0.000000000000000001", "1000.5")));
    // The odd price is no longer readable beside a usual one, so the usual ones have to be confirmed.
    let confirmed = (4..7).map(|id| published(frame(id, "61800.25", "1000.125")));
    assert_eq!(confirmed.last(), Some(true));
    assert!(published(frame(7, "61900.12345678", "0.00000001")));
    let (trades, scales) = (rig.published(), rig.instrument().scales());
    assert!(trades.iter().any(|trade| trade.header.quantity_scale == 18), "nothing was rounded");
    assert_eq!((scales.price, scales.quantity), (8, 8));
}

#[test]
fn a_snapshot_with_an_odd_number_does_not_make_the_next_one_unreadable() {
    let mut rig = Rig::new(Rule::Futures);
    let odd = b"{\"lastUpdateId\":1,\"bids\":[[\"0.000000000000000001\",\"1\"]],\"asks\":[[\"61800.2\",\"1\"]]}";
    assert_eq!(rig.snapshot(0, odd, 1000) & answer::REJECTED, answer::REJECTED);
    let good = b"{\"lastUpdateId\":1,\"bids\":[[\"61800.1\",\"1\"]],\"asks\":[[\"61800.2\",\"1\"]]}";
    assert_eq!(rig.snapshot(0, good, 1000) & answer::PUBLISHED, answer::PUBLISHED);
    assert_eq!(rig.canonical(), "61800.1:1|61800.2:1");
}

#[test]
fn a_candle_of_an_absurd_length_is_refused() {
    let mut rig = Rig::new(Rule::Futures);
    let frame = events::kline(START_MS, "1.5", "2").json(Style::default());
    let frame = frame.replace("\"i\":\"1m\"", "\"i\":\"9223372036854775807M\"");
    assert_eq!(rig.frame(0, frame.as_bytes()) & answer::REJECTED, answer::REJECTED);
}

#[test]
fn a_byte_behind_a_backslash_is_looked_at_too() {
    let mut rig = Rig::new(Rule::Futures);
    for broken in
        [&b"{\"e\":\"new\\\xff\"}"[..], b"{\"e\":\"new\\\x01\"}", b"{\"e\":\"new\\q\"}", b"{\"e\":\"\\u12g4\"}"]
    {
        assert_eq!(rig.frame(0, broken), answer::REJECTED | answer::EVENTS_PENDING, "{}", broken.escape_ascii());
    }
    assert_eq!(rig.frame(0, b"{\"e\":\"new\\u00e9\\n\\\\\"}") & answer::IGNORED, answer::IGNORED);
}

#[test]
fn numbers_that_json_does_not_know_are_refused_wherever_they_stand() {
    let mut rig = Rig::new(Rule::Futures);
    for number in ["01", "1.", "-", "1e", "1e+", "-01", "1-2", "1.e5"] {
        let frame = format!("{{\"e\":\"new\",\"x\":{number}}}");
        assert_ne!(rig.frame(0, frame.as_bytes()) & answer::REJECTED, 0, "{frame}");
    }
    for number in ["0", "-0", "1.0", "-1e+5", "10E-3", "1e999"] {
        let frame = format!("{{\"e\":\"new\",\"x\":{number}}}");
        assert_eq!(rig.frame(0, frame.as_bytes()) & answer::REJECTED, 0, "{frame}");
    }
}

#[test]
fn a_key_that_stands_twice_is_refused_even_when_the_book_does_not_need_it() {
    let mut rig = Rig::new(Rule::Futures);
    let good = events::quote(7, START_MS, "1.5", "1.6", "2").json(Style::default());
    for doubled in ["\"E\":1,", "\"T\":1,", "\"e\":\"trade\","] {
        let frame = good.replace("\"s\":", &format!("{doubled}\"s\":"));
        assert_ne!(rig.frame(0, frame.as_bytes()) & answer::REJECTED, 0, "{frame}");
    }
    let twice = format!("{{\"stream\":\"btcusdt@bookTicker\",\"data\":{good},\"data\":{good}}}");
    assert_ne!(rig.frame(0, twice.as_bytes()) & answer::REJECTED, 0);
    let twice = format!("{{\"data\":{good},\"stream\":\"btcusdt@bookTicker\",\"data\":{good}}}");
    assert_ne!(rig.frame(0, twice.as_bytes()) & answer::REJECTED, 0);
}

#[test]
fn an_unsorted_partial_book_that_is_crossed_is_refused() {
    let mut rig = Rig::new(Rule::Spot);
    rig.engine.want_book(rig.instrument, false);
    let partial = |id: u32, bids: &str, asks: &str| {
        format!(
            "{{\"stream\":\"btcusdt@depth5\",\"data\":{{\"lastUpdateId\":{id},\"bids\":[{bids}],\"asks\":[{asks}]}}}}"
        )
    };
    assert_ne!(
        rig.frame(0, partial(1, "[\"9\",\"1\"],[\"11\",\"1\"]", "[\"10\",\"1\"]").as_bytes()) & answer::REJECTED,
        0
    );
    assert_ne!(rig.frame(0, partial(2, "[\"9\",\"1\"]", "[\"10\",\"1\"]").as_bytes()) & answer::PUBLISHED, 0);
    assert!(rig.published().iter().all(|record| record.header.kind == Kind::Book && record.header.bids == 1));
}

#[test]
fn waiting_diffs_of_any_size_stay_within_their_bytes() {
    let limits = PendingLimits { events: 1_000, bytes: 1_000 };
    let mut pending = PendingDiffs::default();
    for round in 0..400usize {
        let size = if round % 50 == 49 { 700 } else { 20 };
        pending.push(0, &vec![b'x'; size], limits);
        let bytes: usize = pending.iter().map(|(_, raw)| raw.len()).sum();
        assert!(bytes <= limits.bytes, "{bytes} bytes wait");
    }
    let waited = pending.len();
    assert_eq!(
        (pending.push(0, &[b'x'; 2_000], limits), pending.len()),
        (waited, 1),
        "the newest is kept whatever its size"
    );
}

#[test]
fn names_of_unknown_events_are_kept_short() {
    let mut rig = Rig::new(Rule::Futures);
    let frame = format!("{{\"e\":\"{}\"}}", "x".repeat(500_000));
    rig.frame(0, frame.as_bytes());
    assert!(rig.engine.unknown_events().keys().all(|name| name.len() <= 64));
    assert_eq!(rig.engine.totals().unknown_events, 1);
}

#[test]
fn rings_are_never_too_small_for_their_records() {
    let hub = Hub::new();
    let config = EngineConfig { book_depth: 1000, ..EngineConfig::default() };
    let mut engine = raven_core::engine::Engine::new(hub, config);
    let venue = engine.add_venue("test", Rule::Futures);
    let number = engine.add_instrument(venue, SYMBOL, Scales { price: 0, quantity: 0 }, 1, true).expect("added");
    let levels = |from: i64, step: i64| {
        let levels: Vec<String> = (0..1000).map(|at| format!("[\"{}\",\"1\"]", from + at * step)).collect();
        levels.join(",")
    };
    let body = format!("{{\"lastUpdateId\":5,\"bids\":[{}],\"asks\":[{}]}}", levels(5_000, -1), levels(5_001, 1));
    assert_ne!(engine.on_snapshot(number, 0, body.as_bytes(), 1000) & answer::PUBLISHED, 0);
}

#[test]
fn happenings_that_did_not_fit_the_list_are_counted() {
    let mut rig = Rig::with_config(Rule::Futures, EngineConfig { max_events: 3, ..EngineConfig::default() });
    for _ in 0..10 {
        rig.frame(0, b"{");
    }
    let events = rig.engine.take_events();
    assert_eq!((events.len(), events.last().map(|event| event.number)), (4, Some(7)));
    assert_eq!(rig.engine.totals().events_lost, 7);
}

#[test]
fn a_diff_whose_previous_id_lies_behind_its_last_one_is_refused() {
    let (mut rig, market) = synced(Rule::Futures);
    let id = rig.update_id();
    let frame = format!(
        "{{\"e\":\"depthUpdate\",\"E\":{START_MS},\"s\":\"{SYMBOL}\",\"U\":5,\"u\":6,\"pu\":{id},\"b\":[],\"a\":[]}}"
    );
    assert_ne!(rig.frame(0, frame.as_bytes()) & answer::REJECTED, 0);
    rig.frame(0, market.diffs[2].json(Style::default()).as_bytes());
    assert!(rig.is_synced());
}

#[test]
fn ids_that_start_anew_are_noticed_by_their_times() {
    let (mut rig, market) = synced(Rule::Futures);
    let later_ms = START_MS + 60_000;
    rig.frame(0, events::trade(5_000, START_MS, "99.5", "2").json(Style::default()).as_bytes());
    rig.frame(0, events::quote(5_000, START_MS, "99.5", "99.6", "2").json(Style::default()).as_bytes());
    for _ in 0..3 {
        let copy = events::trade(5_000, START_MS, "99.5", "2").json(Style::default());
        assert_eq!(rig.frame(0, copy.as_bytes()) & answer::IGNORED, answer::IGNORED, "a copy stays a copy");
    }
    for id in 7..9 {
        for event in [events::trade(id, later_ms, "99.5", "2"), events::quote(id, later_ms, "99.5", "99.6", "2")] {
            assert_ne!(rig.frame(0, event.json(Style::default()).as_bytes()) & answer::PUBLISHED, 0, "{id}");
        }
    }
    let diff = format!(
        "{{\"e\":\"depthUpdate\",\"E\":{later_ms},\"s\":\"{SYMBOL}\",\"U\":5,\"u\":6,\"pu\":4,\"b\":[],\"a\":[]}}"
    );
    rig.frame(0, diff.as_bytes());
    assert_eq!(rig.instrument().state_name(), "resyncing");
    assert!(rig.wants_snapshot());
    rig.snapshot(0, b"{\"lastUpdateId\":6,\"bids\":[[\"1\",\"1\"]],\"asks\":[[\"2\",\"1\"]]}", 1000);
    assert!(rig.is_synced());
    rig.assert_balanced();
    drop(market);
}

#[test]
fn one_wrong_diff_among_those_that_wait_does_not_refuse_snapshots_for_ever() {
    let market = Market::new(Rule::Futures, 3, 40);
    let mut rig = Rig::new(Rule::Futures);
    let wrong = format!("{{\"e\":\"depthUpdate\",\"E\":{START_MS},\"s\":\"{SYMBOL}\",\"U\":900000000,\"u\":900000001,\"pu\":899999999,\"b\":[],\"a\":[]}}");
    rig.frame(0, wrong.as_bytes());
    let mut tries = 0;
    for diff in &market.diffs {
        rig.frame(diff.recv_ns(), diff.json(Style::default()).as_bytes());
        if rig.wants_snapshot() {
            tries += 1;
            rig.snapshot(0, market.snapshot(diff.last, 1000).as_bytes(), 1000);
        }
    }
    assert!(rig.is_synced(), "after {tries} snapshots");
    assert_eq!(rig.canonical(), market.oracle.canonical(rig.update_id()));
    rig.assert_balanced();
}

#[test]
fn what_two_connections_send_while_one_takes_over_is_published_once() {
    let mut rig = Rig::new(Rule::Futures);
    let both = |rig: &mut Rig, event: &events::Event| {
        let frame = event.json(Style::default());
        let first = rig.frame(event.recv_ns(), frame.as_bytes());
        (first & answer::PUBLISHED, rig.frame(event.recv_ns(), frame.as_bytes()) & answer::IGNORED)
    };
    let (minute, once) = (60_000, (answer::PUBLISHED, answer::IGNORED));
    for at_ms in [START_MS, START_MS + minute] {
        assert_eq!(both(&mut rig, &events::kline(at_ms, "1.5", "2")), once);
        assert_eq!(both(&mut rig, &events::mark_price(at_ms, "1.5", "0.0001")), once);
        assert_eq!(both(&mut rig, &events::forced_order(at_ms, "1.5", "2")), once);
    }
    let hour = events::kline(START_MS, "1.5", "2").json(Style::default()).replace("\"i\":\"1m\"", "\"i\":\"1h\"");
    assert_eq!(rig.frame(0, hour.as_bytes()) & answer::PUBLISHED, answer::PUBLISHED, "each interval for itself");
    assert_eq!(rig.instrument().counters.duplicates, 6);
    rig.assert_balanced();
}

#[test]
fn a_frame_that_holds_no_event_at_all_is_counted_in_whatever_order_its_keys_come() {
    let mut rig = Rig::new(Rule::Futures);
    for (count, frame) in [
        "{\"stream\":\"btcusdt@trade\",\"data\":[]}",
        "{\"data\":[],\"stream\":\"btcusdt@trade\"}",
        "{\"stream\":\"!forceOrder@arr\",\"data\":[ ]}",
        "[]",
    ]
    .iter()
    .enumerate()
    {
        rig.frame(0, frame.as_bytes());
        assert_eq!(rig.engine.totals().unknown_events, count as u64 + 1, "{frame}");
    }
}
