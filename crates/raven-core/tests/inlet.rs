//! What comes over a hop is what was published before it, and whatever bytes come, nothing worse than a count.
#![cfg(not(loom))]

use std::sync::Arc;

use proptest::prelude::*;
use raven_core::bars::spec::{BarKind, Spec};
use raven_core::encode::{put_flags, to_double, Encoder};
use raven_core::hub::{Hub, TopicKey};
use raven_core::inlet::Inlet;
use raven_core::record::{bar, candle, data_type, flags, funding, gap, GapReason, Header, Kind, HEADER_WORDS};
use raven_core::ring::Read;

const VENUE: &str = "binance_futures";
const SYMBOL: &str = "BTCUSDT";

struct Rig {
    hub: Arc<Hub>,
    inlet: Inlet,
}

impl Rig {
    fn hearing(data_type: i32, depth: u16) -> Self {
        let hub = Hub::new();
        let mut inlet = Inlet::new(Arc::clone(&hub));
        inlet.open(key(data_type, depth), 1 << 20).unwrap();
        Self { hub, inlet }
    }

    /// Take in messages as one frame; return the records that came of it, by header and body.
    fn take(&mut self, data_type: i32, messages: &[Vec<u8>]) -> Vec<(Header, Vec<u64>)> {
        let before = self.records(data_type).len();
        self.inlet.on_frame(7, &batch(messages));
        self.records(data_type).split_off(before)
    }

    fn records(&self, data_type: i32) -> Vec<(Header, Vec<u64>)> {
        let topic = self.hub.find(VENUE, SYMBOL, data_type, 0).unwrap();
        let mut cursor = topic.ring().cursor_at_start();
        let (mut record, mut records) = (Vec::new(), Vec::new());
        while let Read::Record = topic.ring().read(&mut cursor, &mut record) {
            records.push((Header::from_words(&record).unwrap(), record[HEADER_WORDS..].to_vec()));
        }
        records
    }
}

fn key(data_type: i32, depth: u16) -> TopicKey {
    TopicKey { venue: VENUE.into(), symbol: SYMBOL.into(), data_type, depth }
}

fn batch(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = Vec::new();
    for message in messages {
        // Field 104, bytes.
        frame.extend([0xc2, 0x06]);
        let mut length = message.len();
        while length > 0x7f {
            frame.push(length as u8 | 0x80);
            length >>= 7;
        }
        frame.push(length as u8);
        frame.extend(message);
    }
    frame
}

fn header(kind: Kind, sequence: u64) -> Header {
    Header {
        kind,
        flags: 0,
        sequence,
        recv_ns: 1_700_000_000_000_000_000 + sequence as i64,
        exchange_ns: 1_699_999_999_999_000_000,
        id: 41 + sequence,
        price_scale: 2,
        quantity_scale: 3,
        bids: 0,
        asks: 0,
    }
}

fn message(header: &Header, body: &[u64]) -> Vec<u8> {
    let data_type = match header.kind {
        Kind::Book => data_type::ORDERBOOK,
        Kind::Quote => data_type::QUOTES,
        _ => data_type::TRADES,
    };
    let mut words = header.to_words(HEADER_WORDS + body.len()).to_vec();
    words.extend(body);
    let mut out = Vec::new();
    assert!(Encoder::new(VENUE, SYMBOL, data_type, "raven").encode(&words, 0, &mut out));
    out
}

fn trade(sequence: u64) -> Vec<u8> {
    message(&header(Kind::Trade, sequence), &[6_100_050, 25, sequence % 2, 0, 0])
}

fn mark(sequence: u64, count: u64, reason: GapReason) -> Vec<u8> {
    let mut body = [0; gap::WORDS];
    body[gap::DATA_TYPE] = data_type::TRADES as u64;
    body[gap::COUNT] = count;
    body[gap::REASON] = reason as u64;
    message(&Header { flags: flags::AFTER_GAP, id: 0, ..header(Kind::Gap, sequence) }, &body)
}

