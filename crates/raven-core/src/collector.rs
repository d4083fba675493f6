//! Reads many topics on behalf of one batch consumer (the journal) and sorts their records into columns by kind.
//!
//! Everything that was published is taken, but for books: of those the last state in every interval (by receive time,
//! so that a replay takes the same ones) and each change of quality; with an interval of 0 every state.
//! What a ring overwrote before it was read becomes a gap record with the exact count.

use crate::columns::Columns;
use crate::hub::TopicReader;
use crate::record::{data_type, flags, gap, GapReason, Header, Kind, HEADER_WORDS};
use crate::ring::Read;

/// A book flag that readers must not miss.
const QUALITY: u32 = flags::STALE | flags::RESYNCING | flags::SNAPSHOT | flags::AFTER_GAP;
/// From its receive time to its publication a record takes microseconds; an interval is over when this has passed too.
const SETTLED_NS: i64 = 20_000_000;

/// See the module.
#[derive(Debug)]
pub struct Collector {
    sources: Vec<Source>,
    columns: Vec<Columns>,
    words: Vec<u64>,
    lost: u64,
    book_interval_ns: i64,
}

#[derive(Debug)]
struct Source {
    reader: TopicReader,
    /// The newest book of the present interval; empty when there is none.
    newest_book: Vec<u64>,
    interval: i64,
    quality: u32,
    books: u64,
    book_ns: i64,
}

impl Collector {
    /// A collector that takes one state of each book in so many ns; 0: every state.
    pub fn new(book_interval_ns: i64) -> Self {
        let columns = Kind::ALL.map(Columns::new).into();
        Self { sources: Vec::new(), columns, words: Vec::new(), lost: 0, book_interval_ns }
    }

    /// Read a topic from now on.
    pub fn add(&mut self, reader: TopicReader) {
        self.sources.push(Source { reader, newest_book: Vec::new(), interval: 0, quality: 0, books: 0, book_ns: 0 });
    }

    /// Topics of books, each with how many states were taken, and the receive time of the last.
    pub fn books(&self) -> impl Iterator<Item = (u32, u64, i64)> + '_ {
        let books = self.sources.iter().filter(|source| source.is_book());
        books.map(|source| (source.reader.topic().id(), source.books, source.book_ns))
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

    /// Collect what was published, up to about so many records; `last`: also books whose interval is not over.
    /// Returns how many records wait in the columns.
    pub fn collect(&mut self, limit: usize, now_ns: i64, last: bool) -> usize {
        let Self { sources, columns, words, lost, book_interval_ns } = self;
        let mut rows: usize = columns.iter().map(Columns::len).sum();
        for source in sources {
            while rows < limit {
                match source.reader.read(words) {
                    Read::Empty => break,
                    Read::Record => rows += source.take(words, *book_interval_ns, columns),
                    Read::Lapped { lost: count } => {
                        *lost += count;
                        source.note_lap(count, now_ns, *book_interval_ns == 0, columns);
                        rows += 1;
                    }
                }
            }
            let is_over = || now_ns - SETTLED_NS >= (source.interval + 1).saturating_mul(*book_interval_ns);
            if !source.newest_book.is_empty() && rows < limit && (last || is_over()) {
                rows += source.take_newest(columns);
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
    fn is_book(&self) -> bool {
        self.reader.topic().key().data_type == data_type::ORDERBOOK
    }

    /// Take one record; return how many went into the columns.
    fn take(&mut self, words: &[u64], book_interval_ns: i64, columns: &mut [Columns]) -> usize {
        let Some(header) = Header::from_words(words) else { return 0 };
        if header.kind != Kind::Book {
            push(self.reader.topic().id(), words, columns);
            return 1;
        }
        if book_interval_ns == 0 || header.flags & QUALITY != self.quality {
            self.quality = header.flags & QUALITY;
            self.newest_book.clear();
            self.push_book(header.recv_ns, words, columns);
            return 1;
        }
        let interval = header.recv_ns.div_euclid(book_interval_ns);
        let is_next = !self.newest_book.is_empty() && interval != self.interval;
        let taken = if is_next { self.take_newest(columns) } else { 0 };
        self.interval = interval;
        self.newest_book.clear();
        self.newest_book.extend_from_slice(words);
        taken
    }

    fn take_newest(&mut self, columns: &mut [Columns]) -> usize {
        let newest = std::mem::take(&mut self.newest_book);
        let recv_ns = Header::from_words(&newest).map_or(0, |header| header.recv_ns);
        self.push_book(recv_ns, &newest, columns);
        // The memory serves again.
        self.newest_book = newest;
        self.newest_book.clear();
        1
    }

    fn push_book(&mut self, recv_ns: i64, words: &[u64], columns: &mut [Columns]) {
        self.books += 1;
        self.book_ns = recv_ns;
        push(self.reader.topic().id(), words, columns);
    }

    fn note_lap(&mut self, count: u64, now_ns: i64, every_book: bool, columns: &mut [Columns]) {
        let topic = self.reader.topic();
        let mut body = [0; gap::WORDS];
        body[gap::DATA_TYPE] = topic.key().data_type as u64;
        body[gap::COUNT] = count;
        body[gap::REASON] = GapReason::Journal as u64;
        // Overwritten states of a book are no loss where a newer one does as well.
        body[gap::REPAIRED] = u64::from(self.is_book() && !every_book);
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
        let mut collector = Collector::new(1_000);
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

    fn books_at(interval_ns: i64, states: &[(u64, i64, u32)], now_ns: i64, last: bool) -> Vec<u64> {
        let hub = Hub::new();
        let mut books = publisher(&hub, data_type::ORDERBOOK, 1 << 16);
        let mut collector = Collector::new(interval_ns);
        collector.add(books.topic().reader(false));
        for (id, recv_ns, flags) in states {
            books.publish(&Header { recv_ns: *recv_ns, ..header(Kind::Book, *id, *flags) }, &[0]);
        }
        let rows = collector.collect(usize::MAX, now_ns, last);
        let (_, taken, _) = collector.books().next().expect("a book");
        assert_eq!(taken as usize, rows);
        collector.take().first().map_or(Vec::new(), |columns| columns.id.clone())
    }

    #[test]
    fn of_books_come_the_last_of_each_interval_and_every_change_of_quality() {
        let states =
            [(1, 5, flags::SNAPSHOT), (2, 8, 0), (3, 9, 0), (4, 12, 0), (5, 13, 0), (6, 14, flags::STALE), (7, 15, 0)];
        // 2 and 7 are the first good states after one that was flagged; 3 is the last before 10. 5 was overtaken by 6.
        assert_eq!(books_at(10, &states, 0, false), [1, 2, 3, 6, 7]);
        assert_eq!(books_at(0, &states, 0, false), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn the_last_state_of_an_interval_comes_when_the_interval_is_over() {
        let states = [(1, 1, 0), (2, 5, 0), (3, 11, 0), (4, 12, 0)];
        let over = 20 + SETTLED_NS;
        assert_eq!(books_at(10, &states, over - 1, false), [2]);
        assert_eq!(books_at(10, &states, over, false), [2, 4]);
        assert_eq!(books_at(10, &states, 0, true), [2, 4]);
    }

    #[test]
    fn a_limit_leaves_the_rest_for_the_next_time() {
        let hub = Hub::new();
        let mut trades = publisher(&hub, data_type::TRADES, 1 << 16);
        let mut collector = Collector::new(1_000);
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
