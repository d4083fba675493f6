//! A client that was away goes on behind the last record it had, or behind a mark that says what it misses.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;

use raven_core::record::{data_type, Kind};
use raven_serve::raven::market_data_message::Data;
use raven_serve::raven::MarketDataMessage;
use raven_serve::{Attach, Overflow, UnknownTopic};
use support::{header, publish_trades, Fixture, OpenStream};

const OPTIONS: Attach = Attach { depth: 0, conflate_ms: 0, overflow: Overflow::Gap, from_latest: false };

/// Receive time of every record here.
fn recv_ns() -> i64 {
    header(Kind::Trade, 0).recv_ns
}

async fn sequences(stream: &mut OpenStream, count: usize) -> Vec<u64> {
    let mut all = Vec::new();
    while all.len() < count {
        all.push(stream.next().await.sequence);
    }
    all
}

/// Count and sequence of a mark with reason `upstream`.
fn mark(message: &MarketDataMessage) -> Option<(u64, u64)> {
    match &message.data {
        Some(Data::Gap(gap)) => {
            assert_eq!((gap.reason.as_str(), gap.data_type), ("upstream", data_type::TRADES));
            Some((gap.count, message.sequence))
        }
        _ => None,
    }
}

#[tokio::test]
async fn what_the_ring_has_comes_and_then_the_present() {
    let fixture = Fixture::new();
    let mut trades = fixture.trades();
    publish_trades(&fixture, &mut trades, 1..=20);
    let mut streams = Vec::new();
    for after in [1, 12, 20] {
        let stream = fixture.open().await;
        assert_eq!(fixture.server.take_up(stream.id, trades.topic().id(), OPTIONS, after, recv_ns()), Ok(true));
        streams.push((after, stream));
    }
    publish_trades(&fixture, &mut trades, 21..=30);

    for (after, mut stream) in streams {
        let expected: Vec<_> = (after + 1..=30).collect();
        assert_eq!(sequences(&mut stream, expected.len()).await, expected, "after {after}");
    }
}

#[tokio::test]
async fn what_the_ring_has_lost_is_a_mark_with_its_count() {
    let fixture = Fixture::new();
    let mut trades = fixture.topic("BTCUSDT", data_type::TRADES, 0, 4096);
    publish_trades(&fixture, &mut trades, 1..=500);
    let mut stream = fixture.open().await;
    assert_eq!(fixture.server.take_up(stream.id, trades.topic().id(), OPTIONS, 7, recv_ns()), Ok(true));

    let (count, sequence) = mark(&stream.next().await).expect("a mark first");
    assert_eq!(sequence, 7 + count, "of the last record that is missing");
    assert_eq!(sequences(&mut stream, (500 - sequence) as usize).await, (sequence + 1..=500).collect::<Vec<_>>());
    assert!(sequence > 400, "{sequence}");
}

#[tokio::test]
async fn another_life_is_heard_from_its_beginning_behind_a_mark_of_unknown_size() {
    let fixture = Fixture::new();
    let mut trades = fixture.trades();
    publish_trades(&fixture, &mut trades, 1..=20);
    // A stream that is dropped would be told of among the calls.
    let mut kept = Vec::new();
    // The last record of a former life: of a time before this one began, or with a number that is not reached yet.
    for (after, recv_ns) in [(7, recv_ns() - 1), (7, recv_ns() + 1), (21, recv_ns())] {
        let mut stream = fixture.open().await;
        assert_eq!(fixture.server.take_up(stream.id, trades.topic().id(), OPTIONS, after, recv_ns), Ok(true));

        assert_eq!(mark(&stream.next().await), Some((0, 0)), "after {after} at {recv_ns}");
        assert_eq!(sequences(&mut stream, 20).await, (1..=20).collect::<Vec<_>>());
        kept.push(stream);
    }
}

#[tokio::test]
async fn a_topic_without_a_record_begins_with_the_mark() {
    let fixture = Fixture::new();
    let mut trades = fixture.trades();
    let mut stream = fixture.open().await;
    assert_eq!(fixture.server.take_up(stream.id, trades.topic().id(), OPTIONS, 7, recv_ns()), Ok(true));
    publish_trades(&fixture, &mut trades, 1..=3);

    assert_eq!(mark(&stream.next().await), Some((0, 0)));
    assert_eq!(sequences(&mut stream, 3).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_topic_is_taken_up_without_a_hole_or_a_repetition() {
    let fixture = Arc::new(Fixture::new());
    let mut trades = fixture.topic("BTCUSDT", data_type::TRADES, 0, 16 << 20);
    let topic = trades.topic().id();
    publish_trades(&fixture, &mut trades, 1..=100);
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = {
        let (fixture, is_over) = (Arc::clone(&fixture), Arc::clone(&is_over));
        thread::spawn(move || {
            let mut next = 101;
            while !is_over.load(Ordering::Relaxed) && next < 150_000 {
                publish_trades(&fixture, &mut trades, next..next + 20);
                next += 20;
                thread::yield_now();
            }
        })
    };
    let (mut had, mut kept) = (100, Vec::new());
    for _ in 0..20 {
        // Each stream goes on where the one before it was left.
        let mut stream = fixture.open().await;
        assert_eq!(fixture.server.take_up(stream.id, topic, OPTIONS, had, recv_ns()), Ok(true));
        for _ in 0..200 {
            let message = stream.next().await;
            assert_eq!(message.sequence, had + 1);
            had += 1;
        }
        // See above.
        kept.push(stream);
    }
    is_over.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}

#[tokio::test]
async fn a_topic_that_is_not_there_and_a_stream_that_has_gone_are_told_apart() {
    let fixture = Fixture::new();
    let trades = fixture.trades();
    let stream = fixture.open().await;

    assert_eq!(fixture.server.take_up(stream.id, 999, OPTIONS, 7, 7), Err(UnknownTopic(999)));
    assert_eq!(fixture.server.take_up(999, trades.topic().id(), OPTIONS, 7, 7), Ok(false));
}
