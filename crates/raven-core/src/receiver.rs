//! A client's end of a stream: nothing twice, nothing lost without a mark, and whole frames as columns.
//!
//! Who uses it: one program, one thread at a time. It keeps the position of every topic it has heard of, so that the
//! stream can be taken up again after the connection was lost, and judges every message by it.
//!
//! The past (filter `start`) may be that of several lives of a topic, each with sequences of its own: there, and at the
//! seam to the present, the time of arrival says what is new.

use std::collections::HashMap;

use crate::decode::position::Position;
use crate::decode::table::{Head, Table};
use crate::decode::{each_message, Decoder, Event, Message};
use crate::record::{flags, gap, GapReason, Kind};

/// So many levels of a book take about the memory of a row.
const LEVELS_PER_ROW: usize = 8;

/// Where the stream is in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Name of the venue.
    pub venue: String,
    /// The venue's symbol.
    pub symbol: String,
    /// A `DataType`.
    pub data_type: i32,
    /// The last message.
    pub position: Position,
    /// Whether that belonged to the past that the subscription began with.
    pub is_past: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Receiver {
    topics: Topics,
    decoder: Decoder,
    tables: Vec<Table>,
    rows: usize,
    has_past: bool,
}

/// The topics that were heard of, by name.
#[derive(Debug, Default)]
struct Topics {
    by_key: HashMap<Box<[u8]>, usize>,
    topics: Vec<Topic>,
    names: HashMap<Box<[u8]>, i32>,
    key: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Topic {
    venue: i32,
    symbol: i32,
    data_type: i32,
    position: Position,
    is_past: bool,
}

impl Topic {
    /// `None`: it was there before; else how many messages are missing before it.
    #[inline]
    fn advance(&mut self, message: &Message<'_>, event: &Event<'_>, has_past: bool) -> Option<u64> {
        let is_backfilled = message.flags & flags::BACKFILLED != 0;
        if !has_past || !(is_backfilled || self.is_past) {
            return self.position.advance(message, event);
        }
        let next = Position { sequence: message.sequence, recv_ns: message.recv_ns };
        let is_new = (next.recv_ns, next.sequence) > (self.position.recv_ns, self.position.sequence);
        if is_new {
            (self.position, self.is_past) = (next, is_backfilled);
        }
        is_new.then_some(0)
    }
}

impl Receiver {
    /// One that has heard nothing; `has_past`: of a subscription that begins in the past.
    pub fn new(has_past: bool) -> Self {
        let tables = vec![Table::default(); Kind::ALL.len()];
        Self { topics: Topics::default(), decoder: Decoder::default(), tables, rows: 0, has_past }
    }

    /// Judge the messages of a frame, oldest first: `None` for what came before, else how many are missing before it;
    /// and the data type of its topic. Data that cannot be read are not judged: who reads messages in another way may
    /// know them.
    pub fn judge(&mut self, frame: &[u8], verdicts: &mut Vec<(Option<u64>, i32)>) {
        verdicts.clear();
        let Self { topics, decoder, has_past, .. } = self;
        // What is no message is none for the reader either.
        let _broken = each_message(frame, |message| {
            verdicts.push(match decoder.event(message) {
                Ok(Some(event)) => (topics.find(message, &event).advance(message, &event, *has_past), event.data_type),
                _ => (Some(0), -1),
            });
        });
    }

    /// Collect what a frame says; return how many rows wait, see [`Self::rows`].
    pub fn collect(&mut self, now_ns: i64, frame: &[u8]) -> usize {
        let Self { topics, decoder, tables, rows, has_past } = self;
        // The next message of the topic of one that could not be read shows that it is missing.
        let _broken = each_message(frame, |message| {
            let Ok(Some(event)) = decoder.event(message) else { return };
            let topic = topics.find(message, &event);
            let Some(missing) = topic.advance(message, &event, *has_past) else { return };
            let topic = *topic;
            if missing > 0 {
                *rows += note_gap(tables, topic, missing, GapReason::Upstream, now_ns);
            }
            let names = (topic.venue, topic.symbol);
            let table = &mut tables[event.kind as usize - 1];
            *rows += match table.push(message, &event, decoder, names, |name| topics.number(name)) {
                Ok(()) => 1 + if event.kind == Kind::Book { decoder.levels() / LEVELS_PER_ROW } else { 0 },
                Err(_) => note_gap(tables, topic, 1, GapReason::Rejected, now_ns),
            };
        });
        self.rows
    }

    /// Rows that wait; a book counts for more, by its levels, so that a bound of this is one of memory.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Take the rows of every kind that has some.
    pub fn take(&mut self) -> Vec<(Kind, Table)> {
        self.rows = 0;
        let tables = Kind::ALL.into_iter().zip(&mut self.tables);
        tables.filter(|(_, table)| !table.heads.is_empty()).map(|(kind, table)| (kind, std::mem::take(table))).collect()
    }

    /// Where the stream is in every topic that it has heard of, in that order.
    pub fn heard(&self) -> Vec<Heard> {
        let names = self.names();
        let heard = |topic: &Topic| Heard {
            venue: names[topic.venue as usize].clone(),
            symbol: names[topic.symbol as usize].clone(),
            data_type: topic.data_type,
            position: topic.position,
            is_past: topic.is_past,
        };
        self.topics.topics.iter().map(heard).collect()
    }

    /// Names by their numbers: of venues, symbols and bars.
    pub fn names(&self) -> Vec<String> {
        let mut all = vec![String::new(); self.topics.names.len()];
        for (name, number) in &self.topics.names {
            all[*number as usize] = String::from_utf8_lossy(name).into_owned();
        }
        all
    }
}

impl Topics {
    #[inline]
    fn find(&mut self, message: &Message<'_>, event: &Event<'_>) -> &mut Topic {
        self.key.clear();
        self.key.extend_from_slice(message.venue);
        self.key.push(0);
        self.key.extend_from_slice(event.symbol);
        self.key.extend_from_slice(&event.data_type.to_le_bytes());
        let at = match self.by_key.get(self.key.as_slice()) {
            Some(at) => *at,
            None => self.add(message.venue, event.symbol, event.data_type),
        };
        &mut self.topics[at]
    }

    fn add(&mut self, venue: &[u8], symbol: &[u8], data_type: i32) -> usize {
        let (venue, symbol) = (self.number(venue), self.number(symbol));
        self.topics.push(Topic { venue, symbol, data_type, position: Position::default(), is_past: false });
        self.by_key.insert(self.key.as_slice().into(), self.topics.len() - 1);
        self.topics.len() - 1
    }

    /// The number of a name; a new one gets the next.
    fn number(&mut self, name: &[u8]) -> i32 {
        let next = self.names.len() as i32;
        *self.names.entry(name.into()).or_insert(next)
    }
}

/// Append a gap; one row.
fn note_gap(tables: &mut [Table], topic: Topic, count: u64, reason: GapReason, now_ns: i64) -> usize {
    let mut values = [0; gap::WORDS];
    values[gap::DATA_TYPE] = topic.data_type as u64;
    values[gap::COUNT] = count;
    values[gap::REASON] = reason as u64;
    let (venue, symbol) = (topic.venue, topic.symbol);
    let head = Head { venue, symbol, exchange_ns: 0, recv_ns: now_ns, id: 0, sequence: 0, flags: flags::AFTER_GAP };
    tables[Kind::Gap as usize - 1].push_row(head, values);
    1
}
