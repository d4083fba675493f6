//! The past: answers of many messages, taken as fast as a client reads, and streams that go on from it without a seam.

mod support;

use std::sync::Arc;
use std::time::Duration;

use raven_core::columns::Columns;
use raven_core::encode::Encoder;
use raven_core::hub::Publisher;
use raven_core::record::{data_type, flags, Kind};
use raven_serve::raven::market_data_message::Data;
use raven_serve::raven::{HistoricalDataRequest, MarketDataMessage};
use raven_serve::{encode, Attach, Encoded, Overflow, Pushed};
use support::{header, publish_trades, Fixture, OpenStream, PATIENCE};
use tonic::{Code, Streaming};

const FROM_END: Attach = Attach { depth: 0, conflate_ms: 0, overflow: Overflow::Gap, from_latest: false };

/// Trades as the journal has them; sequence and id are the same number.
fn past(sequences: std::ops::RangeInclusive<u64>) -> Encoded {
    let mut columns = Columns::new(Kind::Trade);
    for sequence in sequences {
        let mut header = header(Kind::Trade, sequence);
        header.sequence = sequence;
        columns.push(7, &header, &[5_712_345, 1500, sequence % 2, sequence, sequence]);
    }
    let encoder = Encoder::new("binance_futures", "BTCUSDT", data_type::TRADES, "raven");
    encode(&columns, &encoder, 0, flags::BACKFILLED)
}

async fn ask(fixture: &Fixture) -> (u64, Streaming<MarketDataMessage>) {
    let mut client = fixture.client().await;
    let messages = client.get_historical_data(HistoricalDataRequest::default()).await.unwrap().into_inner();
    (fixture.call("GetHistoricalData").await.call_id, messages)
}

async fn sequences(stream: &mut OpenStream, count: usize) -> Vec<u64> {
    let mut all = Vec::new();
    while all.len() < count {
        all.push(stream.next().await.sequence);
    }
    all
}

#[tokio::test]
async fn a_call_is_answered_with_many_messages_and_an_end() {
    let fixture = Fixture::new();
    let (call, mut messages) = ask(&fixture).await;
    for piece in [past(1..=3), past(4..=5)] {
        assert_eq!(fixture.server.reply_piece(call, piece, PATIENCE), Pushed::Taken);
    }
    assert!(fixture.server.reply(call, vec![]));

    for sequence in 1..=5 {
        let message = messages.message().await.unwrap().unwrap();
        assert_eq!((message.sequence, message.flags), (sequence, flags::BACKFILLED));
    }
    assert!(messages.message().await.unwrap().is_none());
    assert_eq!(fixture.server.reply_piece(call, past(6..=6), PATIENCE), Pushed::Gone, "the answer has ended");
}

#[tokio::test]
async fn an_answer_that_breaks_off_says_why_behind_what_was_there() {
    let fixture = Fixture::new();
    let (call, mut messages) = ask(&fixture).await;
    fixture.server.reply_piece(call, past(1..=1), PATIENCE);
    fixture.server.fail(call, Code::DataLoss as i32, "the disk cannot be read");

    assert_eq!(messages.message().await.unwrap().unwrap().sequence, 1);
    let status = messages.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DataLoss, "the disk cannot be read"));
}

#[tokio::test]
async fn whoever_pushes_waits_for_a_slow_reader_and_gives_up_in_time() {
    let fixture = Fixture::new();
    let (call, messages) = ask(&fixture).await;
    let piece = past(1..=10_000);
    let server = Arc::clone(&fixture.server);
    let pushed = tokio::task::spawn_blocking(move || {
        let mut bytes = 0;
        loop {
            match server.reply_piece(call, piece.clone(), Duration::from_millis(300)) {
                Pushed::Taken => bytes += piece.bytes.len(),
                outcome => return (outcome, bytes),
            }
        }
    });
    let (outcome, bytes) = pushed.await.unwrap();
    assert_eq!(outcome, Pushed::TooSlow);
    // Our own limit, and what HTTP/2 and the sockets hold.
    assert!(bytes < 16 << 20, "{bytes} bytes were taken of a reader that reads nothing");
    drop(messages);
}

#[tokio::test]
async fn whoever_pushes_learns_that_the_client_has_left() {
    let fixture = Fixture::new();
    let (call, messages) = ask(&fixture).await;
    drop(messages);
    fixture
        .until("the client has left", |_| fixture.server.reply_piece(call, past(1..=1), PATIENCE) == Pushed::Gone)
        .await;
}

