//! Volume-weighted average price: the quote volume divided by the base volume, to 12 decimals, half to even.

use super::bar::Bar;
use crate::encode::big_to_double;

/// Decimals of a VWAP.
pub const SCALE: u8 = 12;

/// The VWAP of a bar as an integer in [`SCALE`]; its last price when nothing was traded.
pub fn mantissa(bar: &Bar, price_scale: u8) -> i128 {
    let to_scale = |mantissa: i128, scale: u8| {
        let power = 10_i128.pow(u32::from(SCALE.abs_diff(scale)));
        if scale <= SCALE {
            mantissa.saturating_mul(power)
        } else {
            divided(mantissa, power)
        }
    };
    if bar.volume <= 0 {
        return to_scale(i128::from(bar.close), price_scale);
    }
    let volume = i128::from(bar.volume);
    // The scale of volumes cancels out; what is left is the scale of prices.
    match bar.quote_volume.checked_mul(10_i128.pow(u32::from(SCALE.saturating_sub(price_scale)))) {
        Some(wide) if price_scale <= SCALE => divided(wide, volume),
        _ => to_scale(divided(bar.quote_volume, volume), price_scale),
    }
}

/// The VWAP of a bar as the nearest double.
pub fn to_double(bar: &Bar, price_scale: u8) -> f64 {
    big_to_double(mantissa(bar, price_scale), SCALE)
}

/// `numerator / denominator`, half to even.
fn divided(numerator: i128, denominator: i128) -> i128 {
    let (quotient, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    match (2 * rest).cmp(&denominator) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + (quotient & 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_even() {
        assert_eq!([1, 3, 5, 7].map(|half| divided(half, 2)), [0, 2, 2, 4]);
        assert_eq!(divided(-1, 3), 0);
    }

    #[test]
    fn it_is_the_mean_price_by_volume() {
        let bar = Bar { volume: 3, quote_volume: 10, ..Bar::empty(0, 0, 1) };
        assert_eq!(mantissa(&bar, 0), 3_333_333_333_333);
        assert_eq!(mantissa(&Bar::empty(0, 0, 6180), 2), 61_800_000_000_000);
    }
}
