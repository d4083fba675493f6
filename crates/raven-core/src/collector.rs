//! Reads many topics on behalf of one batch consumer (the journal) and sorts their records into columns by kind.
//!
//! Everything that was published is taken, but for books: of those a consumer wants one state now and then, and each
//! change of their quality. What a ring overwrote before it was read becomes a gap record with the exact count.

use crate::columns::Columns;
use crate::hub::TopicReader;
use crate::record::{data_type, flags, gap, GapReason, Header, Kind, HEADER_WORDS};
use crate::ring::Read;

/// A book flag that readers must not miss.
const QUALITY: u32 = flags::STALE | flags::RESYNCING | flags::SNAPSHOT | flags::AFTER_GAP;

/// See the module.
#[derive(Debug)]
pub struct Collector {
    sources: Vec<Source>,
    columns: Vec<Columns>,
    words: Vec<u64>,
    lost: u64,
}

#[derive(Debug)]
struct Source {
    reader: TopicReader,
    /// The newest book that was not taken yet; empty when there is none.
    newest_book: Vec<u64>,
    quality: u32,
}

impl Default for Collector {
    fn default() -> Self {
        let columns = (1..=7).filter_map(Kind::from_u8).map(Columns::new).collect();
        Self { sources: Vec::new(), columns, words: Vec::new(), lost: 0 }
    }
}

impl Collector {
    /// Read a topic from now on.
    pub fn add(&mut self, reader: TopicReader) {
        self.sources.push(Source { reader, newest_book: Vec::new(), quality: 0 });
    }

    /// Stop reading a topic; false if it was not read. What was collected stays.
    pub fn remove(&mut self, topic: u32) -> bool {
        let before = self.sources.len();
        self.sources.retain(|source| source.reader.topic().id() != topic);
        self.sources.len() < before
    }

    /// Topics that are read.
    pub fn topics(&self) -> impl Iterator<Item = u32> + '_ {
        self.sources.iter().map(|source| source.reader.topic().id())
    }

    /// Records that rings overwrote before they were read.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Collect what was published, up to about so many records; `books`: also the newest state of each book.
    /// Returns how many records wait in the columns.
    pub fn collect(&mut self, limit: usize, now_ns: i64, books: bool) -> usize {
        let Self { sources, columns, words, lost } = self;
        let mut rows: usize = columns.iter().map(Columns::len).sum();
        for source in sources {
            while rows < limit {
                match source.reader.read(words) {
                    Read::Empty => break,
                    Read::Record => rows += usize::from(source.take(words, columns)),
                    Read::Lapped { lost: count } => {
                        *lost += count;
                        source.note_lap(count, now_ns, columns);
                        rows += 1;
                    }
                }
            }
            if books && !source.newest_book.is_empty() {
                let newest = std::mem::take(&mut source.newest_book);
                push(source.reader.topic().id(), &newest, columns);
                rows += 1;
            }
        }
        rows
    }

    /// Take the columns of every kind that has records.
    pub fn take(&mut self) -> Vec<Columns> {
        let full = self.columns.iter_mut().filter(|columns| !columns.is_empty());
        full.map(|columns| std::mem::replace(columns, Columns::new(columns.kind))).collect()
    }
}

impl Source {
    /// Take one record; false when it is a book that may be replaced by a newer one.
    fn take(&mut self, words: &[u64], columns: &mut [Columns]) -> bool {
        let topic = self.reader.topic();
        let Some(header) = Header::from_words(words) else { return false };
        if header.kind == Kind::Book && header.flags & QUALITY == self.quality {
            self.newest_book.clear();
            self.newest_book.extend_from_slice(words);
            return false;
        }
        if header.kind == Kind::Book {
            self.quality = header.flags & QUALITY;
            self.newest_book.clear();
        }
        push(topic.id(), words, columns);
        true
    }

    fn note_lap(&mut self, count: u64, now_ns: i64, columns: &mut [Columns]) {
        let topic = self.reader.topic();
        let is_book = topic.key().data_type == data_type::ORDERBOOK;
        let mut body = [0; gap::WORDS];
        body[gap::DATA_TYPE] = topic.key().data_type as u64;
        body[gap::COUNT] = count;
        body[gap::REASON] = GapReason::Journal as u64;
        // Overwritten states of a book are no loss: a newer one is there.
        body[gap::REPAIRED] = u64::from(is_book);
        let header = Header {
            kind: Kind::Gap,
            flags: flags::AFTER_GAP,
            sequence: 0,
            recv_ns: now_ns,
            exchange_ns: now_ns,
            id: 0,
            price_scale: 0,
            quantity_scale: 0,
            bids: 0,
            asks: 0,
        };
        columns[Kind::Gap as usize - 1].push(topic.id(), &header, &body);
    }
}

