//! What a subscriber is sent: first the present, then everything in order, and a mark for whatever it missed.

mod support;

use std::time::Duration;

use raven_core::record::{data_type, flags};
use raven_serve::raven::market_data_message::Data;
use raven_serve::raven::MarketDataMessage;
use raven_serve::{Attach, Overflow};
use support::{publish_book, publish_trades, Fixture, OpenStream};
use tonic::Code;

const FROM_END: Attach = Attach { depth: 0, conflate_ms: 0, overflow: Overflow::Gap, from_latest: false };

fn trade_id(message: &MarketDataMessage) -> u64 {
    match &message.data {
        Some(Data::Trade(trade)) => trade.trade_id.parse().unwrap(),
        other => panic!("expected a trade: {other:?}"),
    }
}

/// Read until the given sequence is reached; the sum of lost records and the sequences that arrived.
async fn read_to(stream: &mut OpenStream, last: u64) -> (u64, Vec<u64>) {
    let (mut lost, mut sequences, mut is_after_gap) = (0, Vec::new(), false);
    let mut reached = None;
    loop {
        let message = stream.next().await;
        if let Some(Data::Gap(mark)) = &message.data {
            assert_eq!(mark.reason, "slow_reader");
            assert_eq!(message.sequence - reached.unwrap_or(0), mark.count, "the mark covers exactly what is missing");
            lost += mark.count;
            is_after_gap = true;
        } else {
            if let Some(reached) = reached {
                assert_eq!(message.sequence, reached + 1, "in order, without a hole");
            }
            assert_eq!(message.flags & flags::AFTER_GAP != 0, is_after_gap);
            is_after_gap = false;
            sequences.push(message.sequence);
        }
        reached = Some(message.sequence);
        if message.sequence >= last {
            return (lost, sequences);
        }
    }
}

#[tokio::test]
async fn a_subscriber_first_gets_the_newest_record_as_a_snapshot_then_what_follows() {
    let fixture = Fixture::new();
    let mut trades = fixture.trades();
    publish_trades(&fixture, &mut trades, 1..=3);
    let mut stream = fixture.open().await;

    fixture.attach(&stream, &trades, Attach::default());
    publish_trades(&fixture, &mut trades, 4..=5);

    let first = stream.next().await;
    assert_eq!((trade_id(&first), first.sequence, first.flags), (3, 3, flags::SNAPSHOT));
    for id in [4, 5] {
        let message = stream.next().await;
        assert_eq!((trade_id(&message), message.sequence, message.flags), (id, id, 0));
    }
}

#[tokio::test]
async fn a_subscriber_at_the_end_gets_only_what_follows() {
    let fixture = Fixture::new();
    let mut trades = fixture.trades();
    publish_trades(&fixture, &mut trades, 1..=3);
    let mut stream = fixture.open().await;

    fixture.attach(&stream, &trades, FROM_END);
    publish_trades(&fixture, &mut trades, [4]);

    assert_eq!(trade_id(&stream.next().await), 4);
}

#[tokio::test]
async fn many_streams_of_one_connection_read_at_their_own_pace() {
    let fixture = Fixture::new();
    let mut trades = fixture.trades();
    let client = fixture.client().await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let stream = fixture.open_on(client.clone()).await;
        fixture.attach(&stream, &trades, FROM_END);
        streams.push(stream);
    }

    publish_trades(&fixture, &mut trades, 1..=500);

    for stream in &mut streams {
        assert_eq!(read_to(stream, 500).await, (0, (1..=500).collect()));
    }
    assert_eq!(trades.topic().readers(), 10);
    assert_eq!(fixture.stat("encoded"), 500, "encoded once, whoever reads");
}

#[tokio::test]
async fn books_are_cut_to_the_depth_asked_for() {
    let fixture = Fixture::new();
    let mut books = fixture.books();
    let (mut shallow, mut full) = (fixture.open().await, fixture.open().await);
    fixture.attach(&shallow, &books, Attach { depth: 5, ..Attach::default() });
    fixture.attach(&full, &books, Attach::default());

    publish_book(&fixture, &mut books, 1, 20);

    for (stream, depth) in [(&mut shallow, 5), (&mut full, 20)] {
        let Some(Data::Orderbook(book)) = stream.next().await.data else { panic!() };
        assert_eq!((book.bids.len(), book.asks.len()), (depth, depth));
    }
}

