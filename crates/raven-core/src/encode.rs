//! Records as protobuf: what a subscriber receives, written by hand because it is the same few fields every time.
//!
//! The names and numbers are those of `proto/market_data.proto`; `raven-serve` checks every kind against generated
//! types. Lengths are computed before anything is written, so a message is one pass over its words. Nothing is
//! allocated once `out` is large enough.
//!
//! Here, and only here, integers become doubles. The double is the one nearest to the decimal text, the same that
//! Python's `float` or Rust's `parse` gives: below 2^53 the mantissa is exact, up to 10^22 the power of ten is exact,
//! and one division of exact operands rounds correctly; whatever is larger goes through the text.

use crate::bars::{vwap, Bar, Spec};
use crate::parse::decimal::MAX_SCALE;
use crate::record::{bar, candle, flags, funding, gap, GapReason, Header, Kind, HEADER_WORDS};

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// Integers up to here are exact doubles.
const EXACT_MANTISSA: u64 = 1 << 53;

/// `mantissa / 10^scale` as the nearest double.
pub fn to_double(mantissa: i64, scale: u8) -> f64 {
    match EXACT_POWERS.get(scale as usize) {
        Some(power) if mantissa.unsigned_abs() <= EXACT_MANTISSA => mantissa as f64 / power,
        _ => through_text(mantissa, scale),
    }
}

/// `mantissa / 10^scale` as the nearest double, for sums that need more than 64 bits.
pub fn big_to_double(mantissa: i128, scale: u8) -> f64 {
    match i64::try_from(mantissa) {
        Ok(mantissa) => to_double(mantissa, scale),
        Err(_) => format!("{mantissa}e-{scale}").parse().unwrap_or(f64::NAN),
    }
}

/// The slow way: write the decimal and let the parser of the standard library round it.
#[cold]
fn through_text(mantissa: i64, scale: u8) -> f64 {
    use std::io::Write;
    // A sign, 19 digits, "e-" and three digits.
    let mut text = [0u8; 32];
    let mut rest = &mut text[..];
    let is_written = write!(rest, "{mantissa}e-{scale}").is_ok();
    let unused = rest.len();
    let text = &text[..32 - unused];
    debug_assert!(is_written, "32 bytes hold every such decimal");
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

/// A topic's encoder; keeps the fields that never change ready.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// Field 1 of every payload: the symbol.
    symbol: Vec<u8>,
    /// Fields 7 and 8 of every message: venue and producer.
    origin: Vec<u8>,
    data_type: i32,
}

impl Encoder {
    /// An encoder for one topic; `producer` names this server, empty to leave it out.
    pub fn new(venue: &str, symbol: &str, data_type: i32, producer: &str) -> Self {
        let (mut symbol_field, mut origin) = (Vec::new(), Vec::new());
        put_text(&mut symbol_field, 1, symbol.as_bytes());
        put_text(&mut origin, 7, venue.as_bytes());
        put_text(&mut origin, 8, producer.as_bytes());
        Self { symbol: symbol_field, origin, data_type }
    }

    /// Append a record's words as one serialized `MarketDataMessage`.
    ///
    /// `depth` cuts books to the first levels of each side, 0 keeps all. False, and nothing appended, when the words
    /// are no record or its kind has no message in this dialect (liquidations).
    pub fn encode(&self, words: &[u64], depth: usize, out: &mut Vec<u8>) -> bool {
        let Some(header) = Header::from_words(words) else { return false };
        let body = &words[HEADER_WORDS..];
        let is_written = match header.kind {
            Kind::Trade if body.len() >= 5 => self.trade(&header, body, out),
            Kind::Book => self.book(&header, body, depth, out),
            Kind::Quote if body.len() >= 4 => self.quote(&header, body, out),
            Kind::Candle if body.len() >= candle::WORDS => self.candle(&header, body, out),
            Kind::Bar if body.len() >= bar::WORDS => self.bar(&header, body, out),
            Kind::Funding if body.len() >= funding::WORDS => self.funding(&header, body, out),
            Kind::Gap if body.len() >= gap::WORDS => self.gap(&header, body, out),
            _ => false,
        };
        if is_written {
            self.put_origin(&header, out);
            if header.kind == Kind::Book {
                put_unproven(&header, body, depth, out);
            }
        }
        is_written
    }

