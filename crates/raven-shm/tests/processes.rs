//! Faults S4 and P5 with real processes: readers that stop or die, writers that are killed, reads under lapping.
//!
//! The other process is this test program, run again with one test's name: see `child`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use raven_core::hub::{Hub, Publisher, TopicKey};
use raven_core::record::{data_type, Header, Kind, HEADER_WORDS};
use raven_shm::reader::From;
use raven_shm::{Reader, Seen, Segment};

const NAME: &str = "RAVEN_SHM_TEST_NAME";
const READS: &str = "RAVEN_SHM_TEST_READS";
/// Small enough to be lapped all the time.
const RING_BYTES: usize = 1 << 17;
const WAIT: Duration = Duration::from_secs(60);

fn name(test: &str) -> String {
    format!("raven-test-{}-{test}", std::process::id())
}

fn made(name: &str) -> (Arc<Segment>, Publisher) {
    let segment = Arc::new(Segment::create(name, 8 << 20, 7).expect("the name is free"));
    let hub = Hub::in_memory_of(Some(Arc::clone(&segment) as _));
    let key = TopicKey { venue: "test".into(), symbol: "BTCUSDT".into(), data_type: data_type::TRADES, depth: 0 };
    let publisher = hub.create_topic(key, RING_BYTES).expect("new");
    (segment, publisher)
}

/// Records of 6 to 45 words, every word of which says which record it is.
fn publish(publisher: &mut Publisher, id: u64) {
    let header = Header {
        kind: Kind::Trade,
        flags: 0,
        sequence: 0,
        recv_ns: id as i64,
        exchange_ns: id as i64,
        id,
        price_scale: 0,
        quantity_scale: 0,
        bids: 0,
        asks: 0,
    };
    let body = [id; 40];
    publisher.publish(&header, &body[..(id % 40) as usize]);
}

fn check(record: &[u64], expected: u64) {
    assert!(record[1..5].iter().all(|word| *word == expected), "torn, skipped or repeated: {record:?}, not {expected}");
    assert_eq!(record.len() as u64, HEADER_WORDS as u64 + expected % 40);
    assert!(record[HEADER_WORDS..].iter().all(|word| *word == expected), "torn: {record:?}");
}

