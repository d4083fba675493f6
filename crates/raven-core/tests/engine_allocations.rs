//! Once warm, no event allocates: parse, sequence, validate, book, store, publish and a reader that follows.
#![cfg(not(loom))]

mod engine_support;

use engine_support::events;
use engine_support::market::{Dice, Market, START_MS};
use engine_support::text::Style;
use engine_support::SYMBOL;
use raven_core::encode::Encoder;
use raven_core::engine::{answer, Engine, EngineConfig};
use raven_core::hub::Hub;
use raven_core::parse::event::Scales;
use raven_core::record::data_type;
use raven_core::ring::Read;
use raven_core::sequence::Rule;

const DIFFS: usize = 300;

/// Diffs, trades and quotes of some seconds; `round` moves ids and times on.
fn frames(market: &Market, round: u64) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (position, diff) in market.diffs.iter().enumerate() {
        let plain = Style::default();
        frames.push(engine_support::text::combined("btcusdt@depth@100ms", &diff.json(plain), plain));
        for step in 0..4 {
            let id = round * 1_000_000 + position as u64 * 4 + step + 1;
            let at_ms = START_MS + id;
            frames.push(events::trade(id, at_ms, "100.50", "2.125").combined(plain));
            frames.push(events::quote(id, at_ms, "100.50", "100.60", "2.125").combined(plain));
        }
        if position % 50 == 0 {
            let at_ms = START_MS + (round * 20 + position as u64 / 50) * 60_000;
            frames.push(events::kline(at_ms, "100.5", "12").combined(plain));
            frames.push(events::mark_price(at_ms, "100.5", "0.0001").combined(plain));
            frames.push(events::forced_order(at_ms, "100.5", "12").combined(plain));
        }
    }
    frames.into_iter().map(String::into_bytes).collect()
}

#[test]
fn a_warm_engine_and_its_reader_allocate_nothing() {
    let hub = Hub::new();
    let mut engine = Engine::new(hub.clone(), EngineConfig::default());
    let venue = engine.add_venue("test", Rule::Futures);
    let instrument =
        engine.add_instrument(venue, SYMBOL, Scales { price: 0, quantity: 0 }, 1 << 18, true).expect("added");
    let connection = engine.open_connection(venue).expect("known");
    let market = Market::new(Rule::Futures, Dice(8).roll(1_000), DIFFS);
    let rounds = [frames(&market, 0), frames(&market, 1)];
    let body = market.snapshot(market.diffs[0].previous, 1000);

    let mut reader = hub.find("test", SYMBOL, data_type::ORDERBOOK, 0).expect("made").reader(false);
    let encoder = Encoder::new("test", SYMBOL, data_type::ORDERBOOK, "raven");
    let (mut words, mut message) = (Vec::new(), Vec::new());
    let mut counts = Vec::new();
    for frames in &rounds {
        // The second round sends the same diffs again, after a resync: so the way back allocates nothing either.
        engine.with_instrument(instrument, |instrument, words| instrument.desync("requested", 0, words));
        engine.on_frame(connection, 0, &frames[0]);
        assert_eq!(engine.on_snapshot(instrument, 0, body.as_bytes(), 1000) & answer::PUBLISHED, answer::PUBLISHED);
        drop(engine.take_events());
        drop(engine.take_events());
        let mut published = 0;
        let counted = allocation_counter::measure(|| {
            for frame in &frames[1..] {
                let bits = engine.on_frame(connection, START_MS as i64 * 1_000_000, frame);
                published += usize::from(bits & answer::PUBLISHED != 0);
                engine.observe_latency(1_000);
                while reader.read(&mut words) == Read::Record {
                    message.clear();
                    encoder.encode(&words, 20, &mut message);
                }
            }
        });
        counts.push(counted.count_total);
        // The first trade of the second round comes after a hole, which is told by an event.
        let told = engine.take_events().len();
        assert!(told <= 1 && published == frames.len() - 1, "{published} of {}, {told} told", frames.len());
        assert!(!message.is_empty(), "the reader got the last book");
    }
    assert!(counts[0] > 0, "the counter counts");
    assert_eq!(counts[1], 0, "allocations in {} events", rounds[1].len());
}
