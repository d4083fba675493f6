//! What writers, readers and the name in `/dev/shm` promise, within one process; `processes.rs` does it with several.

use std::sync::Arc;

use raven_core::hub::{Hub, Publisher, TopicKey};
use raven_core::record::{data_type, Header, Kind, HEADER_WORDS};
use raven_shm::layout::{header, ENDED, ENTRIES, LIVE, RINGS_AT};
use raven_shm::reader::From;
use raven_shm::{Reader, Seen, Segment, ShmError};

fn name(test: &str) -> String {
    format!("raven-test-{}-{test}", std::process::id())
}

fn key(symbol: &str, data_type: i32, depth: u16) -> TopicKey {
    TopicKey { venue: "test".into(), symbol: symbol.into(), data_type, depth }
}

fn head(id: u64) -> Header {
    Header {
        kind: Kind::Trade,
        flags: 0,
        sequence: 0,
        recv_ns: 1,
        exchange_ns: 2,
        id,
        price_scale: 2,
        quantity_scale: 3,
        bids: 0,
        asks: 0,
    }
}

fn publish(publisher: &mut Publisher, ids: impl IntoIterator<Item = u64>) {
    ids.into_iter().for_each(|id| {
        publisher.publish(&head(id), &[id; 5]);
    });
}

fn made(test: &str, bytes: usize) -> (Arc<Segment>, Arc<Hub>) {
    let segment = Arc::new(Segment::create(&name(test), bytes, 7).expect("the name is free"));
    let hub = Hub::in_memory_of(Some(Arc::clone(&segment) as _));
    (segment, hub)
}

#[test]
fn a_reader_sees_what_a_hub_publishes_word_by_word_until_the_topic_ends() {
    let (segment, hub) = made("words", 8 << 20);
    let mut trades = hub.create_topic(key("BTCUSDT", data_type::TRADES, 0), 1 << 14).expect("new");
    let reader = Reader::open(&name("words")).expect("made");
    assert!(reader.is_alive() && reader.pid() == u64::from(std::process::id()));
    let mut topic = reader.topic("test", "BTCUSDT", data_type::TRADES, 0, From::Now).expect("announced");

    publish(&mut trades, 1..=3);
    let mut out = Vec::new();
    for id in 1..=3 {
        assert_eq!(topic.read(&mut out), Seen::Record);
        assert_eq!((out[1], out[4], &out[HEADER_WORDS..]), (id, id, &[id; 5][..]));
    }
    assert_eq!((topic.read(&mut out), topic.is_due()), (Seen::Empty, false));

    publish(&mut trades, [4]);
    hub.end_topic(trades.topic().id());
    assert_eq!(reader.topics()[0].state, ENDED);
    assert_eq!((topic.read(&mut out), topic.read(&mut out)), (Seen::Record, Seen::Ended));
    segment.close();
    assert!(!reader.is_alive());
    assert!(matches!(Reader::open(&name("words")), Err(ShmError::Missing(_))));
}

#[test]
fn a_run_holds_as_many_whole_records_as_fit() {
    let (_segment, hub) = made("run", 8 << 20);
    let mut trades = hub.create_topic(key("BTCUSDT", data_type::TRADES, 0), 1 << 14).expect("new");
    let reader = Reader::open(&name("run")).expect("made");
    let mut topic = reader.topic("test", "BTCUSDT", data_type::TRADES, 0, From::Now).expect("announced");
    publish(&mut trades, 1..=100);

    let mut out = Vec::new();
    assert_eq!(topic.read_run(25, &mut out), Seen::Record);
    assert_eq!((out.len(), topic.lag()), (22, 98), "two records of eleven words");
    while topic.read_run(1000, &mut out) == Seen::Record {}
    assert_eq!((out.len(), topic.lag(), topic.lost()), (1100, 0, 0));
    assert!(out.chunks(11).zip(1..).all(|(record, id)| record[1] == id && record[6..] == [id; 5]));
}

#[test]
fn the_smallest_book_that_is_deep_enough_is_opened_and_where_to_begin_is_a_choice() {
    let (_segment, hub) = made("books", 16 << 20);
    let make = |depth: u16| hub.create_topic(key("BTCUSDT", data_type::ORDERBOOK, depth), 1 << 12).expect("new");
    let (mut shallow, mut deep) = (make(20), make(100));
    publish(&mut shallow, 1..=3);
    publish(&mut deep, 1..=1_000);
    let reader = Reader::open(&name("books")).expect("made");
    let open = |depth, from| reader.topic("test", "BTCUSDT", data_type::ORDERBOOK, depth, from);

    assert_eq!(open(0, From::Latest).expect("20").lag(), 1);
    assert_eq!(open(20, From::Oldest).expect("20").lag(), 3);
    let oldest = open(21, From::Oldest).expect("100");
    assert!(oldest.lag() > 20 && oldest.lost() == 0, "what went by before is not lost: {}", oldest.lag());
    let missing = open(101, From::Now).err().map(|error| error.to_string());
    assert!(missing.expect("none").contains("test BTCUSDT of data type 0, depth 101"));
}

