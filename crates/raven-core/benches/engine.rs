//! The engine's parts, one by one: `cargo bench -p raven-core`. The whole on real recordings: `benches/engine.py`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use raven_core::book::Book;
use raven_core::citadel::Policy;
use raven_core::encode::Encoder;
use raven_core::engine::{Engine, EngineConfig};
use raven_core::hub::Hub;
use raven_core::parse::binance;
use raven_core::parse::event::{Level, Scales};
use raven_core::parse::scan::Scanner;
use raven_core::record::{data_type, Header, Kind, HEADER_WORDS};
use raven_core::ring::ring;
use raven_core::sequence::Rule;
use raven_core::store::{Latest, BOOK_WORDS};

const SCALES: Scales = Scales { price: 2, quantity: 3 };
const RECV_NS: i64 = 1_723_161_256_323_000_000;

/// The numbers of these frames are made up; their shape is that of the venue's documentation.
fn quote(id: u64) -> String {
    format!(
        "{{\"stream\":\"btcusdt@bookTicker\",\"data\":{{\"e\":\"bookTicker\",\"u\":{},\"s\":\"BTCUSDT\",\"b\":\"61800.20\",\
         \"B\":\"2.507\",\"a\":\"61800.30\",\"A\":\"2.510\",\"T\":1723161256313,\"E\":1723161256313}}}}",
        5_123_107_839_020 + id
    )
}

fn trade(id: u64) -> String {
    format!(
        "{{\"stream\":\"btcusdt@trade\",\"data\":{{\"e\":\"trade\",\"E\":1723161256322,\"T\":1723161256322,\"s\":\"BTCUSDT\",\
         \"t\":{},\"p\":\"61800.30\",\"q\":\"0.006\",\"X\":\"MARKET\",\"m\":false}}}}",
        5_266_583_935 + id
    )
}

/// A diff of 34 levels a side, scattered within 1,000 ticks of the touch; every fourth removes.
fn diff(number: u64) -> String {
    let side = |from: i64, step: i64| {
        let level = |at: i64| {
            let offset = (at * 29 + number as i64 * 17) % 1_000;
            let price = from + step * offset;
            let quantity = if (at + number as i64) % 4 == 0 { 0 } else { 1 + at };
            format!("[\"{}.{}0\",\"{quantity}.250\"]", price / 10, price % 10)
        };
        (0..34).map(level).collect::<Vec<_>>().join(",").replace("\"0.250\"", "\"0.000\"")
    };
    let first = 10 * number + 11;
    format!(
        "{{\"stream\":\"btcusdt@depth@0ms\",\"data\":{{\"e\":\"depthUpdate\",\"E\":1723161256299,\"T\":1723161256298,\
         \"s\":\"BTCUSDT\",\"U\":{first},\"u\":{},\"pu\":{},\"b\":[{}],\"a\":[{}]}}}}",
        first + 9,
        first - 1,
        side(618_002, -1),
        side(618_003, 1)
    )
}

fn snapshot() -> String {
    let side = |from: i64, step: i64| {
        let level = |at: i64| format!("[\"{}.{}0\",\"1.500\"]", (from + step * at) / 10, (from + step * at) % 10);
        (0..1000).map(level).collect::<Vec<_>>().join(",")
    };
    format!("{{\"lastUpdateId\":10,\"bids\":[{}],\"asks\":[{}]}}", side(618_002, -1), side(618_003, 1))
}

fn engine() -> (Engine, u32, u32) {
    let mut engine = Engine::new(Hub::new(), EngineConfig::default());
    let venue = engine.add_venue("bench", Rule::Futures);
    let instrument = engine.add_instrument(venue, "BTCUSDT", SCALES, 1 << 18, true).expect("added");
    let connection = engine.open_connection(venue).expect("known");
    engine.on_snapshot(instrument, RECV_NS, snapshot().as_bytes(), 1000);
    (engine, instrument, connection)
}

/// The whole way of small frames and of one diff, published included.
fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    for (name, make) in [("bookTicker", quote as fn(u64) -> String), ("trade", trade), ("diff of 68 levels", diff)] {
        let frames: Vec<String> = (0..1_000).map(make).collect();
        let run = |(mut engine, _, connection): (Engine, u32, u32)| {
            for frame in &frames {
                black_box(engine.on_frame(connection, RECV_NS, frame.as_bytes()));
            }
            engine
        };
        group.throughput(criterion::Throughput::Elements(1_000));
        group.bench_function(name, |b| b.iter_batched(engine, run, BatchSize::PerIteration));
    }
    group.finish();
}

