//! What the engine's proofs share: a rig to drive one instrument and see what its readers see, frames that can be
//! written in many equivalent ways, and (in [`oracle`]) a market whose every state is known as decimal text.
#![allow(dead_code)] // every test program uses a part of it

pub mod events;
pub mod market;
pub mod oracle;
pub mod text;

use raven_core::engine::{Engine, EngineConfig};
use raven_core::hub::{Hub, TopicReader};
use raven_core::instrument::Instrument;
use raven_core::parse::event::Scales;
use raven_core::record::{Header, HEADER_WORDS};
use raven_core::ring::Read;
use raven_core::sequence::Rule;

pub const SYMBOL: &str = "BTCUSDT";

/// One record as a subscriber gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub header: Header,
    pub body: Vec<u64>,
}

impl Record {
    /// Levels of a book record as exact texts, best first: bids, then asks.
    pub fn levels(&self) -> (oracle::Levels, oracle::Levels) {
        let Header { price_scale, quantity_scale, bids, asks, .. } = self.header;
        let words = |from: usize, count: u16| {
            let chunks = self.body[1 + 2 * from..].chunks(2).take(usize::from(count));
            chunks.map(|pair| (text::show(pair[0] as i64, price_scale), text::show(pair[1] as i64, quantity_scale)))
        };
        (words(0, bids).collect(), words(usize::from(bids), asks).collect())
    }

    /// How many of the bids and asks lie inside the range that a snapshot proved.
    pub fn proven(&self) -> (usize, usize) {
        ((self.body[0] & 0xffff_ffff) as usize, (self.body[0] >> 32) as usize)
    }
}

/// One engine with one instrument and a reader on each of its topics.
pub struct Rig {
    pub engine: Engine,
    pub venue: u16,
    pub connection: u32,
    pub instrument: u32,
    readers: Vec<TopicReader>,
    words: Vec<u64>,
}

impl Rig {
    pub fn new(rule: Rule) -> Self {
        Self::with_config(rule, EngineConfig::default())
    }

    pub fn with_config(rule: Rule, config: EngineConfig) -> Self {
        let hub = Hub::new();
        let mut engine = Engine::new(hub.clone(), config);
        let venue = engine.add_venue("test", rule);
        let scales = Scales { price: 0, quantity: 0 };
        let instrument = engine.add_instrument(venue, SYMBOL, scales, 1 << 20, true).expect("first of its name");
        let connection = engine.open_connection(venue).expect("the venue is known");
        let readers = hub.topics().iter().map(|topic| topic.reader(false)).collect();
        Self { engine, venue, connection, instrument, readers, words: Vec::new() }
    }

    pub fn frame(&mut self, recv_ns: i64, frame: &[u8]) -> u32 {
        self.engine.on_frame(self.connection, recv_ns, frame)
    }

    pub fn snapshot(&mut self, recv_ns: i64, body: &[u8], limit: usize) -> u32 {
        self.engine.on_snapshot(self.instrument, recv_ns, body, limit)
    }

    pub fn instrument(&self) -> &Instrument {
        self.engine.instrument(self.instrument).expect("still collected")
    }

    pub fn is_synced(&self) -> bool {
        self.instrument().state_name() == "synced"
    }

    pub fn update_id(&self) -> u64 {
        self.instrument().book().update_id()
    }

    pub fn canonical(&self) -> String {
        let mut out = Vec::new();
        self.instrument().book().canonical(0, &mut out);
        String::from_utf8(out).expect("ascii")
    }

    /// Was a snapshot asked for since the last call?
    pub fn wants_snapshot(&mut self) -> bool {
        self.engine.take_events().iter().any(|event| event.name == "resync")
    }

    /// Everything that was published since the last call, topic by topic.
    pub fn published(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        for reader in &mut self.readers {
            loop {
                match reader.read(&mut self.words) {
                    Read::Empty => break,
                    Read::Record => {
                        let header = Header::from_words(&self.words).expect("a record");
                        records.push(Record { header, body: self.words[HEADER_WORDS..].to_vec() });
                    }
                    Read::Lapped { lost } => panic!("the test reads too seldom: {lost} records lost"),
                }
            }
        }
        records
    }

    /// Every received event has ended in exactly one place.
    pub fn assert_balanced(&self) {
        let c = self.instrument().counters;
        let accounted = c.published + c.rejected + c.ignored + c.gap + c.pending;
        assert_eq!(c.received, accounted, "received is not published + rejected + ignored + gap + pending: {c:?}");
    }
}