/// Run a role of `child` in a process of its own; its first line has come when this returns.
fn start(role: &str, name: &str, reads: u64) -> (Child, BufReader<std::process::ChildStdout>) {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args([role, "--exact", "--nocapture", "--ignored", "--test-threads=1"])
        .env(NAME, name)
        .env(READS, reads.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let first = line(&mut lines, "ready");
    assert!(first.contains("ready"), "{first}");
    (child, lines)
}

/// The next line that has this in it: the test harness writes some, too.
fn line(lines: &mut impl BufRead, wanted: &str) -> String {
    let mut text = String::new();
    while lines.read_line(&mut text).expect("readable") > 0 {
        if text.contains(wanted) {
            return text;
        }
        text.clear();
    }
    panic!("the other process ended before it said {wanted:?}");
}

fn say(text: &str) {
    // Past the harness, which begins a line with the name of the test.
    println!("\n{text}");
    std::io::stdout().flush().expect("somebody reads");
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").arg(name).arg(child.id().to_string()).status().expect("kill").success());
}

/// The child's sides. They are ignored tests so that only `start` runs them.
mod child {
    use super::*;

    /// Reads until it has seen so many records, or the topic ends; says how many it read and lost.
    #[test]
    #[ignore = "the other process of the tests below"]
    fn reads() {
        let wanted: u64 = std::env::var(READS).expect("set").parse().expect("a number");
        let reader = Reader::open(&std::env::var(NAME).expect("set")).expect("made");
        let mut topic = reader.topic("test", "BTCUSDT", data_type::TRADES, 0, From::Oldest).expect("announced");
        let before = topic.next_sequence() - 1;
        say("ready");
        let (mut read, mut out) = (0, Vec::new());
        while read < wanted {
            out.clear();
            // Both ways to read, by turns.
            let seen = if read % 2 == 0 { topic.read(&mut out) } else { topic.read_run(1 << 10, &mut out) };
            match seen {
                Seen::Record => {
                    let mut rest = &out[..];
                    while let Some(word) = rest.first() {
                        let (record, behind) = rest.split_at(Header::total_words(*word));
                        read += 1;
                        check(record, before + read + topic.lost());
                        rest = behind;
                    }
                }
                Seen::Empty => std::thread::yield_now(),
                Seen::Lapped { .. } => {}
                Seen::Ended => break,
            }
        }
        say(&format!("read {read} lost {}", topic.lost()));
    }

    /// Publishes until it is killed.
    #[test]
    #[ignore = "the other process of the tests below"]
    fn writes() {
        let (_segment, mut publisher) = made(&std::env::var(NAME).expect("set"));
        say("ready");
        let mut id = 0;
        loop {
            id += 1;
            publish(&mut publisher, id);
        }
    }
}

fn sums(lines: &mut impl BufRead) -> (u64, u64) {
    let text = line(lines, "read ");
    let numbers: Vec<u64> = text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

fn reads_under_lapping(test: &str, wanted: u64) {
    let (segment, mut publisher) = made(&name(test));
    let (mut child, mut lines) = start("child::reads", &name(test), wanted);
    let mut id = 0;
    while child.try_wait().expect("ours").is_none() {
        for _ in 0..10_000 {
            id += 1;
            publish(&mut publisher, id);
        }
    }
    let (read, lost) = sums(&mut lines);
    assert!(read >= wanted && read + lost <= id, "{read} read, {lost} lost of {id}");
    assert!(lost > 0, "nobody was lapped");
    assert_eq!(segment.usage().topics, 1);
}

#[test]
fn s4_reads_under_lapping_are_never_torn_and_every_loss_is_counted() {
    reads_under_lapping("ci", if cfg!(debug_assertions) { 500_000 } else { 10_000_000 });
}

#[test]
#[ignore = "some minutes: cargo test -p raven-shm --release -- --ignored hundred"]
fn s4_a_hundred_million_reads_under_lapping_are_never_torn() {
    reads_under_lapping("chaos", 100_000_000);
}

#[test]
fn s4_a_stopped_reader_holds_up_nobody_and_learns_the_exact_count() {
    let (_segment, mut publisher) = made(&name("stopped"));
    publish(&mut publisher, 1);
    let (mut child, mut lines) = start("child::reads", &name("stopped"), u64::MAX);
    signal(&child, "-STOP");
    (2..=200_000).for_each(|id| publish(&mut publisher, id));
    signal(&child, "-CONT");
    // The end of the topic is the reader's end.
    publisher.topic().ring().storage().end();

    let (read, lost) = sums(&mut lines);
    assert_eq!(read + lost, 200_000);
    assert!(lost > 100_000, "the ring cannot have kept more: {lost}");
    child.wait().expect("ours");
}

#[test]
fn s4_a_reader_that_is_killed_leaves_nothing_behind() {
    let (segment, mut publisher) = made(&name("killed"));
    for round in 0..5 {
        let (mut child, _lines) = start("child::reads", &name("killed"), u64::MAX);
        (round * 10_000 + 1..=(round + 1) * 10_000).for_each(|id| publish(&mut publisher, id));
        child.kill().expect("ours");
        child.wait().expect("ours");
    }
    let reader = Reader::open(&name("killed")).expect("made");
    assert!(reader.is_alive());
    assert_eq!((segment.usage().topics, publisher.topic().ring().head_sequence()), (1, 50_000));
}

#[test]
fn p5_a_killed_writer_is_noticed_and_hinders_no_restart() {
    let name = name("restart");
    for _ in 0..5 {
        let (mut child, _lines) = start("child::writes", &name, 0);
        let reader = Reader::open(&name).expect("made");
        assert!(reader.is_alive() && Segment::create(&name, 8 << 20, 7).is_err());
        child.kill().expect("ours");
        child.wait().expect("ours");
        let deadline = Instant::now() + WAIT;
        while reader.is_alive() {
            assert!(Instant::now() < deadline, "a dead writer is said to live");
        }
        // What it had published can still be read, whole, though it may have died in the middle of a record.
        let mut topic = reader.topic("test", "BTCUSDT", data_type::TRADES, 0, From::Oldest).expect("announced");
        let mut out = Vec::new();
        let mut expected = topic.next_sequence();
        loop {
            match topic.read(&mut out) {
                Seen::Record => check(&out, expected),
                Seen::Lapped { lost } => expected += lost - 1,
                Seen::Empty | Seen::Ended => break,
            }
            expected += 1;
        }
    }
    let left = Segment::create(&name, 8 << 20, 7).expect("what was left is cleaned");
    left.close();
    assert!(!left.path().exists());
}

#[test]
fn p5_of_four_that_start_at_once_over_a_stale_file_one_gets_the_name() {
    let name = name("race");
    let (mut child, _lines) = start("child::writes", &name, 0);
    child.kill().expect("ours");
    child.wait().expect("ours");
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let name = name.clone();
            std::thread::spawn(move || Segment::create(&name, 8 << 20, 7))
        })
        .collect();
    // All are kept until the end: who has the name must not give it back before the others have asked.
    let all: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    assert_eq!(all.iter().filter(|made| made.is_ok()).count(), 1, "{all:?}");
    assert!(Reader::open(&name).expect("the winner's").is_alive());
}
