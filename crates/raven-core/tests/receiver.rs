//! What a client's end of a stream makes of messages, and of bytes that are none.
#![cfg(not(loom))]

use proptest::prelude::*;
use raven_core::decode::table::Table;
use raven_core::encode::Encoder;
use raven_core::receiver::Receiver;
use raven_core::record::{data_type, flags, GapReason, Header, Kind, HEADER_WORDS};

fn header(kind: Kind, sequence: u64, flags: u32) -> Header {
    Header {
        kind,
        flags,
        sequence,
        recv_ns: 1_000 + sequence as i64,
        exchange_ns: 900,
        id: 40 + sequence,
        price_scale: 2,
        quantity_scale: 3,
        bids: if kind == Kind::Book { 2 } else { 0 },
        asks: if kind == Kind::Book { 1 } else { 0 },
    }
}

/// A message as a server sends it.
fn message(header: &Header, body: &[u64]) -> Vec<u8> {
    let data_type =
        if matches!(header.kind, Kind::Book | Kind::Gap) { data_type::ORDERBOOK } else { data_type::TRADES };
    let mut words = header.to_words(HEADER_WORDS + body.len()).to_vec();
    words.extend(body);
    let mut out = Vec::new();
    assert!(Encoder::new("binance_spot", "BTCUSDT", data_type, "test").encode(&words, 0, &mut out));
    out
}

fn trade(sequence: u64) -> Vec<u8> {
    message(&header(Kind::Trade, sequence, 0), &[6_100_050, 250, 1, 7, 9])
}

fn only(receiver: &mut Receiver) -> (Kind, Table) {
    let mut taken = receiver.take();
    assert_eq!(taken.len(), 1, "one kind");
    taken.remove(0)
}

#[test]
fn a_trade_becomes_a_row_of_doubles() {
    let mut receiver = Receiver::new(false);
    assert_eq!(receiver.collect(5, &trade(3)), 1);
    let (kind, table) = only(&mut receiver);
    let head = table.heads[0];
    assert_eq!((kind, head.sequence, head.recv_ns, head.exchange_ns, head.id), (Kind::Trade, 3, 1_003, 900, 43));
    assert_eq!(table.body, [[61000.5f64.to_bits()], [0.25f64.to_bits()], [1], [7], [9]].map(Vec::from));
    assert_eq!(receiver.names(), ["binance_spot", "BTCUSDT"]);
    assert_eq!((receiver.rows(), receiver.take().len()), (0, 0), "taken once");
}

#[test]
fn a_book_keeps_its_levels_and_what_is_proven() {
    let mut receiver = Receiver::new(false);
    // Proven: both bids, no ask.
    let book = message(&header(Kind::Book, 1, flags::SNAPSHOT), &[2, 10_000, 1_000, 9_950, 2_000, 10_100, 500]);
    receiver.collect(5, &book);
    receiver.collect(5, &message(&header(Kind::Book, 2, 0), &[1 << 32, 10_000, 1_000, 9_950, 2_000, 10_100, 500]));
    let (kind, table) = only(&mut receiver);
    assert_eq!((kind, &table.bids.offsets[..], &table.bids.proven[..]), (Kind::Book, &[0, 2, 4][..], &[2, 0][..]));
    assert_eq!((&table.bids.prices[..2], &table.bids.quantities[..2]), (&[100.0, 99.5][..], &[1.0, 2.0][..]));
    assert_eq!((&table.asks.prices[..1], &table.asks.proven[..]), (&[101.0][..], &[0, 1][..]));
}

#[test]
fn a_deep_book_counts_as_many_rows() {
    let (bids, asks) = (100, 100);
    let header = Header { bids, asks, ..header(Kind::Book, 1, 0) };
    let mut body = vec![0];
    body.extend((0..bids).flat_map(|at| [10_000 - u64::from(at), 1]));
    body.extend((0..asks).flat_map(|at| [10_001 + u64::from(at), 1]));
    let mut receiver = Receiver::new(false);
    assert_eq!(receiver.collect(5, &message(&header, &body)), 26);
    assert_eq!(only(&mut receiver).1.heads.len(), 1);
}

