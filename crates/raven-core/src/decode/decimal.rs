//! Doubles back to the decimals that they were made of: the shortest text that reads as the same double.
//!
//! A decimal of up to 15 significant digits, which is what exchanges send, survives the trip through a double; of
//! longer ones comes back the shortest that means the same double.

use crate::decode::wire::Broken;
use crate::parse::decimal::{MAX_SCALE, POW10};

/// Up to here a product of a double and a power of ten is less than half a unit away from the integer that is meant.
const SURE: f64 = (1u64 << 50) as f64;

/// The integer with `mantissa / 10^scale == value`; `None` when there is none, or it does not fit.
#[inline]
pub fn mantissa(value: f64, scale: u8) -> Option<i64> {
    let power = *POW10.get(scale as usize)? as f64;
    let scaled = value * power;
    if scaled.abs() <= SURE {
        let mantissa = (scaled + 0.5f64.copysign(scaled)) as i64;
        return (mantissa as f64 / power == value).then_some(mantissa);
    }
    let (mantissa, least) = shortest(value).ok()?;
    mantissa.checked_mul(*POW10.get(scale.checked_sub(least)? as usize)?)
}

/// The shortest decimal that reads as this double: mantissa and number of decimals.
///
/// # Errors
/// [`Broken`] when it is no number, or has more decimals or digits than a record can hold.
#[cold]
pub fn shortest(value: f64) -> Result<(i64, u8), Broken> {
    use std::io::Write;
    // A sign, 17 digits, a point, "e-" and three digits.
    let mut text = [0u8; 32];
    let mut rest = &mut text[..];
    write!(rest, "{value:e}").map_err(|_| Broken)?;
    let unused = rest.len();
    let text = std::str::from_utf8(&text[..32 - unused]).map_err(|_| Broken)?;
    // "NaN" and "inf" have no exponent.
    let (digits, exponent) = text.split_once('e').ok_or(Broken)?;
    let exponent: i32 = exponent.parse().map_err(|_| Broken)?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_negative = whole.starts_with('-');
    let mut mantissa: i64 = 0;
    for digit in whole.trim_start_matches('-').bytes().chain(fraction.bytes()) {
        mantissa = 10 * mantissa + i64::from(digit - b'0');
    }
    let mantissa = if is_negative { -mantissa } else { mantissa };
    let decimals = fraction.len() as i32 - exponent;
    if decimals > i32::from(MAX_SCALE) {
        return Err(Broken);
    }
    if decimals >= 0 {
        return Ok((mantissa, decimals as u8));
    }
    let power = POW10.get(decimals.unsigned_abs() as usize).ok_or(Broken)?;
    Ok((mantissa.checked_mul(*power).ok_or(Broken)?, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::to_double;
    use proptest::prelude::*;

    #[test]
    fn the_shortest_decimal_is_found_without_a_scale() {
        for (value, expected) in [
            (0.0, Ok((0, 0))),
            (61_000.5, Ok((610_005, 1))),
            (1e-7, Ok((1, 7))),
            (-2.5e18, Ok((-2_500_000_000_000_000_000, 0))),
            (1.2345678e-5, Ok((12_345_678, 12))),
            (1e19, Err(Broken)),
            (1e-19, Err(Broken)),
            (f64::NAN, Err(Broken)),
            (f64::NEG_INFINITY, Err(Broken)),
        ] {
            assert_eq!(shortest(value), expected, "{value}");
        }
    }

    #[test]
    fn a_decimal_that_needs_a_finer_scale_is_not_rounded() {
        assert_eq!(mantissa(61_000.55, 1), None);
        assert_eq!(mantissa(61_000.55, 4), Some(610_005_500));
        assert_eq!(mantissa(f64::NAN, 4), None);
        assert_eq!(mantissa(1e300, 4), None);
        assert_eq!(mantissa(1.0, 19), None);
    }

    proptest! {
        #[test]
        fn up_to_fifteen_digits_come_back_as_they_were(
            mantissa in -999_999_999_999_999i64..=999_999_999_999_999, scale in 0u8..=18, finer in 0u8..4
        ) {
            let value = to_double(mantissa, scale);
            let (least, decimals) = shortest(value).unwrap();
            prop_assert_eq!(to_double(least, decimals).to_bits(), value.to_bits());
            let scale = decimals.max(scale.min(18 - finer)) + finer.min(18 - scale);
            let expected = i128::from(least) * 10i128.pow(u32::from(scale - decimals));
            prop_assert_eq!(super::mantissa(value, scale).map(i128::from), i64::try_from(expected).ok().map(i128::from));
        }

        #[test]
        fn what_is_taken_reads_as_the_same_double(value in any::<f64>(), scale in 0u8..=18) {
            if let Some(found) = mantissa(value, scale) {
                prop_assert_eq!(to_double(found, scale), value);
            }
        }
    }
}
