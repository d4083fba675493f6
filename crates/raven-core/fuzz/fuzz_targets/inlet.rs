//! Frames of another process: whatever bytes they are, records come out or counts go up, and every record is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use raven_core::hub::{Hub, TopicKey};
use raven_core::inlet::Inlet;
use raven_core::record::{data_type, Header};
use raven_core::ring::Read;

fuzz_target!(|data: &[u8]| {
    let hub = Hub::new();
    let mut inlet = Inlet::new(hub.clone());
    let types = [
        data_type::ORDERBOOK,
        data_type::TRADES,
        data_type::CANDLES_1M,
        data_type::FUNDING_RATES,
        data_type::QUOTES,
        data_type::TICK_BARS,
    ];
    for data_type in types {
        let depth = if data_type == data_type::ORDERBOOK { 5 } else { 0 };
        inlet.open(TopicKey { venue: "v".into(), symbol: "S".into(), data_type, depth }, 4096).expect("room");
    }
    for frame in data.chunks(data.len().div_ceil(2).max(1)).chain([data]) {
        inlet.on_frame(7, frame);
    }
    let mut record = Vec::new();
    for topic in hub.topics() {
        let mut cursor = topic.ring().cursor_at_start();
        while topic.ring().read(&mut cursor, &mut record) == Read::Record {
            assert!(Header::from_words(&record).is_some());
        }
    }
});