#[test]
fn what_came_before_is_left_out_and_a_hole_is_a_row_of_the_gaps() {
    let mut receiver = Receiver::new(false);
    for sequence in [1, 2, 2, 1, 6] {
        receiver.collect(77, &trade(sequence));
    }
    let taken = receiver.take();
    assert_eq!(taken.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::Trade, Kind::Gap]);
    assert_eq!(taken[0].1.heads.iter().map(|head| head.sequence).collect::<Vec<_>>(), [1, 2, 6]);
    let gap = &taken[1].1;
    assert_eq!((gap.heads[0].recv_ns, gap.body[0][0], gap.body[1][0]), (77, data_type::TRADES as u64, 3));
    let heard = receiver.heard();
    assert_eq!((heard.len(), heard[0].position.sequence, heard[0].position.recv_ns), (1, 6, 1_006));
}

#[test]
fn a_mark_of_a_book_belongs_to_the_book() {
    // Its data type is 0, which is not on the wire.
    let mut receiver = Receiver::new(false);
    receiver.collect(5, &message(&header(Kind::Book, 1, 0), &[0, 10_000, 1_000, 9_950, 2_000, 10_100, 500]));
    let mark = Header { recv_ns: 9_000, ..header(Kind::Gap, 4, flags::AFTER_GAP) };
    receiver.collect(5, &message(&mark, &[data_type::ORDERBOOK as u64, 3, 0, 0, GapReason::SlowReader as u64, 1]));
    let heard = receiver.heard();
    assert_eq!((heard.len(), heard[0].data_type, heard[0].position.sequence), (1, data_type::ORDERBOOK, 4));
    assert_eq!(receiver.take()[1].1.body[0], [data_type::ORDERBOOK as u64]);
}

#[test]
fn both_ways_of_reading_judge_alike() {
    let mut receiver = Receiver::new(false);
    let mut verdicts = Vec::new();
    let mut judge = |sequence| {
        receiver.judge(&trade(sequence), &mut verdicts);
        verdicts.clone()
    };
    let trades = data_type::TRADES;
    assert_eq!(judge(4), [(Some(0), trades)]);
    assert_eq!(judge(4), [(None, trades)]);
    assert_eq!(judge(5), [(Some(0), trades)]);
    assert_eq!(judge(9), [(Some(3), trades)]);
}

#[test]
fn a_past_has_lives_of_its_own_and_the_present_follows() {
    let mut receiver = Receiver::new(true);
    let take = |receiver: &mut Receiver, sequence, recv_ns, flags| {
        let header = Header { recv_ns, ..header(Kind::Trade, sequence, flags) };
        receiver.collect(5, &message(&header, &[6_100_050, 250, 1, 0, 0]))
    };
    for (sequence, recv_ns, flag, rows) in [
        (8, 10, flags::BACKFILLED, 1),
        (9, 20, flags::BACKFILLED, 2),
        (1, 30, flags::BACKFILLED, 3),
        (9, 20, flags::BACKFILLED, 3),
        (2, 40, 0, 4),
        (2, 40, 0, 4),
        (3, 41, 0, 5),
    ] {
        assert_eq!(take(&mut receiver, sequence, recv_ns, flag), rows, "{sequence} at {recv_ns}");
    }
    assert!(!receiver.heard()[0].is_past);
}

proptest! {
    #[test]
    fn whatever_bytes_come_are_no_more_than_no_rows(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut receiver = Receiver::new(false);
        let mut verdicts = Vec::new();
        receiver.judge(&bytes, &mut verdicts);
        let rows = receiver.collect(1, &bytes);
        prop_assert!(rows >= receiver.take().iter().map(|(_, table)| table.heads.len()).sum::<usize>());
    }

    #[test]
    fn a_message_that_was_damaged_never_leaves_columns_of_different_lengths(at in 0usize..200, byte in any::<u8>()) {
        let mut frame = trade(1);
        let at = at % frame.len();
        frame[at] = byte;
        let mut receiver = Receiver::new(false);
        receiver.collect(1, &frame);
        for (_, table) in receiver.take() {
            prop_assert!(table.body.iter().all(|column| column.len() == table.heads.len()));
        }
    }
}