fn kinds(records: &[(Header, Vec<u64>)]) -> Vec<(Kind, u64)> {
    let number = |header: &Header, body: &[u64]| if header.kind == Kind::Gap { body[gap::COUNT] } else { header.id };
    records.iter().map(|(header, body)| (header.kind, number(header, body))).collect()
}

/// What two records say, whatever their scales and their sequences.
fn assert_same(ours: &(Header, Vec<u64>), theirs: &(Header, Vec<u64>), prices: &[usize], quantities: &[usize]) {
    let plain = |header: &Header| Header { sequence: 0, price_scale: 0, quantity_scale: 0, ..*header };
    assert_eq!(plain(&ours.0), plain(&theirs.0));
    assert_eq!(ours.1.len(), theirs.1.len());
    let same = |ours: u64, scale: u8, theirs: u64, their_scale: u8| {
        i128::from(ours as i64) * 10i128.pow(their_scale.into()) == i128::from(theirs as i64) * 10i128.pow(scale.into())
    };
    for (at, (one, other)) in ours.1.iter().zip(&theirs.1).enumerate() {
        let (scale, their_scale) = match at {
            _ if prices.contains(&at) => (ours.0.price_scale, theirs.0.price_scale),
            _ if quantities.contains(&at) => (ours.0.quantity_scale, theirs.0.quantity_scale),
            _ => (0, 0),
        };
        assert!(same(*one, scale, *other, their_scale), "word {at}: {ours:?} {theirs:?}");
    }
}

// --- records ---------------------------------------------------------------------------------------------------------

/// Up to 15 digits: what a double holds and what exchanges send.
fn decimal() -> impl Strategy<Value = i64> {
    (0u32..50).prop_flat_map(|bits| 0i64..=999_999_999_999_999 >> bits)
}

prop_compose! {
    fn any_header(kind: Kind)(
        flags in prop::sample::select(vec![0, flags::STALE, flags::AFTER_GAP, flags::BACKFILLED, flags::RESYNCING]),
        recv_ns in 1i64.., exchange_ns in 0i64.., id in any::<u64>(), price_scale in 0u8..=12, quantity_scale in 0u8..=12,
    ) -> Header {
        Header { flags, recv_ns, exchange_ns, id, price_scale, quantity_scale, ..header(kind, 1) }
    }
}

