//! The far end of a hop between roles: frames of an upstream server become topics of a hub of our own.
//!
//! Who writes: whoever has the [`Inlet`], one thread. What it promises of each topic: records in the upstream's order,
//! none twice, and for what is missing a gap record, whose count is the difference of the upstream's sequences.
//!
//! | what comes | what it means | what is published |
//! |---|---|---|
//! | the next sequence | all is well | the record |
//! | a later one, flagged as skipped | states were left out on purpose | the record |
//! | a later one | this hop lost what lies between | a gap with reason `upstream` and its count, the record |
//! | one that was there before | it came twice | nothing |
//! | a mark `slow_reader` or `upstream` | the server lost it; its sequence is that of the last record lost | the mark |
//!
//! | a mark `upstream` that sets the sequence back | the topic has begun anew | the mark |
//! | a book flagged as a snapshot | it stands for all that was before, also for that of another depth | the record |

use std::collections::HashMap;
use std::sync::Arc;

use crate::decode::position::Position;
use crate::decode::{each_message, Decoder, Event, Message};
use crate::hub::{Hub, Publisher, TopicExists, TopicKey};
use crate::parse::event::Scales;
use crate::record::{data_type, flags, gap, GapReason, Header, Kind};

/// What an inlet has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InletCounters {
    /// Frames taken.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records published, gap records of our own not counted.
    pub records: u64,
    /// Messages of a sequence that was there before.
    pub duplicates: u64,
    /// Gap records of our own.
    pub gaps: u64,
    /// Records that these say are missing, as far as that is known.
    pub missing: u64,
    /// Messages that could not be read; each leaves a hole in its topic.
    pub broken: u64,
    /// Messages of topics that are not open, or of no kind that has records.
    pub unasked: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Inlet {
    hub: Arc<Hub>,
    topics: HashMap<Box<[u8]>, Topic>,
    decoder: Decoder,
    /// The name that is looked up, and a record's body: memory that is used again.
    name: Vec<u8>,
    body: Vec<u64>,
    counters: InletCounters,
    newest_recv_ns: i64,
}

#[derive(Debug)]
struct Topic {
    /// One; of books one per depth that was asked for.
    outlets: Vec<Publisher>,
    data_type: i32,
    scales: Scales,
    position: Position,
    is_behind_gap: bool,
}

impl Inlet {
    /// One that makes its topics in this hub.
    pub fn new(hub: Arc<Hub>) -> Self {
        Self {
            hub,
            topics: HashMap::new(),
            decoder: Decoder::default(),
            name: Vec::new(),
            body: Vec::new(),
            counters: InletCounters::default(),
            newest_recv_ns: 0,
        }
    }

    /// Make a topic, or find the one that is open; return its id. A deeper book is a topic of its own beside the others.
    ///
    /// # Errors
    /// [`TopicExists`] when somebody else writes a topic of this name, or the hub is full.
    pub fn open(&mut self, key: TopicKey, ring_bytes: usize) -> Result<u32, TopicExists> {
        set_name(&mut self.name, key.venue.as_bytes(), key.symbol.as_bytes(), key.data_type);
        let topic = self.topics.get_mut(self.name.as_slice());
        let outlets = topic.as_ref().map_or(&[][..], |topic| &topic.outlets);
        if let Some(outlet) = outlets.iter().find(|outlet| outlet.topic().key().depth >= key.depth) {
            return Ok(outlet.topic().id());
        }
        // A level takes 32 bytes on both sides; a ring holds a few dozen of its longest records.
        let ring_bytes = ring_bytes.max(32 * 48 * usize::from(key.depth));
        let data_type = key.data_type;
        let outlet = self.hub.create_topic(key, ring_bytes)?;
        let id = outlet.topic().id();
        match topic {
            Some(topic) => topic.outlets.push(outlet),
            None => {
                let scales = Scales { price: 0, quantity: 0 };
                let outlets = vec![outlet];
                let topic = Topic { outlets, data_type, scales, position: Position::default(), is_behind_gap: false };
                self.topics.insert(self.name.as_slice().into(), topic);
            }
        }
        Ok(id)
    }

    /// End a topic: who reads it is told once the ring is empty. False when it is not open.
    pub fn close(&mut self, venue: &str, symbol: &str, data_type: i32) -> bool {
        set_name(&mut self.name, venue.as_bytes(), symbol.as_bytes(), data_type);
        let Some(topic) = self.topics.remove(self.name.as_slice()) else { return false };
        for outlet in &topic.outlets {
            self.hub.end_topic(outlet.topic().id());
        }
        true
    }

    /// The upstream's sequence of the last record of a topic and its receive time, ns: where to go on after the
    /// connection was lost. Zeros when nothing came yet, `None` when the topic is not open.
    pub fn position(&mut self, venue: &str, symbol: &str, data_type: i32) -> Option<(u64, i64)> {
        set_name(&mut self.name, venue.as_bytes(), symbol.as_bytes(), data_type);
        self.topics.get(self.name.as_slice()).map(|topic| (topic.position.sequence, topic.position.recv_ns))
    }

    /// Say in a topic that nobody knows how much of it is missing, and take whatever comes next. False when it is not
    /// open.
    pub fn mark_unknown(&mut self, venue: &str, symbol: &str, data_type: i32, now_ns: i64) -> bool {
        set_name(&mut self.name, venue.as_bytes(), symbol.as_bytes(), data_type);
        let Some(topic) = self.topics.get_mut(self.name.as_slice()) else { return false };
        topic.note_gap(0, now_ns, &mut self.counters);
        topic.position = Position::default();
        self.hub.ring_doorbell();
        true
    }