#[test]
fn memory_that_another_topic_has_now_is_never_read_as_the_old_one() {
    let (segment, hub) = made("reuse", 8 << 20);
    let mut first = hub.create_topic(key("OLD", data_type::TRADES, 0), 1 << 12).expect("new");
    publish(&mut first, 1..=5);
    let reader = Reader::open(&name("reuse")).expect("made");
    let mut topic = reader.topic("test", "OLD", data_type::TRADES, 0, From::Oldest).expect("announced");
    let before = reader.topics()[0].clone();

    hub.end_topic(first.topic().id());
    drop(first);
    let mut second = hub.create_topic(key("NEW", data_type::TRADES, 0), 1 << 12).expect("new");
    publish(&mut second, 100..=110);

    let now = reader.topics()[0].clone();
    assert_eq!((now.offset, now.state, now.symbol.as_str()), (before.offset, LIVE, "NEW"));
    assert_eq!(topic.read(&mut Vec::new()), Seen::Ended);
    assert_eq!((segment.usage().topics, segment.usage().refused), (1, 0));
}

#[test]
fn a_ring_that_does_not_fit_is_made_on_the_heap_and_counted() {
    let (segment, hub) = made("full", RINGS_AT + (64 << 10));
    let mut trades = hub.create_topic(key("BIG", data_type::TRADES, 0), 1 << 20).expect("on the heap");
    publish(&mut trades, 1..=3);
    let long = "X".repeat(49);
    hub.create_topic(key(&long, data_type::TRADES, 0), 1 << 12).expect("on the heap");

    let usage = segment.usage();
    assert_eq!((usage.topics, usage.refused), (0, 2));
    assert!(usage.trouble.contains("longer than"), "{}", usage.trouble);
    assert_eq!(trades.topic().ring().head_sequence(), 3);
    assert!(matches!(Segment::create("small", RINGS_AT, 0), Err(ShmError::TooSmall { .. })));
}

#[test]
fn a_second_writer_is_refused_and_told_who_has_it() {
    let (_segment, _hub) = made("twice", 8 << 20);
    let error = Segment::create(&name("twice"), 8 << 20, 7).expect_err("taken").to_string();
    assert!(error.contains(&format!("is written by process {}", std::process::id())), "{error}");
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let path = std::path::Path::new("/dev/shm").join(name("other"));
    std::fs::write(&path, [1; 8192]).expect("writable");
    let errors = [Segment::create(&name("other"), 8 << 20, 7).err(), Reader::open(&name("other")).err()];
    assert_eq!(std::fs::read(&path).expect("still there").len(), 8192);
    std::fs::remove_file(&path).expect("ours to remove");
    assert_eq!(errors, [Some(ShmError::NotOurs(path.clone())), Some(ShmError::NotOurs(path))]);
    for bad in ["", ".hidden", "a/b", "../x", &"x".repeat(201)] {
        assert!(matches!(Reader::open(bad), Err(ShmError::BadName(_))), "{bad:?}");
    }
}

#[test]
fn the_file_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (segment, _hub) = made("mode", 8 << 20);
    let mode = std::fs::metadata(segment.path()).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn another_layout_is_refused_with_its_number() {
    use std::os::unix::fs::FileExt;
    let (segment, _hub) = made("layout", 8 << 20);
    let file = std::fs::File::options().write(true).open(segment.path()).expect("ours");
    file.write_all_at(&9u64.to_ne_bytes(), 8 * header::VERSION as u64).expect("written");
    let error = Reader::open(&name("layout")).expect_err("of another layout").to_string();
    assert!(error.contains("has layout 9, this release reads 1"), "{error}");
}

#[test]
fn every_topic_of_a_large_hub_gets_an_entry_and_gives_it_back() {
    let (segment, hub) = made("many", 64 << 20);
    let made: Vec<_> =
        (0..500).map(|at| hub.create_topic(key(&format!("S{at}"), data_type::TRADES, 0), 1 << 12)).collect();
    let reader = Reader::open(&name("many")).expect("made");
    assert_eq!((reader.topics().len(), segment.usage().topics), (500, 500));
    assert!(segment.usage().topics <= ENTRIES as u64);
    hub.topics().iter().for_each(|topic| assert!(hub.end_topic(topic.id())));
    drop(made);
    assert_eq!((reader.topics().len(), segment.usage().topics), (0, 0));
    assert_eq!(segment.usage().bytes, RINGS_AT as u64, "the memory went back");
}
