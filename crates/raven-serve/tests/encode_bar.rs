//! A bar on the wire against the generated types: field by field, and the record itself.

mod support;

use prost::Message;
use raven_core::bars::spec::{BarKind, Spec};
use raven_core::bars::{Bar, Trade};
use raven_core::encode::Encoder;
use raven_core::record::{bar, flags, Header, Kind};
use raven_serve::raven::market_data_message::Data;
use raven_serve::raven::{Candle, MarketDataMessage};
use support::header;

const OPEN_MS: i64 = 1_700_000_000_100;

/// Three trades, the second of them sold; prices have two decimals, quantities three.
fn made() -> Bar {
    let mut bar = Bar { first_id: 17, ..Bar::empty(4, OPEN_MS, 6_100_050) };
    for (at, price, quantity, sells) in
        [(0, 6_100_050, 1_500, false), (40, 6_100_000, 250, true), (90, 6_100_060, 250, false)]
    {
        let trade = Trade { time_ms: OPEN_MS + at, price, quantity, sells, id: 17 + at as u64 };
        bar.add(&trade, quantity, sells, false);
    }
    Bar { theta: 1.0, threshold: 0.75, ..bar }
}

fn decode(spec: &Spec, made: &Bar, flags: u32) -> (MarketDataMessage, Vec<u8>) {
    let mut body = made.to_words().to_vec();
    body.extend(spec.to_words());
    let exchange_ns = made.close_ms * 1_000_000;
    let header = Header { sequence: 42, flags, exchange_ns, ..header(Kind::Bar, made.last_id) };
    let mut words = header.to_words(6 + body.len()).to_vec();
    words.extend(&body);
    let mut out = Vec::new();
    let encoder = Encoder::new("binance_futures", "BTCUSDT", spec.data_type(), "raven_tibs");
    assert!(encoder.encode(&words, 0, &mut out));
    (MarketDataMessage::decode(&out[..]).unwrap(), body.iter().flat_map(|word| word.to_le_bytes()).collect())
}

fn candle(spec: &Spec, made: &Bar) -> Candle {
    let (message, _) = decode(spec, made, 0);
    let Some(Data::Candle(candle)) = message.data else { panic!("{message:?}") };
    candle
}

#[test]
fn every_field_of_a_bar_is_on_the_wire() {
    let spec = Spec::new(BarKind::TickImbalance, &[1000.0, 0.7, 0.1, 0.1, 900.0, 1100.0, 1.0, 10.0]);
    let (message, words) = decode(&spec, &made(), flags::BACKFILLED);
    let expected = Candle {
        symbol: "BTCUSDT".into(),
        timestamp: OPEN_MS,
        open: 61000.50,
        high: 61000.60,
        low: 61000.0,
        close: 61000.60,
        volume: 2.0,
        interval: "tick_imbalance_1000_0.7_0.1_0.1_900_1100_1_10".into(),
        buy_ticks: 2,
        sell_ticks: 1,
        total_ticks: 3,
        theta: 1.0,
        close_time: OPEN_MS + 90,
        quote_volume: 122_000.9,
        vwap: 61_000.45,
        buy_volume: 1.75,
        sell_volume: 0.25,
        first_trade_id: 17,
        last_trade_id: 107,
        complete: true,
        gap_count: 0,
        revision: 0,
        config_hash: spec.config_hash(),
        warming_up: false,
        threshold: 0.75,
        words,
    };
    assert_eq!(message.data, Some(Data::Candle(expected)));
    assert_eq!((message.flags, message.sequence), (flags::BACKFILLED, 42));
    assert_eq!(message.exchange_time_ns, (OPEN_MS + 90) * 1_000_000);
    assert_eq!((message.venue.as_str(), message.producer.as_str()), ("binance_futures", "raven_tibs"));
}

#[test]
fn its_words_say_again_what_it_was() {
    for kind in BarKind::ALL {
        let spec = Spec { uses_tick_rule: true, ..Spec::new(kind, &[90.0, 2.0]) };
        let candle = candle(&spec, &made());
        let words: Vec<u64> =
            candle.words.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words.len(), bar::WORDS);
        assert_eq!(Spec::from_words(&words), Some(spec));
        let read = Bar::from_words(&words).unwrap();
        assert_eq!(read.to_words(), made().to_words(), "{kind:?}");
        assert_eq!(candle.interval, spec.label());
    }
}

#[test]
fn what_a_bar_lacks_is_on_the_wire() {
    let spec = Spec::new(BarKind::Time, &[60.0]);
    let holed = candle(&spec, &Bar { gap_count: 3, revision: 2, ..made() });
    assert_eq!((holed.complete, holed.gap_count, holed.revision), (false, 3, 2));
    let cut = candle(&spec, &Bar { is_cut: true, is_warming_up: true, ..made() });
    assert_eq!((cut.complete, cut.gap_count, cut.warming_up), (false, 0, true));
    assert_eq!(cut.interval, "1m");
}

#[test]
fn an_empty_bar_stays_at_its_price() {
    let spec = Spec { keeps_empty: true, ..Spec::new(BarKind::Time, &[1.0]) };
    let candle = candle(&spec, &Bar { close_ms: OPEN_MS + 999, ..Bar::empty(0, OPEN_MS, 6_100_050) });
    assert_eq!((candle.open, candle.close, candle.vwap), (61000.5, 61000.5, 61000.5));
    assert_eq!((candle.volume, candle.quote_volume, candle.total_ticks), (0.0, 0.0, 0));
    assert_eq!((candle.close_time, candle.complete, candle.interval.as_str()), (OPEN_MS + 999, true, "1s_empty"));
}

#[test]
fn a_label_of_many_digits_keeps_the_length_right() {
    let third = 1.0 / 3.0;
    let spec = Spec::new(BarKind::VolumeRun, &[third * 1e-300, third, third, third, third * 1e-300, 1e300, 1.0, 10.0]);
    let candle = candle(&spec, &made());
    assert!(candle.interval.len() > 128, "{}", candle.interval);
    assert_eq!(Spec::from_label(&candle.interval), Some(spec));
}