    /// Publish what a frame holds; return how many records that were.
    pub fn on_frame(&mut self, now_ns: i64, frame: &[u8]) -> u64 {
        let before = self.counters.records;
        self.counters.frames += 1;
        self.counters.bytes += frame.len() as u64;
        let Self { topics, decoder, name, body, counters, newest_recv_ns, .. } = self;
        let broken = each_message(frame, |message| {
            let event = match decoder.event(message) {
                Ok(Some(event)) => event,
                Ok(None) => return counters.unasked += u64::from(message.field != 0),
                Err(_) => return counters.broken += 1,
            };
            set_name(name, message.venue, event.symbol, event.data_type);
            let Some(topic) = topics.get_mut(name.as_slice()) else { return counters.unasked += 1 };
            if !topic.is_next(message, &event, now_ns, counters) {
                return counters.duplicates += 1;
            }
            match decoder.record(message, &event, &mut topic.scales, body) {
                Ok(header) => {
                    topic.publish(header, body);
                    topic.is_behind_gap = is_mark_of_hop(&event);
                }
                // Its sequence is taken, so the next one would not show the hole.
                Err(_) => {
                    counters.broken += 1;
                    return topic.note_gap(1, now_ns, counters);
                }
            }
            counters.records += 1;
            *newest_recv_ns = message.recv_ns.max(*newest_recv_ns);
        });
        self.counters.broken += broken;
        self.hub.ring_doorbell();
        self.counters.records - before
    }

    /// What was counted.
    pub fn counters(&self) -> InletCounters {
        self.counters
    }

    /// Newest receive time at the source of all records, ns; 0 when there were none.
    pub fn newest_recv_ns(&self) -> i64 {
        self.newest_recv_ns
    }
}

impl Topic {
    /// Judge a message by its sequence, and mark what is missing before it; false when it came before.
    #[inline]
    fn is_next(&mut self, message: &Message<'_>, event: &Event<'_>, now_ns: i64, counters: &mut InletCounters) -> bool {
        let Some(missing) = self.position.advance(message, event) else { return false };
        if missing > 0 {
            self.note_gap(missing, now_ns, counters);
        }
        true
    }

    fn note_gap(&mut self, count: u64, now_ns: i64, counters: &mut InletCounters) {
        counters.gaps += 1;
        counters.missing += count;
        let mut body = [0; gap::WORDS];
        body[gap::DATA_TYPE] = self.data_type as u64;
        body[gap::COUNT] = count;
        body[gap::REASON] = GapReason::Upstream as u64;
        // States that are missing are no loss once a newer one is there.
        body[gap::REPAIRED] = u64::from(matches!(self.data_type, data_type::ORDERBOOK | data_type::QUOTES));
        let header = Header {
            kind: Kind::Gap,
            flags: flags::AFTER_GAP,
            sequence: 0,
            recv_ns: now_ns,
            exchange_ns: 0,
            id: 0,
            price_scale: 0,
            quantity_scale: 0,
            bids: 0,
            asks: 0,
        };
        self.publish(header, &body);
        self.is_behind_gap = true;
    }

    #[inline]
    fn publish(&mut self, mut header: Header, body: &[u64]) {
        if std::mem::take(&mut self.is_behind_gap) {
            header.flags |= flags::AFTER_GAP;
        }
        let [outlet] = self.outlets.as_mut_slice() else { return self.publish_depths(header, body) };
        let depth = usize::from(outlet.topic().key().depth);
        if header.kind == Kind::Book && usize::from(header.bids.max(header.asks)) > depth {
            return self.publish_depths(header, body);
        }
        outlet.publish(&header, body);
    }

    /// Publish a book in every depth, or anything else everywhere.
    fn publish_depths(&mut self, header: Header, body: &[u64]) {
        let mut cut = Vec::new();
        for outlet in &mut self.outlets {
            if header.kind != Kind::Book {
                outlet.publish(&header, body);
                continue;
            }
            let depth = outlet.topic().key().depth;
            let (bids, asks) = (header.bids.min(depth), header.asks.min(depth));
            let proven = |word: u64, levels: u16| (word & 0xffff_ffff).min(u64::from(levels));
            cut.clear();
            cut.push(proven(body[0], bids) | proven(body[0] >> 32, asks) << 32);
            cut.extend(&body[1..1 + 2 * usize::from(bids)]);
            cut.extend(&body[1 + 2 * usize::from(header.bids)..][..2 * usize::from(asks)]);
            outlet.publish(&Header { bids, asks, ..header }, &cut);
        }
    }
}

/// Whether it says what was lost on the way to here, by the server or before: what follows it is flagged.
#[inline(always)]
fn is_mark_of_hop(event: &Event<'_>) -> bool {
    matches!(event.gap(), Some((GapReason::SlowReader | GapReason::Upstream, _)))
}

/// Venue, symbol and data type as one key.
#[inline(always)]
fn set_name(name: &mut Vec<u8>, venue: &[u8], symbol: &[u8], data_type: i32) {
    name.clear();
    name.extend_from_slice(venue);
    name.push(0);
    name.extend_from_slice(symbol);
    name.extend_from_slice(&data_type.to_le_bytes());
}