    /// Append the mark for records that a reader was too slow to get: `count` of them, the last with `sequence`.
    pub fn encode_slow_reader(&self, count: u64, sequence: u64, now_ns: i64, out: &mut Vec<u8>) {
        let header = Header {
            kind: Kind::Gap,
            flags: flags::AFTER_GAP,
            sequence,
            recv_ns: now_ns,
            exchange_ns: 0,
            id: 0,
            price_scale: 0,
            quantity_scale: 0,
            bids: 0,
            asks: 0,
        };
        let mut body = [0; gap::WORDS];
        body[gap::DATA_TYPE] = self.data_type as u64;
        body[gap::COUNT] = count;
        body[gap::REASON] = GapReason::SlowReader as u64;
        self.gap(&header, &body, out);
        self.put_origin(&header, out);
    }

    fn trade(&self, header: &Header, body: &[u64], out: &mut Vec<u8>) -> bool {
        let mut digits = [0; 20];
        let id = decimal(header.id, &mut digits);
        let side: &[u8] = if body[2] != 0 { b"sell" } else { b"buy" };
        let timestamp = timestamp_ms(header);
        let fills = wide_int_len(body[3]) + wide_int_len(body[4]);
        let length = self.symbol.len() + int_len(timestamp) + 9 + 9 + 2 + side.len() + 2 + id.len() + fills;
        put_length(out, 2, length);
        out.extend_from_slice(&self.symbol);
        put_int(out, 2, timestamp);
        put_double(out, 3, to_double(body[0] as i64, header.price_scale));
        put_double(out, 4, to_double(body[1] as i64, header.quantity_scale));
        put_text(out, 5, side);
        put_text(out, 6, id);
        put_int(out, 101, body[3]);
        put_int(out, 102, body[4]);
        true
    }

    fn book(&self, header: &Header, body: &[u64], depth: usize, out: &mut Vec<u8>) -> bool {
        let (bids, asks) = (header.bids as usize, header.asks as usize);
        if body.len() < 1 + 2 * (bids + asks) {
            return false;
        }
        let cut = if depth == 0 { usize::MAX } else { depth };
        let bid_words = &body[1..1 + 2 * bids.min(cut)];
        let ask_words = &body[1 + 2 * bids..][..2 * asks.min(cut)];
        let timestamp = timestamp_ms(header);
        let levels = (bid_words.len() + ask_words.len()) / 2;
        let length = self.symbol.len() + int_len(timestamp) + LEVEL_BYTES * levels + int_len(header.id);
        out.reserve(length + 64);
        put_length(out, 1, length);
        out.extend_from_slice(&self.symbol);
        put_int(out, 2, timestamp);
        put_levels(out, 3, bid_words, header);
        put_levels(out, 4, ask_words, header);
        put_int(out, 5, header.id);
        true
    }

    fn quote(&self, header: &Header, body: &[u64], out: &mut Vec<u8>) -> bool {
        let timestamp = timestamp_ms(header);
        put_length(out, 105, self.symbol.len() + int_len(timestamp) + 4 * 9 + int_len(header.id));
        out.extend_from_slice(&self.symbol);
        put_int(out, 2, timestamp);
        for (at, word) in body[..4].iter().enumerate() {
            let scale = if at % 2 == 0 { header.price_scale } else { header.quantity_scale };
            put_double(out, 3 + at as u32, to_double(*word as i64, scale));
        }
        put_int(out, 7, header.id);
        true
    }

    fn candle(&self, header: &Header, body: &[u64], out: &mut Vec<u8>) -> bool {
        let mut digits = [0; 21];
        let interval = interval_name(body[candle::INTERVAL_S], &mut digits);
        let (open_time, ticks) = (body[candle::OPEN_TIME_MS], body[candle::TICKS]);
        let length = self.symbol.len() + int_len(open_time) + 5 * 9 + text_len(interval) + int_len(ticks) + 10;
        put_length(out, 3, length);
        out.extend_from_slice(&self.symbol);
        put_int(out, 2, open_time);
        for (field, at) in [(3, candle::OPEN), (4, candle::HIGH), (5, candle::LOW), (6, candle::CLOSE)] {
            put_double(out, field, to_double(body[at] as i64, header.price_scale));
        }
        put_double(out, 7, to_double(body[candle::VOLUME] as i64, header.quantity_scale));
        put_text(out, 8, interval);
        put_int(out, 11, ticks);
        put_wide_double(out, 104, to_double(body[candle::BUY_VOLUME] as i64, header.quantity_scale));
        true
    }