proptest! {
    #[test]
    fn any_trade_comes_as_it_was(
        head in any_header(Kind::Trade), price in decimal(), quantity in decimal(), sells: bool, fills in any::<(u64, u64)>()
    ) {
        let body = vec![price as u64, quantity as u64, sells.into(), fills.0, fills.1];
        let heard = Rig::hearing(data_type::TRADES, 0).take(data_type::TRADES, &[message(&head, &body)]);
        assert_same(&heard[0], &(head, body), &[0], &[1]);
    }

    #[test]
    fn any_quote_comes_as_it_was(head in any_header(Kind::Quote), words in prop::array::uniform4(decimal())) {
        let body = words.map(|word| word as u64).to_vec();
        let heard = Rig::hearing(data_type::QUOTES, 0).take(data_type::QUOTES, &[message(&head, &body)]);
        assert_same(&heard[0], &(head, body), &[0, 2], &[1, 3]);
    }

    #[test]
    fn any_book_comes_as_it_was(
        head in any_header(Kind::Book),
        bids in prop::collection::vec((decimal(), decimal()), 0..30),
        asks in prop::collection::vec((decimal(), decimal()), 0..30),
        unproven in (0u64..3, 0u64..3),
    ) {
        let head = Header { bids: bids.len() as u16, asks: asks.len() as u16, ..head };
        let proven = |levels: &[(i64, i64)], unproven: u64| (levels.len() as u64).saturating_sub(unproven);
        let mut body = vec![proven(&bids, unproven.0) | proven(&asks, unproven.1) << 32];
        body.extend(bids.iter().chain(&asks).flat_map(|level| [level.0 as u64, level.1 as u64]));
        let heard = Rig::hearing(data_type::ORDERBOOK, 100).take(data_type::ORDERBOOK, &[message(&head, &body)]);
        let prices: Vec<_> = (1..body.len()).step_by(2).collect();
        let quantities: Vec<_> = (2..body.len()).step_by(2).collect();
        assert_same(&heard[0], &(head, body), &prices, &quantities);
    }

    #[test]
    fn any_gap_comes_as_it_was(
        head in any_header(Kind::Gap), count in 0u64..u64::MAX / 2, ids in any::<(u64, u64)>(), reason in 1u64..=6, repaired: bool
    ) {
        let mut body = vec![0; gap::WORDS];
        body[gap::DATA_TYPE] = data_type::TRADES as u64;
        body[gap::COUNT] = count;
        body[gap::FIRST_ID] = ids.0;
        body[gap::LAST_ID] = ids.1;
        body[gap::REASON] = reason;
        body[gap::REPAIRED] = repaired.into();
        // A gap has the id of its last event.
        let head = Header { id: ids.1, ..head };
        let heard = Rig::hearing(data_type::TRADES, 0).take(data_type::TRADES, &[message(&head, &body)]);
        assert_same(&heard[0], &(head, body), &[], &[]);
    }

    /// Bytes are what another process says: anything. A frame of messages that were damaged goes deeper than noise.
    #[test]
    fn no_bytes_make_more_than_a_count(
        noise in prop::collection::vec(any::<u8>(), 0..300), damage in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6)
    ) {
        let mut rig = Rig::hearing(data_type::TRADES, 0);
        rig.inlet.open(key(data_type::ORDERBOOK, 5), 4096).unwrap();
        rig.inlet.open(key(data_type::QUOTES, 0), 4096).unwrap();
        rig.inlet.on_frame(7, &noise);
        let book = message(&Header { bids: 1, asks: 1, ..header(Kind::Book, 3) }, &[1 | 1 << 32, 100, 5, 101, 7]);
        let quote = message(&header(Kind::Quote, 4), &[100, 5, 101, 7]);
        let mut frame = batch(&[trade(1), mark(2, 1, GapReason::VenueGap), book, quote, bar_message(&Spec::new(BarKind::Vpin, &[1.0, 2.0]))]);
        for (at, byte) in damage {
            let at = at % frame.len();
            frame[at] = byte;
        }
        rig.inlet.on_frame(7, &frame);
        let counted = rig.inlet.counters();
        prop_assert!(counted.records + counted.broken + counted.unasked + counted.duplicates <= 400, "{counted:?}");
    }

    /// Whatever order sequences come in: none twice, none out of order, and what is missing is counted.
    #[test]
    fn sequences_rise_and_what_is_missing_is_counted(steps in prop::collection::vec(0u64..5, 1..60)) {
        let mut rig = Rig::hearing(data_type::TRADES, 0);
        let mut sequence = 1;
        let mut messages = vec![trade(1)];
        for step in steps {
            sequence = (sequence + step).saturating_sub(1).max(1);
            messages.push(trade(sequence));
        }
        let heard = rig.take(data_type::TRADES, &messages);
        let ids: Vec<_> = heard.iter().filter(|one| one.0.kind == Kind::Trade).map(|one| one.0.id).collect();
        let missing: u64 = heard.iter().filter(|one| one.0.kind == Kind::Gap).map(|one| one.1[gap::COUNT]).sum();
        prop_assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
        prop_assert_eq!(ids.len() as u64 + missing, ids[ids.len() - 1] - ids[0] + 1);
    }
}

#[test]
fn a_candle_of_the_venue_comes_as_it_was() {
    let mut body = vec![0; candle::WORDS];
    for (at, word) in [
        (candle::OPEN_TIME_MS, 1_700_000_000_000),
        (candle::INTERVAL_S, 300),
        (candle::OPEN, 1_001),
        (candle::HIGH, 1_100),
        (candle::LOW, 990),
        (candle::CLOSE, 1_050),
        (candle::VOLUME, 12_345),
        (candle::TICKS, 9),
        (candle::BUY_VOLUME, 2_345),
        (candle::CLOSED, 1),
    ] {
        body[at] = word;
    }
    let head = Header { id: 1_700_000_000_000, ..header(Kind::Candle, 1) };
    let heard = Rig::hearing(data_type::CANDLES_5M, 0).take(data_type::CANDLES_5M, &[message(&head, &body)]);
    let prices = [candle::OPEN, candle::HIGH, candle::LOW, candle::CLOSE];
    assert_same(&heard[0], &(head, body), &prices, &[candle::VOLUME, candle::BUY_VOLUME]);
}

