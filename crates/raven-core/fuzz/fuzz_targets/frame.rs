//! Frames of every type: each line of the input is one frame. Every frame is counted exactly once, every symbol's
//! counters balance, no crossed book is published, and what is written to the wire can be encoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use raven_core::encode::Encoder;
use raven_core::engine::{Engine, EngineConfig};
use raven_core::hub::Hub;
use raven_core::parse::event::Scales;
use raven_core::record::{Header, Kind, HEADER_WORDS};
use raven_core::ring::Read;
use raven_core::sequence::Rule;

/// The symbols of the seeds.
const SYMBOLS: [&str; 6] = ["BTCUSDT", "ETHUSDT", "CTKUSDT", "BTCUSD_PERP", "SUSHIUSDT", "IOTXUSDT"];

fuzz_target!(|data: &[u8]| {
    let Some((first, text)) = data.split_first() else { return };
    let hub = Hub::new();
    let mut engine = Engine::new(hub.clone(), EngineConfig { max_events: 64, ..EngineConfig::default() });
    let venue = engine.add_venue("fuzz", if first & 1 == 0 { Rule::Spot } else { Rule::Futures });
    let connection = engine.open_connection(venue).expect("the venue is known");
    let scales = Scales { price: 0, quantity: 0 };
    let needs_book = first & 2 == 0;
    let numbers = SYMBOLS.map(|symbol| engine.add_instrument(venue, symbol, scales, 1 << 14, needs_book).expect("added"));
    let mut readers: Vec<_> = hub.topics().iter().map(|topic| topic.reader(false)).collect();
    let encoder = Encoder::new("fuzz", "BTCUSDT", 0, "");
    let (mut words, mut message) = (Vec::new(), Vec::new());
    let mut frames = 0u64;
    let mut arrays = false;
    for frame in text.split(|byte| *byte == b'\n') {
        frames += 1;
        arrays |= frame.contains(&b'[');
        if frame.starts_with(b"{\"lastUpdateId\"") {
            // REST answers go to every symbol, as if each had asked.
            frames -= 1;
            for number in numbers {
                engine.on_snapshot(number, 1, frame, 3);
            }
        } else {
            engine.on_frame(connection, 1_723_161_256_000_000_000, frame);
        }
        engine.take_events();
        for reader in &mut readers {
            while reader.read(&mut words) == Read::Record {
                check_record(&words);
                message.clear();
                encoder.encode(&words, 20, &mut message);
            }
        }
    }
    let t = engine.totals();
    let mut seen = t.replies + t.notices + t.unknown_events + t.not_collected + t.unattributed;
    for number in numbers {
        let c = engine.instrument(number).expect("there").counters;
        assert_eq!(c.received, c.published + c.rejected + c.ignored + c.gap + c.pending, "{c:?}");
        seen += c.received;
    }
    // An array is one frame of many events, of which each is counted.
    assert!(seen == frames || arrays && seen > frames, "{frames} frames, {seen} counted");
});

fn check_record(words: &[u64]) {
    let header = Header::from_words(words).expect("what the engine publishes is a record");
    if header.kind == Kind::Book && header.bids > 0 && header.asks > 0 {
        let levels = &words[HEADER_WORDS + 1..];
        assert!(levels[0] < levels[2 * usize::from(header.bids)], "a crossed book was published");
    }
}
