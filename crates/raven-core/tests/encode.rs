//! Doubles are those of the decimal text; the messages themselves are compared with generated types in `raven-serve`.
#![cfg(not(loom))]

use proptest::prelude::*;
use raven_core::encode::{to_double, Encoder};
use raven_core::record::{Header, Kind};

fn decimal_text(mantissa: i64, scale: u8) -> String {
    let digits = format!("{:0width$}", mantissa.unsigned_abs(), width = scale as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    format!("{}{whole}.{fraction}0", if mantissa < 0 { "-" } else { "" })
}

#[test]
fn awkward_decimals_become_the_nearest_double() {
    for (mantissa, scale, text) in [
        (1, 1, "0.1"),
        (5_712_345, 2, "57123.45"),
        (1_234_567, 8, "0.01234567"),
        (9_007_199_254_740_993, 0, "9007199254740993"),
        (9_007_199_254_740_993, 5, "90071992547.40993"),
        (i64::MAX, 18, "9.223372036854775807"),
        (i64::MIN, 18, "-9.223372036854775808"),
        (1, 30, "0.000000000000000000000000000001"),
    ] {
        assert_eq!(to_double(mantissa, scale).to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
    }
}

proptest! {
    #[test]
    fn every_double_is_the_one_of_its_text(mantissa in any::<i64>(), shift in 0u32..63, scale in 0u8..26) {
        let mantissa = mantissa >> shift;
        let text = decimal_text(mantissa, scale);
        prop_assert_eq!(to_double(mantissa, scale), text.parse::<f64>().unwrap(), "{}", text);
    }

    #[test]
    fn words_that_are_no_record_encode_to_nothing(words in prop::collection::vec(any::<u64>(), 0..40)) {
        let mut out = vec![7];
        let is_written = Encoder::new("v", "S", 0, "p").encode(&words, 3, &mut out);
        prop_assert!(is_written || out == [7]);
    }
}

#[test]
fn a_liquidation_has_no_message_here() {
    let header = Header {
        kind: Kind::Liquidation,
        flags: 0,
        sequence: 1,
        recv_ns: 1,
        exchange_ns: 1,
        id: 0,
        price_scale: 1,
        quantity_scale: 1,
        bids: 0,
        asks: 0,
    };
    let mut words = header.to_words(10).to_vec();
    words.extend([1, 1, 1, 1]);
    let mut out = Vec::new();
    assert!(!Encoder::new("v", "S", 101, "p").encode(&words, 0, &mut out));
    assert!(out.is_empty());
}