#[test]
fn a_funding_rate_comes_in_its_scale() {
    let mut body = vec![0; funding::WORDS];
    body[funding::RATE] = -12_345i64 as u64;
    body[funding::NEXT_FUNDING_MS] = 1_700_000_000_000;
    body[funding::MARK_PRICE] = 6_100_012_345_678;
    body[funding::INDEX_PRICE] = 6_100_000_000_000;
    body[funding::SETTLE_PRICE] = 6_100_500_000_001;
    let head = header(Kind::Funding, 1);
    let head = Header { id: (head.exchange_ns / 1_000_000) as u64, ..head };
    let heard = Rig::hearing(data_type::FUNDING_RATES, 0).take(data_type::FUNDING_RATES, &[message(&head, &body)]);
    assert_same(&heard[0], &(head, body), &[], &[]);
}

fn bar_words(spec: &Spec) -> Vec<u64> {
    let mut body = vec![0; bar::WORDS];
    for (at, word) in [
        (bar::OPEN_TIME_MS, 1_700_000_000_000),
        (bar::CLOSE_TIME_MS, 1_700_000_059_999),
        (bar::OPEN, 6_100_050),
        (bar::HIGH, 6_100_060),
        (bar::LOW, 6_100_040),
        (bar::CLOSE, 6_100_051),
        (bar::VOLUME, 1_234_567),
        (bar::BUY_VOLUME, 234_567),
        (bar::QUOTE_VOLUME, u64::MAX - 3),
        (bar::QUOTE_VOLUME + 1, 5),
        (bar::BUY_TICKS, 12),
        (bar::SELL_TICKS, 13),
        (bar::THETA, (-1.5f64).to_bits()),
        (bar::THRESHOLD, 0.1f64.to_bits()),
        (bar::FIRST_TRADE_ID, 17),
        (bar::LAST_TRADE_ID, 42),
        (bar::GAP_COUNT, 3),
        (bar::QUALITY, bar::WARMING_UP | 2 << 32),
    ] {
        body[at] = word;
    }
    body[bar::RULE..].copy_from_slice(&spec.to_words());
    body
}

fn bar_message(spec: &Spec) -> Vec<u8> {
    message(&header(Kind::Bar, 1), &bar_words(spec))
}

#[test]
fn a_bar_of_every_kind_comes_word_for_word() {
    for kind in BarKind::ALL {
        let spec = Spec::new(kind, &[60.0, 0.5, 0.25]);
        let mut rig = Rig::hearing(spec.data_type(), 0);
        let heard = rig.take(spec.data_type(), &[bar_message(&spec)]);
        let expected = Header { sequence: 1, ..header(Kind::Bar, 1) };
        assert_eq!(heard, [(expected, bar_words(&spec))], "{kind:?}");
    }
}

#[test]
fn a_message_without_our_fields_has_the_time_of_the_exchange() {
    // A trade as another implementation of the contract sends it: no receive time, no sequence.
    let mut trade = Vec::new();
    trade.extend(b"\x0a\x07BTCUSDT");
    trade.extend([0x10, 0xe8, 0x07]);
    trade.push(3 << 3 | 1);
    trade.extend(61_000.5f64.to_le_bytes());
    trade.push(4 << 3 | 1);
    trade.extend(0.25f64.to_le_bytes());
    trade.extend(b"\x2a\x04sell\x32\x0212");
    let mut message = vec![0x12, trade.len() as u8];
    message.extend(&trade);
    message.extend(b"\x3a\x0fbinance_futures");

    let mut rig = Rig::hearing(data_type::TRADES, 0);
    assert_eq!(rig.inlet.on_frame(7, &message), 1, "alone in its frame");
    let (head, body) = &rig.records(data_type::TRADES)[0];

    assert_eq!((head.exchange_ns, head.recv_ns, head.id), (1_000_000_000, 0, 12));
    assert_eq!(to_double(body[0] as i64, head.price_scale), 61_000.5);
    assert_eq!((to_double(body[1] as i64, head.quantity_scale), body[2]), (0.25, 1));
}