    /// A bar is a candle with more fields. Bars are rare: the message is written first and its length then put before it.
    fn bar(&self, header: &Header, body: &[u64], out: &mut Vec<u8>) -> bool {
        let (Some(spec), Some(made)) = (Spec::from_words(body), Bar::from_words(body)) else { return false };
        if header.price_scale.max(header.quantity_scale) > MAX_SCALE {
            return false;
        }
        let price = |mantissa: i64| to_double(mantissa, header.price_scale);
        let volume = |mantissa: i64| to_double(mantissa, header.quantity_scale);
        let label = spec.label();
        out.push(3 << 3 | 2);
        let length_at = out.len();
        out.extend([0; 2]);
        out.extend_from_slice(&self.symbol);
        put_int(out, 2, made.open_ms as u64);
        for (field, mantissa) in [(3, made.open), (4, made.high), (5, made.low), (6, made.close)] {
            put_double(out, field, price(mantissa));
        }
        put_double(out, 7, volume(made.volume));
        put_text(out, 8, label.as_bytes());
        put_int(out, 9, made.buy_ticks);
        put_int(out, 10, made.sell_ticks);
        put_int(out, 11, made.ticks());
        put_double(out, 12, made.theta);
        put_int(out, 101, made.close_ms as u64);
        let quote_scale = header.price_scale.saturating_add(header.quantity_scale);
        put_wide_double(out, 102, big_to_double(made.quote_volume, quote_scale));
        put_wide_double(out, 103, vwap::to_double(&made, header.price_scale));
        put_wide_double(out, 104, volume(made.buy_volume));
        put_wide_double(out, 105, volume(made.volume.wrapping_sub(made.buy_volume)));
        put_int(out, 106, made.first_id);
        put_int(out, 107, made.last_id);
        put_int(out, 108, u64::from(made.is_complete()));
        put_int(out, 109, made.gap_count);
        put_int(out, 110, u64::from(made.revision));
        put_int(out, 111, spec.config_hash());
        put_int(out, 112, u64::from(made.is_warming_up));
        put_wide_double(out, 113, made.threshold);
        put_length(out, 119, 8 * bar::WORDS);
        body[..bar::WORDS].iter().for_each(|word| out.extend(word.to_le_bytes()));
        // Two bytes of length hold 16 KiB; names and labels are bounded far below.
        let length = out.len() - length_at - 2;
        out[length_at] = length as u8 | 0x80;
        out[length_at + 1] = (length >> 7) as u8;
        true
    }

    fn funding(&self, header: &Header, body: &[u64], out: &mut Vec<u8>) -> bool {
        let timestamp = timestamp_ms(header);
        let next = body[funding::NEXT_FUNDING_MS];
        put_length(out, 4, self.symbol.len() + int_len(timestamp) + 3 * 9 + int_len(next) + 10);
        out.extend_from_slice(&self.symbol);
        put_int(out, 2, timestamp);
        put_double(out, 3, to_double(body[funding::RATE] as i64, funding::SCALE));
        put_int(out, 4, next);
        put_double(out, 5, to_double(body[funding::MARK_PRICE] as i64, funding::SCALE));
        put_double(out, 6, to_double(body[funding::INDEX_PRICE] as i64, funding::SCALE));
        put_wide_double(out, 101, to_double(body[funding::SETTLE_PRICE] as i64, funding::SCALE));
        true
    }

    fn gap(&self, header: &Header, body: &[u64], out: &mut Vec<u8>) -> bool {
        let (mut first_digits, mut last_digits) = ([0; 20], [0; 20]);
        let first = id_text(body[gap::FIRST_ID], &mut first_digits);
        let last = id_text(body[gap::LAST_ID], &mut last_digits);
        let reason = GapReason::from_u64(body[gap::REASON]).map_or("", GapReason::name).as_bytes();
        let (data_type, count, repaired) =
            (body[gap::DATA_TYPE], body[gap::COUNT], u64::from(body[gap::REPAIRED] != 0));
        let timestamp = timestamp_ms(header);
        let length = self.symbol.len()
            + int_len(data_type)
            + int_len(count)
            + text_len(first)
            + text_len(last)
            + text_len(reason)
            + int_len(timestamp)
            + int_len(repaired);
        put_length(out, 100, length);
        out.extend_from_slice(&self.symbol);
        put_int(out, 2, data_type);
        put_int(out, 3, count);
        put_text(out, 4, first);
        put_text(out, 5, last);
        put_text(out, 6, reason);
        put_int(out, 7, timestamp);
        put_int(out, 8, repaired);
        true
    }

    /// The fields behind the payload, the same for every kind.
    fn put_origin(&self, header: &Header, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.origin);
        put_int(out, 101, header.sequence);
        put_int(out, 102, header.recv_ns as u64);
        put_flags(out, header.flags);
        put_int(out, 106, header.exchange_ns as u64);
    }
}