#[tokio::test]
async fn attaching_again_with_another_depth_starts_with_a_snapshot() {
    let fixture = Fixture::new();
    let mut books = fixture.books();
    let mut stream = fixture.open().await;
    fixture.attach(&stream, &books, Attach::default());
    publish_book(&fixture, &mut books, 1, 20);
    stream.next().await;

    fixture.attach(&stream, &books, Attach { depth: 3, from_latest: false, ..Attach::default() });

    let again = stream.next().await;
    let Some(Data::Orderbook(book)) = again.data else { panic!() };
    assert_eq!((book.bids.len(), again.sequence, again.flags), (3, 1, flags::SNAPSHOT));
    assert_eq!(books.topic().readers(), 1);
}

#[tokio::test]
async fn a_detached_topic_is_silent_and_the_others_go_on() {
    let fixture = Fixture::new();
    let (mut trades, mut books) = (fixture.trades(), fixture.books());
    let mut stream = fixture.open().await;
    fixture.attach(&stream, &trades, FROM_END);
    fixture.attach(&stream, &books, FROM_END);

    assert!(fixture.server.detach(stream.id, trades.topic().id()));
    fixture.server.streams();
    publish_trades(&fixture, &mut trades, [1]);
    publish_book(&fixture, &mut books, 2, 1);

    assert!(matches!(stream.next().await.data, Some(Data::Orderbook(_))));
    assert_eq!(trades.topic().readers(), 0);
}

#[tokio::test]
async fn batches_carry_every_message_once() {
    let fixture = Fixture::new();
    let mut trades = fixture.trades();
    let mut stream = fixture.open().await;
    fixture.server.configure_stream(stream.id, 100, 0);
    fixture.attach(&stream, &trades, FROM_END);

    publish_trades(&fixture, &mut trades, 1..=1000);

    let mut sequences = Vec::new();
    let mut frames = 0;
    while sequences.len() < 1000 {
        let frame = stream.next().await;
        assert!((1..=100).contains(&frame.batch.len()));
        sequences.extend(frame.batch.iter().map(|message| message.sequence));
        frames += 1;
    }
    assert_eq!(sequences, (1..=1000).collect::<Vec<_>>());
    // How many share a frame depends on when the pump looks; one each would be no batching.
    assert!(frames < 1000, "{frames} frames");
}

#[tokio::test]
async fn a_silent_stream_has_a_heartbeat() {
    let fixture = Fixture::new();
    let mut stream = fixture.open().await;
    fixture.server.configure_stream(stream.id, 1, 20);
    for _ in 0..3 {
        assert_eq!(stream.next().await, MarketDataMessage::default());
    }
}

#[tokio::test]
async fn a_slow_reader_gets_a_mark_with_the_exact_count() {
    let fixture = Fixture::with(raven_serve::Config { log_bytes: 0, ..Default::default() });
    let mut trades = fixture.trades();
    let mut stream = fixture.open().await;
    fixture.attach(&stream, &trades, FROM_END);

    // Nobody reads while far more is published than sockets, HTTP/2 and the log hold.
    let mut published = 0;
    while fixture.stat("lost") == 0 && published < 2_000_000 {
        publish_trades(&fixture, &mut trades, published + 1..=published + 2000);
        published += 2000;
        let seen = published;
        fixture.until("the pump keeps up", |fixture| fixture.stat("encoded") + fixture.stat("lost") >= seen).await;
        if published == 200_000 {
            break;
        }
    }
    publish_trades(&fixture, &mut trades, [published + 1]);

    let (lost, sequences) = read_to(&mut stream, published + 1).await;
    assert!(lost > 0);
    assert_eq!(lost + sequences.len() as u64, published + 1);
    assert_eq!(fixture.stat("lost"), lost);
    assert!(fixture.stat("gap_marks") >= 1);
    assert_eq!(fixture.server.streams()[0].messages_lost, lost);
}