/// Decoding alone, and validation of what was decoded.
fn parse(c: &mut Criterion) {
    let event = |frame: String| frame[frame.find("\"data\":").expect("combined") + 7..frame.len() - 1].to_string();
    let (quote, trade, diff) = (event(quote(1)), event(trade(1)), event(diff(1)));
    let policy = Policy::default();
    c.bench_function("parse and check the time of a bookTicker", |b| {
        b.iter(|| {
            let ticker = binance::book_ticker(&mut Scanner::new(black_box(quote.as_bytes()), 0), |_| Some(SCALES));
            ticker.map(|ticker| policy.time_ns(ticker.time_ms, RECV_NS))
        });
    });
    c.bench_function("parse and check the time of a trade", |b| {
        b.iter(|| {
            let trade = binance::trade(&mut Scanner::new(black_box(trade.as_bytes()), 0), false, |_| Some(SCALES));
            trade.map(|trade| policy.time_ns(trade.trade_ms, RECV_NS))
        });
    });
    let (mut bids, mut asks) = (Vec::new(), Vec::new());
    c.bench_function("parse a diff of 68 levels", |b| {
        b.iter(|| {
            let mut scanner = Scanner::new(black_box(diff.as_bytes()), 0);
            binance::depth(&mut scanner, &mut bids, &mut asks, |_| Some(SCALES))
        });
    });
}

fn store(c: &mut Criterion) {
    let latest = Latest::default();
    let words = [7u64; BOOK_WORDS];
    c.bench_function("store update of a quote", |b| b.iter(|| latest.quote.write(black_box(&words[..5]))));
    c.bench_function("store update of a trade", |b| b.iter(|| latest.trade.write(black_box(&words[..5]))));
    c.bench_function("store update of a top-20 book", |b| b.iter(|| latest.book.write(black_box(&words))));
    c.bench_function("store read of a top-20 book", |b| b.iter(|| black_box(latest.book.read())));
    let (engine, instrument, _) = engine();
    let instrument = engine.instrument(instrument).expect("there");
    let mut out = Vec::new();
    c.bench_function("snapshot capture", |b| {
        b.iter(|| {
            out.clear();
            instrument.write_snapshot(&mut out);
            black_box(out.len())
        });
    });
}

fn book(c: &mut Criterion) {
    let (mut bids, mut asks) = (Vec::new(), Vec::new());
    let body = snapshot();
    let read = binance::snapshot(&mut Scanner::new(body.as_bytes(), 0), SCALES, &mut bids, &mut asks);
    assert!(read.is_ok());
    let mut book = Book::new(SCALES);
    book.load(10, &bids, &asks, 1000);
    let changes: Vec<Level> =
        (0..34).map(|at| Level { price: 6_180_020 - 10 * ((at * 29) % 1_000), quantity: 1 + at }).collect();
    c.bench_function("apply 34 known levels", |b| b.iter(|| book.apply(11, black_box(&changes), &[])));
    let mut words = Vec::new();
    c.bench_function("write the top 20 as a record", |b| {
        b.iter(|| {
            words.clear();
            black_box(book.write_record(20, &mut words))
        });
    });
}

fn header(kind: Kind, levels: u16) -> Header {
    let (price_scale, quantity_scale) = (SCALES.price, SCALES.quantity);
    Header {
        kind,
        flags: 0,
        sequence: 0,
        recv_ns: RECV_NS,
        exchange_ns: RECV_NS,
        id: 5_266_583_935,
        price_scale,
        quantity_scale,
        bids: levels,
        asks: levels,
    }
}

fn encode(c: &mut Criterion) {
    let mut out = Vec::new();
    for (name, kind, levels, body) in [
        ("encode a trade", Kind::Trade, 0, vec![6_180_030, 6, 1, 0, 0]),
        ("encode a top-20 book", Kind::Book, 20, [vec![20 | 20 << 32], vec![6_180_030; 80]].concat()),
    ] {
        let mut words = header(kind, levels).to_words(HEADER_WORDS + body.len()).to_vec();
        words.extend(body);
        let encoder = Encoder::new("binance_futures", "BTCUSDT", data_type::TRADES, "raven");
        c.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                black_box(encoder.encode(black_box(&words), 0, &mut out))
            });
        });
    }
}

fn rings(c: &mut Criterion) {
    let (mut writer, ring) = ring(1 << 14);
    let head = header(Kind::Trade, 0);
    c.bench_function("ring publish of a trade", |b| b.iter(|| writer.publish(&head, black_box(&[1, 2, 3, 4, 5]))));
    let (mut cursor, mut out) = (ring.cursor_at_end(), Vec::new());
    c.bench_function("ring publish and read of a trade", |b| {
        b.iter(|| {
            writer.publish(&head, black_box(&[1, 2, 3, 4, 5]));
            ring.read(&mut cursor, &mut out)
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for bench in [frames, parse, store, book, encode, rings] {
        bench(&mut criterion);
    }
    criterion.final_summary();
}