fn push(topic: u32, words: &[u64], columns: &mut [Columns]) {
    if let Some(header) = Header::from_words(words) {
        columns[header.kind as usize - 1].push(topic, &header, &words[HEADER_WORDS..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Hub, Publisher, TopicKey};

    fn publisher(hub: &Hub, data_type: i32, ring_bytes: usize) -> Publisher {
        let key = TopicKey { venue: "test".into(), symbol: "BTCUSDT".into(), data_type, depth: 0 };
        hub.create_topic(key, ring_bytes).expect("first of its name")
    }

    fn header(kind: Kind, id: u64, flags: u32) -> Header {
        Header {
            kind,
            flags,
            sequence: 0,
            recv_ns: 1,
            exchange_ns: 2,
            id,
            price_scale: 1,
            quantity_scale: 3,
            bids: 0,
            asks: 0,
        }
    }

    #[test]
    fn trades_of_several_topics_all_come_and_a_lap_is_a_gap_with_its_count() {
        let hub = Hub::new();
        let mut trades = publisher(&hub, data_type::TRADES, 1 << 12);
        let mut collector = Collector::default();
        collector.add(trades.topic().reader(false));
        for id in 1..=10 {
            trades.publish(&header(Kind::Trade, id, 0), &[100, 5, 1, 0, 0]);
        }
        assert_eq!(collector.collect(usize::MAX, 7, false), 10);
        let taken = collector.take();
        assert_eq!((taken.len(), taken[0].kind, taken[0].id.clone()), (1, Kind::Trade, (1..=10).collect()));
        assert_eq!(taken[0].body[0], [100; 10]);

        for id in 11..=1_010 {
            trades.publish(&header(Kind::Trade, id, 0), &[100, 5, 1, 0, 0]);
        }
        collector.collect(usize::MAX, 7, false);
        let taken = collector.take();
        let (kept, gaps) = (&taken[0], &taken[1]);
        assert_eq!(gaps.len(), 1);
        assert_eq!(kept.len() as u64 + gaps.body[gap::COUNT][0], 1_000);
        assert_eq!(gaps.body[gap::COUNT][0], collector.lost());
    }

    #[test]
    fn of_books_come_the_newest_when_asked_and_every_change_of_quality() {
        let hub = Hub::new();
        let mut books = publisher(&hub, data_type::ORDERBOOK, 1 << 16);
        let mut collector = Collector::default();
        collector.add(books.topic().reader(false));
        let mut publish = |id, flags| books.publish(&header(Kind::Book, id, flags), &[0]);
        for (id, flags) in
            [(1, flags::SNAPSHOT), (2, 0), (3, 0), (4, 0), (5, flags::STALE), (6, flags::SNAPSHOT), (7, 0)]
        {
            publish(id, flags);
        }
        assert_eq!(collector.collect(usize::MAX, 7, false), 5);
        publish(8, 0);
        publish(9, 0);
        collector.collect(usize::MAX, 7, true);
        // 2 and 7 are the first good states after one that was flagged; 9 is the newest.
        assert_eq!(collector.take()[0].id, [1, 2, 5, 6, 7, 9]);
        assert_eq!(collector.collect(usize::MAX, 7, true), 0, "nothing new");
    }

    #[test]
    fn a_limit_leaves_the_rest_for_the_next_time() {
        let hub = Hub::new();
        let mut trades = publisher(&hub, data_type::TRADES, 1 << 16);
        let mut collector = Collector::default();
        collector.add(trades.topic().reader(false));
        for id in 1..=100 {
            trades.publish(&header(Kind::Trade, id, 0), &[100, 5, 1, 0, 0]);
        }
        assert_eq!(collector.collect(30, 7, false), 30);
        assert_eq!(collector.take()[0].id, (1..=30).collect::<Vec<_>>());
        assert_eq!(collector.collect(usize::MAX, 7, false), 70);
        assert!(collector.remove(trades.topic().id()) && collector.topics().next().is_none());
    }
}
