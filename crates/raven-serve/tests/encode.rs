//! The hand-written encoder against generated types, kind by kind.

mod support;

use prost::Message;
use raven_core::encode::Encoder;
use raven_core::record::{candle, data_type, flags, funding, gap, GapReason, Header, Kind};
use raven_serve::raven::market_data_message::Data;
use raven_serve::raven::{
    Candle, FundingRate, GapMark, MarketDataMessage, OrderBookSnapshot, PriceLevel, Quote, Trade,
};
use support::header;

fn decode(header: Header, body: &[u64], depth: usize) -> MarketDataMessage {
    let header = Header { sequence: 42, flags: flags::STALE, ..header };
    let mut words = header.to_words(6 + body.len()).to_vec();
    words.extend(body);
    let mut out = vec![9, 9];
    assert!(Encoder::new("binance_futures", "BTCUSDT", data_type::TRADES, "raven").encode(&words, depth, &mut out));
    MarketDataMessage::decode(&out[2..]).unwrap()
}

fn message(data: Data) -> MarketDataMessage {
    MarketDataMessage {
        data: Some(data),
        venue: "binance_futures".into(),
        producer: "raven".into(),
        sequence: 42,
        receive_time_ns: 1_700_000_000_123_456_789,
        flags: flags::STALE,
        batch: vec![],
        exchange_time_ns: 1_700_000_000_100_000_000,
        unproven_bids: 0,
        unproven_asks: 0,
    }
}

const TIMESTAMP: i64 = 1_700_000_000_100;

#[test]
fn a_trade() {
    for (taker_sells, side, first_fill_id, last_fill_id) in [(0, "buy", 0, 0), (1, "sell", 7, u64::MAX)] {
        let expected = Trade {
            symbol: "BTCUSDT".into(),
            timestamp: TIMESTAMP,
            price: 57123.45,
            quantity: 0.003,
            side: side.into(),
            trade_id: "18446744073709551615".into(),
            first_fill_id,
            last_fill_id,
        };
        let body = [5_712_345, 3, taker_sells, first_fill_id, last_fill_id];
        let decoded = decode(header(Kind::Trade, u64::MAX), &body, 0);
        assert_eq!(decoded, message(Data::Trade(expected)));
    }
}

#[test]
fn a_book_and_its_first_levels() {
    // Two of three bids and both asks lie inside the range that a snapshot proved.
    let body = [2 | 2 << 32, 10_000, 1, 9_999, 2, 9_998, 3, 10_001, 4, 10_002, 5];
    let level = |price, quantity| PriceLevel { price, quantity };
    let bids = [level(100.0, 0.001), level(99.99, 0.002), level(99.98, 0.003)];
    let asks = [level(100.01, 0.004), level(100.02, 0.005)];
    for (depth, bid_count, ask_count, unproven_bids) in [(0, 3, 2, 1), (20, 3, 2, 1), (2, 2, 2, 0), (1, 1, 1, 0)] {
        let expected = OrderBookSnapshot {
            symbol: "BTCUSDT".into(),
            timestamp: TIMESTAMP,
            bids: bids[..bid_count].to_vec(),
            asks: asks[..ask_count].to_vec(),
            sequence: 77,
        };
        let decoded = decode(Header { bids: 3, asks: 2, ..header(Kind::Book, 77) }, &body, depth);
        assert_eq!(decoded, MarketDataMessage { unproven_bids, ..message(Data::Orderbook(expected)) });
    }
}

#[test]
fn a_book_of_a_thousand_levels() {
    let mut body = vec![0];
    body.extend((0..4000).map(|at| at + 1));
    let decoded = decode(Header { bids: 1000, asks: 1000, ..header(Kind::Book, 77) }, &body, 0);
    let Some(Data::Orderbook(book)) = decoded.data else { panic!() };
    assert_eq!((book.bids.len(), book.asks.len(), book.sequence), (1000, 1000, 77));
    assert_eq!(book.asks[999], PriceLevel { price: 39.99, quantity: 4.0 });
}

#[test]
fn a_quote_without_exchange_time_is_dated_by_its_arrival() {
    let decoded = decode(Header { exchange_ns: 0, ..header(Kind::Quote, 5) }, &[1, 2, 3, 4], 0);
    let expected = Quote {
        symbol: "BTCUSDT".into(),
        timestamp: 1_700_000_000_123,
        bid_price: 0.01,
        bid_quantity: 0.002,
        ask_price: 0.03,
        ask_quantity: 0.004,
        update_id: 5,
    };
    assert_eq!(decoded, MarketDataMessage { exchange_time_ns: 0, ..message(Data::Quote(expected)) });
}

#[test]
fn a_candle_with_the_name_of_its_interval() {
    for (seconds, interval) in
        [(1, "1s"), (60, "1m"), (300, "5m"), (3600, "1h"), (86_400, "1d"), (604_800, "1w"), (90, "90s")]
    {
        let mut body = [0; candle::WORDS];
        body[candle::OPEN_TIME_MS] = 1_699_999_980_000;
        (body[candle::OPEN], body[candle::HIGH], body[candle::LOW], body[candle::CLOSE]) = (100, 130, 90, 120);
        (body[candle::VOLUME], body[candle::INTERVAL_S], body[candle::TICKS]) = (5000, seconds, 17);
        body[candle::BUY_VOLUME] = 1250;
        let expected = Candle {
            symbol: "BTCUSDT".into(),
            timestamp: 1_699_999_980_000,
            open: 1.0,
            high: 1.3,
            low: 0.9,
            close: 1.2,
            volume: 5.0,
            interval: interval.into(),
            total_ticks: 17,
            buy_volume: 1.25,
            ..Default::default()
        };
        assert_eq!(decode(header(Kind::Candle, 1), &body, 0), message(Data::Candle(expected)));
    }
}

#[test]
fn a_funding_rate_may_be_negative() {
    let mut body = [0; funding::WORDS];
    body[funding::MARK_PRICE] = 5_712_345_000_000;
    body[funding::RATE] = (-10_000_i64) as u64;
    body[funding::NEXT_FUNDING_MS] = 1_700_006_400_000;
    body[funding::SETTLE_PRICE] = 5_712_400_000_000;
    let expected = FundingRate {
        symbol: "BTCUSDT".into(),
        timestamp: TIMESTAMP,
        rate: -0.0001,
        next_funding_time: 1_700_006_400_000,
        mark_price: 57123.45,
        index_price: 0.0,
        settle_price: 57124.0,
    };
    assert_eq!(decode(header(Kind::Funding, 1), &body, 0), message(Data::Funding(expected)));
}

#[test]
fn a_gap_with_the_ids_that_are_known() {
    let mut body = [0; gap::WORDS];
    (body[gap::DATA_TYPE], body[gap::COUNT], body[gap::REASON]) = (1, 300, GapReason::VenueGap as u64);
    (body[gap::FIRST_ID], body[gap::LAST_ID], body[gap::REPAIRED]) = (7, 306, 1);
    let expected = GapMark {
        symbol: "BTCUSDT".into(),
        data_type: 1,
        count: 300,
        first_id: "7".into(),
        last_id: "306".into(),
        reason: "venue_gap".into(),
        timestamp: TIMESTAMP,
        repaired: true,
    };
    assert_eq!(decode(header(Kind::Gap, 1), &body, 0), message(Data::Gap(expected)));
}