/// Say how many of the levels sent lie beyond what a snapshot proved; usually none, and then nothing is written.
fn put_unproven(header: &Header, body: &[u64], depth: usize, out: &mut Vec<u8>) {
    let cut = if depth == 0 { u64::MAX } else { depth as u64 };
    let sides = [(107, header.bids, body[0] & 0xffff_ffff), (108, header.asks, body[0] >> 32)];
    for (field, levels, proven) in sides {
        put_int(out, field, u64::from(levels).min(cut).saturating_sub(proven));
    }
}

/// Append the flags field; behind a message that has one already it replaces that one, as protobuf prescribes.
pub fn put_flags(out: &mut Vec<u8>, flags: u32) {
    put_int(out, 103, u64::from(flags));
}

/// Bytes of one price level with tag and length: two doubles, always written.
const LEVEL_BYTES: usize = 20;

/// Exchange time in ms; receive time where the venue sends none (spot quotes).
pub(crate) fn timestamp_ms(header: &Header) -> u64 {
    let ns = if header.exchange_ns == 0 { header.recv_ns } else { header.exchange_ns };
    ns.div_euclid(1_000_000) as u64
}

/// The venue's names of intervals, from the largest unit that divides.
fn interval_name(seconds: u64, digits: &mut [u8; 21]) -> &[u8] {
    let (count, unit) = match seconds {
        0 => (0, b's'),
        s if s % 604_800 == 0 => (s / 604_800, b'w'),
        s if s % 86_400 == 0 => (s / 86_400, b'd'),
        s if s % 3600 == 0 => (s / 3600, b'h'),
        s if s % 60 == 0 => (s / 60, b'm'),
        s => (s, b's'),
    };
    let mut number = [0; 20];
    let number = decimal(count, &mut number);
    digits[..number.len()].copy_from_slice(number);
    digits[number.len()] = unit;
    &digits[..=number.len()]
}

fn id_text(id: u64, digits: &mut [u8; 20]) -> &[u8] {
    if id == 0 {
        &[]
    } else {
        decimal(id, digits)
    }
}

/// Decimal digits of `value`.
pub(crate) fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &digits[at..];
        }
    }
}

fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Bytes of an integer field with a number below 16; 0 when it is left out, as proto3 does with zeros.
fn int_len(value: u64) -> usize {
    if value == 0 {
        0
    } else {
        1 + varint_len(value)
    }
}

/// The same for a field with a number from 16 on.
fn wide_int_len(value: u64) -> usize {
    if value == 0 {
        0
    } else {
        2 + varint_len(value)
    }
}

/// Bytes of a short text field with a number below 16.
fn text_len(text: &[u8]) -> usize {
    if text.is_empty() {
        0
    } else {
        1 + varint_len(text.len() as u64) + text.len()
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_int(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(field << 3));
        put_varint(out, value);
    }
}

fn put_double(out: &mut Vec<u8>, field: u32, value: f64) {
    let mut bytes = [0; 9];
    bytes[0] = (field << 3 | 1) as u8;
    bytes[1..].copy_from_slice(&value.to_le_bytes());
    out.extend_from_slice(&bytes);
}

/// A double in a field with a number from 16 on.
fn put_wide_double(out: &mut Vec<u8>, field: u32, value: f64) {
    put_varint(out, u64::from(field << 3 | 1));
    out.extend(value.to_le_bytes());
}

fn put_length(out: &mut Vec<u8>, field: u32, length: usize) {
    put_varint(out, u64::from(field << 3 | 2));
    put_varint(out, length as u64);
}

fn put_text(out: &mut Vec<u8>, field: u32, text: &[u8]) {
    if !text.is_empty() {
        put_length(out, field, text.len());
        out.extend_from_slice(text);
    }
}

fn put_levels(out: &mut Vec<u8>, field: u32, words: &[u64], header: &Header) {
    for level in words.chunks_exact(2) {
        let mut bytes = [0; LEVEL_BYTES];
        bytes[..3].copy_from_slice(&[(field << 3 | 2) as u8, 18, 1 << 3 | 1]);
        bytes[3..11].copy_from_slice(&to_double(level[0] as i64, header.price_scale).to_le_bytes());
        bytes[11] = 2 << 3 | 1;
        bytes[12..].copy_from_slice(&to_double(level[1] as i64, header.quantity_scale).to_le_bytes());
        out.extend_from_slice(&bytes);
    }
}