#[tokio::test]
async fn a_pump_that_was_lapped_says_so_to_every_subscriber() {
    let fixture = Fixture::new();
    let mut trades = fixture.topic("BTCUSDT", data_type::TRADES, 0, 4096);
    let mut streams = [fixture.open().await, fixture.open().await];
    for stream in &streams {
        fixture.attach(stream, &trades, FROM_END);
    }

    // A ring of 46 is overrun a hundred times within microseconds; the pump may well look once or twice in between.
    publish_trades(&fixture, &mut trades, 1..=5000);

    for stream in &mut streams {
        let (lost, sequences) = read_to(stream, 5000).await;
        assert!(lost > 0);
        assert_eq!(lost + sequences.len() as u64, 5000);
    }
}

#[tokio::test]
async fn a_disconnecting_subscriber_is_told_its_last_sequence() {
    let fixture = Fixture::with(raven_serve::Config { log_bytes: 0, ..Default::default() });
    let mut trades = fixture.trades();
    let mut stream = fixture.open().await;
    fixture.attach(&stream, &trades, Attach { overflow: Overflow::Disconnect, ..FROM_END });

    // Far more than sockets, HTTP/2 and the log hold while nobody reads.
    for at in 0..100 {
        publish_trades(&fixture, &mut trades, at * 2000 + 1..=at * 2000 + 2000);
        fixture.until("the pump keeps up", |fixture| fixture.stat("encoded") >= at * 2000 + 2000).await;
    }

    let mut last = 0;
    let status = loop {
        match stream.messages.message().await {
            Ok(message) => last = message.unwrap().sequence,
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains(&format!("after sequence {last};")), "{} (read to {last})", status.message());
    assert!(fixture.call("stream_closed").await.payload.starts_with(b"ResourceExhausted"));
}

#[tokio::test]
async fn a_conflating_reader_jumps_to_the_newest_book() {
    let fixture = Fixture::new();
    let mut books = fixture.books();
    let mut stream = fixture.open().await;
    fixture.attach(&stream, &books, Attach { overflow: Overflow::Conflate, ..FROM_END });

    // Fill sockets and HTTP/2 with an unread stream, then let what waits behind it grow old.
    for id in 1..=8000 {
        publish_book(&fixture, &mut books, id, 20);
        if id % 100 == 0 {
            fixture.until("the pump keeps up", |fixture| fixture.stat("encoded") >= id).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;

    let (mut count, mut reached, mut skipped) = (0, 0, false);
    while reached < 8000 {
        let message = stream.next().await;
        assert!(matches!(message.data, Some(Data::Orderbook(_))), "no gap mark for skipped states");
        assert_eq!(message.flags & flags::SKIPPED != 0, message.sequence > reached + 1);
        skipped |= message.flags & flags::SKIPPED != 0;
        reached = message.sequence;
        count += 1;
    }
    assert!(skipped && count < 8000);
    assert_eq!(fixture.stat("lost"), 0);
}

#[tokio::test]
async fn conflation_sends_one_state_per_interval_and_always_the_last() {
    let fixture = Fixture::new();
    let mut books = fixture.books();
    let mut stream = fixture.open().await;
    fixture.attach(&stream, &books, Attach { conflate_ms: 100, ..FROM_END });

    publish_book(&fixture, &mut books, 1, 1);
    assert_eq!(stream.next().await.sequence, 1);
    let start = std::time::Instant::now();
    for id in 2..=50 {
        publish_book(&fixture, &mut books, id, 1);
    }

    let (mut states, mut reached) = (0, 1);
    while reached < 50 {
        let message = stream.next().await;
        assert_eq!(message.flags & flags::SKIPPED != 0, message.sequence > reached + 1);
        reached = message.sequence;
        states += 1;
    }
    // The first may have been sent an interval before it was in hand; on a busy machine the rest takes several.
    assert!(states <= start.elapsed().as_millis() / 100 + 2, "{states} states in {:?}", start.elapsed());
}

#[tokio::test]
async fn trades_are_never_conflated() {
    let fixture = Fixture::new();
    let mut trades = fixture.trades();
    let mut stream = fixture.open().await;
    fixture.attach(&stream, &trades, Attach { conflate_ms: 100_000, overflow: Overflow::Conflate, ..FROM_END });

    publish_trades(&fixture, &mut trades, 1..=2000);

    assert_eq!(read_to(&mut stream, 2000).await, (0, (1..=2000).collect()));
}