// --- what is missing -------------------------------------------------------------------------------------------------

#[test]
fn a_hole_is_a_gap_and_what_follows_it_is_flagged() {
    let mut rig = Rig::hearing(data_type::TRADES, 0);
    let heard = rig.take(data_type::TRADES, &[trade(5), trade(6), trade(9), trade(10)]);

    assert_eq!(
        kinds(&heard),
        [(Kind::Trade, 46), (Kind::Trade, 47), (Kind::Gap, 2), (Kind::Trade, 50), (Kind::Trade, 51)]
    );
    assert_eq!(heard[2].1[gap::REASON], GapReason::Upstream as u64);
    let flagged: Vec<_> = heard.iter().map(|one| one.0.flags & flags::AFTER_GAP != 0).collect();
    assert_eq!(flagged, [false, false, true, true, false]);
    let counted = rig.inlet.counters();
    assert_eq!((counted.records, counted.gaps, counted.missing), (4, 1, 2));
}

#[test]
fn states_that_were_skipped_on_purpose_are_no_loss() {
    let quote = |sequence| message(&header(Kind::Quote, sequence), &[100, 5, 101, 7]);
    let mut skipped = quote(9);
    put_flags(&mut skipped, flags::SKIPPED);
    let heard = Rig::hearing(data_type::QUOTES, 0).take(data_type::QUOTES, &[quote(1), skipped, quote(10)]);

    assert_eq!(kinds(&heard), [(Kind::Quote, 42), (Kind::Quote, 50), (Kind::Quote, 51)]);
}

#[test]
fn a_mark_of_the_server_stands_for_what_it_lost_and_no_more() {
    let mut rig = Rig::hearing(data_type::TRADES, 0);
    // 2 to 4 are lost on the way, 5 to 8 by the server, which says so.
    let heard = rig.take(data_type::TRADES, &[trade(1), mark(8, 4, GapReason::SlowReader), trade(9), trade(10)]);

    assert_eq!(
        kinds(&heard),
        [(Kind::Trade, 42), (Kind::Gap, 3), (Kind::Gap, 4), (Kind::Trade, 50), (Kind::Trade, 51)]
    );
    let flagged: Vec<_> = heard.iter().map(|one| one.0.flags & flags::AFTER_GAP != 0).collect();
    assert_eq!(flagged, [false, true, true, true, false]);
}

#[test]
fn another_life_begins_behind_its_mark() {
    let mut rig = Rig::hearing(data_type::TRADES, 0);
    let lives = [trade(100), mark(0, 0, GapReason::Upstream), trade(1), trade(2), trade(2)];
    let heard = rig.take(data_type::TRADES, &lives);

    assert_eq!(kinds(&heard), [(Kind::Trade, 141), (Kind::Gap, 0), (Kind::Trade, 42), (Kind::Trade, 43)]);
    assert_eq!(rig.inlet.counters().duplicates, 1);
    assert_eq!(rig.inlet.position(VENUE, SYMBOL, data_type::TRADES), Some((2, header(Kind::Trade, 2).recv_ns)));
}

#[test]
fn what_nobody_knows_is_a_mark_and_anything_may_follow() {
    let mut rig = Rig::hearing(data_type::TRADES, 0);
    rig.take(data_type::TRADES, &[trade(100)]);
    assert!(rig.inlet.mark_unknown(VENUE, SYMBOL, data_type::TRADES, 9));
    assert_eq!(rig.inlet.position(VENUE, SYMBOL, data_type::TRADES), Some((0, 0)));
    rig.take(data_type::TRADES, &[trade(50)]);

    let heard = rig.records(data_type::TRADES);
    assert_eq!(kinds(&heard), [(Kind::Trade, 141), (Kind::Gap, 0), (Kind::Trade, 91)]);
    assert!(!rig.inlet.mark_unknown(VENUE, "NOPE", data_type::TRADES, 9));
}