#[tokio::test]
async fn the_past_of_a_stream_comes_before_its_present() {
    let fixture = Fixture::new();
    let mut trades = fixture.trades();
    let mut stream = fixture.open().await;
    publish_trades(&fixture, &mut trades, 1..=10);
    assert_eq!(fixture.server.push(stream.id, past(1..=6), PATIENCE), Pushed::Taken);

    assert_eq!(fixture.server.resume(stream.id, trades.topic().id(), FROM_END, 6), Ok(true));
    publish_trades(&fixture, &mut trades, 11..=20);

    assert_eq!(sequences(&mut stream, 20).await, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_long_past_of_one_topic_leaves_room_for_the_present_of_others() {
    let fixture = Fixture::new();
    let (mut trades, mut others) = (fixture.trades(), fixture.topic("ETHUSDT", data_type::TRADES, 0, 1 << 20));
    let mut stream = fixture.open().await;
    fixture.attach(&stream, &others, FROM_END);
    publish_trades(&fixture, &mut trades, 1..=10);
    // More than sockets and HTTP/2 hold, so that some of it waits as long as the client has not read nearly all.
    let (pieces, of_each) = (60, 2000);
    let (server, id, topic) = (Arc::clone(&fixture.server), stream.id, trades.topic().id());
    let pushing = tokio::task::spawn_blocking(move || {
        for piece in 0..pieces {
            let first = piece * of_each + 1;
            assert_eq!(server.push(id, past(first..=first + of_each - 1), PATIENCE), Pushed::Taken);
        }
        server.resume(id, topic, FROM_END, 10)
    });

    let (mut of_trades, mut of_others, mut before_others) = (Vec::new(), Vec::new(), 0);
    let expected = (1..=pieces * of_each).map(|sequence| (true, sequence)).chain((11..=20).map(|n| (false, n)));
    let expected: Vec<_> = expected.collect();
    while of_trades.len() < expected.len() || of_others.len() < 10 {
        let message = stream.next().await;
        match message.data {
            Some(Data::Trade(trade)) if trade.symbol == "ETHUSDT" => of_others.push(message.sequence),
            _ => of_trades.push((message.flags & flags::BACKFILLED != 0, message.sequence)),
        }
        if of_trades.len() == 1 && of_others.is_empty() {
            publish_trades(&fixture, &mut others, 1..=10);
            publish_trades(&fixture, &mut trades, 11..=20);
        }
        if of_others.len() == 10 && before_others == 0 {
            before_others = of_trades.len();
        }
    }
    assert_eq!(pushing.await.unwrap(), Ok(true));
    assert_eq!(of_trades, expected, "its own present waits for the past");
    assert!(before_others < expected.len() * 9 / 10, "others had to wait for {before_others} records of the past");
}

#[tokio::test]
async fn a_stream_goes_on_wherever_others_stand_in_the_topic() {
    let fixture = Fixture::new();
    let mut trades = fixture.trades();
    let mut other = fixture.open().await;
    fixture.attach(&other, &trades, FROM_END);
    // A stream that is dropped would be told of among the calls.
    let mut streams = Vec::new();
    for after in [0, 1, 499, 500] {
        publish_trades(&fixture, &mut trades, 1..=500);
        let head = trades.topic().ring().head_sequence();
        let mut stream = fixture.open().await;
        assert_eq!(fixture.server.resume(stream.id, trades.topic().id(), FROM_END, head - 500 + after), Ok(true));
        publish_trades(&fixture, &mut trades, 501..=510);
        let expected: Vec<u64> = (head - 500 + after + 1..=head + 10).collect();
        assert_eq!(sequences(&mut stream, expected.len()).await, expected);
        streams.push(stream);
    }
    assert_eq!(sequences(&mut other, 4 * 510).await, (1..=4 * 510).collect::<Vec<_>>(), "others notice nothing");
}

#[tokio::test]
async fn what_the_ring_has_no_more_is_not_gone_on_from() {
    let fixture = Fixture::new();
    let mut trades: Publisher = fixture.topic("BTCUSDT", data_type::TRADES, 0, 8 << 10);
    publish_trades(&fixture, &mut trades, 1..=1000);
    let stream = fixture.open().await;
    assert_eq!(fixture.server.resume(stream.id, trades.topic().id(), FROM_END, 10), Ok(false));
    assert_eq!(fixture.server.streams()[0].topics, 0, "nothing is attached then");
    assert_eq!(fixture.server.resume(stream.id, trades.topic().id(), FROM_END, 1001), Ok(false), "nobody has that yet");
    assert_eq!(fixture.server.resume(stream.id, trades.topic().id(), FROM_END, 1000), Ok(true));
}
