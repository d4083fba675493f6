//! Records as the JSON that channels carry. Numbers are written from the exact integers; no double is on the way.

use crate::encode::{decimal, timestamp_ms};
use crate::record::Header;

/// Append `mantissa / 10^scale` as a JSON number with at least one decimal and no zero that says nothing.
///
/// The decimal is there for readers that tell whole numbers from others by their look, such as Python's `json`.
pub fn put_number(out: &mut Vec<u8>, mantissa: i64, scale: u8) {
    let mut room = [0; 20];
    let digits = decimal(mantissa.unsigned_abs(), &mut room);
    let scale = scale as usize;
    if mantissa < 0 {
        out.push(b'-');
    }
    let whole = digits.len().saturating_sub(scale);
    if whole == 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + scale - digits.len(), b'0');
        out.extend_from_slice(digits);
    } else {
        out.extend_from_slice(&digits[..whole]);
        out.push(b'.');
        out.extend_from_slice(&digits[whole..]);
    }
    if scale == 0 {
        out.push(b'0');
    }
    while out.ends_with(b"0") && out[out.len() - 2] != b'.' {
        out.pop();
    }
}

/// Append a trade: `{"symbol", "trade_id", "price", "quantity", "timestamp", "is_buyer_maker", "sequence"}`.
///
/// `symbol` is JSON text with its quotes; `body` that of a [`crate::record::Kind::Trade`].
pub fn put_trade(out: &mut Vec<u8>, symbol: &[u8], header: &Header, body: &[u64], sequence: u64) {
    put_key(out, b"{\"symbol\":", symbol);
    put_whole(out, b",\"trade_id\":", header.id);
    out.extend_from_slice(b",\"price\":");
    put_number(out, body[0] as i64, header.price_scale);
    out.extend_from_slice(b",\"quantity\":");
    put_number(out, body[1] as i64, header.quantity_scale);
    put_whole(out, b",\"timestamp\":", timestamp_ms(header));
    put_key(out, b",\"is_buyer_maker\":", if body[2] != 0 { b"true" } else { b"false" });
    put_whole(out, b",\"sequence\":", sequence);
    out.push(b'}');
}

/// Append a book: `{"symbol", "bids", "asks", "last_update_id", "timestamp", "sequence"}`, levels as `[price, quantity]`.
///
/// `depth` cuts both sides, 0 keeps all; `body` is that of a [`crate::record::Kind::Book`], as long as its header says.
pub fn put_book(out: &mut Vec<u8>, symbol: &[u8], header: &Header, body: &[u64], depth: usize, sequence: u64) {
    let cut = if depth == 0 { usize::MAX } else { depth };
    let (bids, asks) = body[1..].split_at(2 * header.bids as usize);
    put_key(out, b"{\"symbol\":", symbol);
    put_levels(out, b",\"bids\":[", &bids[..2 * cut.min(header.bids as usize)], header);
    put_levels(out, b",\"asks\":[", &asks[..2 * cut.min(header.asks as usize)], header);
    put_whole(out, b",\"last_update_id\":", header.id);
    put_whole(out, b",\"timestamp\":", timestamp_ms(header));
    put_whole(out, b",\"sequence\":", sequence);
    out.push(b'}');
}

/// A text as JSON, with its quotes.
pub fn json_text(text: &str) -> Vec<u8> {
    let mut out = vec![b'"'];
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    out
}

fn put_levels(out: &mut Vec<u8>, key: &[u8], words: &[u64], header: &Header) {
    out.extend_from_slice(key);
    for (at, level) in words.chunks_exact(2).enumerate() {
        out.extend_from_slice(if at == 0 { b"[" } else { b",[" });
        put_number(out, level[0] as i64, header.price_scale);
        out.push(b',');
        put_number(out, level[1] as i64, header.quantity_scale);
        out.push(b']');
    }
    out.push(b']');
}

fn put_whole(out: &mut Vec<u8>, key: &[u8], value: u64) {
    put_key(out, key, decimal(value, &mut [0; 20]));
}

fn put_key(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(mantissa: i64, scale: u8) -> String {
        let mut out = Vec::new();
        put_number(&mut out, mantissa, scale);
        String::from_utf8(out).expect("digits")
    }

    #[test]
    fn every_digit_is_there_and_no_zero_that_says_nothing() {
        let cases = [
            (618_001, 1, "61800.1"),
            (61_800_000, 3, "61800.0"),
            (100, 8, "0.000001"),
            (123_456_789_012_345_678, 8, "1234567890.12345678"),
            (5, 0, "5.0"),
            (100, 0, "100.0"),
            (0, 0, "0.0"),
            (0, 8, "0.0"),
            (-1, 2, "-0.01"),
            (i64::MIN, 18, "-9.223372036854775808"),
            (1, 19, "0.0000000000000000001"),
            (i64::MAX, 19, "0.9223372036854775807"),
        ];
        for (mantissa, scale, text) in cases {
            assert_eq!(number(mantissa, scale), text);
        }
    }

    #[test]
    fn what_json_cannot_have_in_a_text_is_escaped() {
        assert_eq!(json_text("BTCUSDT"), b"\"BTCUSDT\"");
        assert_eq!(json_text("A\"\\\n\u{5e01}"), "\"A\\\"\\\\\\u000a\u{5e01}\"".as_bytes());
    }
}