#[test]
fn a_message_that_cannot_be_kept_leaves_a_gap_in_its_place() {
    let mut rig = Rig::hearing(data_type::TRADES, 0);
    // No record holds so small a price and so large a one in one scale.
    let tiny = message(&Header { price_scale: 25, ..header(Kind::Trade, 2) }, &[1, 1, 0, 0, 0]);
    let heard = rig.take(data_type::TRADES, &[trade(1), tiny, trade(3)]);

    assert_eq!(kinds(&heard), [(Kind::Trade, 42), (Kind::Gap, 1), (Kind::Trade, 44)]);
    assert_eq!(rig.inlet.counters().broken, 1);
}

#[test]
fn a_frame_that_breaks_off_is_worth_what_came_before() {
    let mut rig = Rig::hearing(data_type::TRADES, 0);
    let frame = batch(&[trade(1), trade(2)]);
    rig.inlet.on_frame(7, &frame[..frame.len() - 3]);

    assert_eq!(kinds(&rig.records(data_type::TRADES)), [(Kind::Trade, 42)]);
    assert_eq!(rig.inlet.counters().broken, 1);
    assert_eq!(rig.inlet.position(VENUE, SYMBOL, data_type::TRADES), Some((1, header(Kind::Trade, 1).recv_ns)));
}

// --- topics ----------------------------------------------------------------------------------------------------------

#[test]
fn a_book_goes_to_every_depth_that_was_asked_for() {
    let mut rig = Rig::hearing(data_type::ORDERBOOK, 2);
    let shallow = rig.inlet.open(key(data_type::ORDERBOOK, 1), 4096).unwrap();
    let deep = rig.inlet.open(key(data_type::ORDERBOOK, 3), 4096).unwrap();
    let first = rig.hub.find(VENUE, SYMBOL, data_type::ORDERBOOK, 2).unwrap().id();
    assert_eq!(shallow, first, "the two levels that are there will do");
    assert_ne!(deep, first);

    let levels: Vec<u64> = (0..4).flat_map(|n| [1_000 - n, 5]).chain((0..3).flat_map(|n| [1_001 + n, 6])).collect();
    let body = [vec![4 | 3 << 32], levels].concat();
    rig.inlet.on_frame(7, &message(&Header { bids: 4, asks: 3, ..header(Kind::Book, 1) }, &body));

    for (id, depth) in [(first, 2), (deep, 3)] {
        let mut record = Vec::new();
        let topic = rig.hub.topic(id).unwrap();
        topic.ring().read(&mut topic.ring().cursor_at_start(), &mut record);
        let head = Header::from_words(&record).unwrap();
        assert_eq!((head.bids, head.asks), (depth, depth));
        assert_eq!(record[HEADER_WORDS], u64::from(depth) | u64::from(depth) << 32);
        assert_eq!(record.len(), HEADER_WORDS + 1 + 4 * usize::from(depth));
    }
}

#[test]
fn topics_that_nobody_opened_or_that_were_closed_are_counted_and_dropped() {
    let mut rig = Rig::hearing(data_type::TRADES, 0);
    let topic = rig.hub.find(VENUE, SYMBOL, data_type::TRADES, 0).unwrap();
    assert!(rig.inlet.close(VENUE, SYMBOL, data_type::TRADES));
    assert!(!rig.inlet.close(VENUE, SYMBOL, data_type::TRADES));
    assert!(topic.is_ended());

    assert_eq!(rig.inlet.on_frame(7, &batch(&[trade(1)])), 0);
    assert_eq!(rig.inlet.counters().unasked, 1);
    assert_eq!(rig.inlet.position(VENUE, SYMBOL, data_type::TRADES), None);
}
