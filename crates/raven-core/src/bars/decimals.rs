//! From doubles and wide decimals to integers in the smallest scale that loses nothing.
//!
//! A double that was once a decimal text of up to 15 digits is that text again when it is rounded to the right number of
//! decimals; so sums of them are exact, whatever their order.

/// Doubles beyond it have no decimals that mean anything.
const MAX_SCALE: u8 = 15;
/// Integers up to here come through [`rounded`].
const LARGEST: f64 = 2_251_799_813_685_248.0;
/// Added to a smaller number, it leaves no room for a fraction: the sum is rounded to a whole number, half to even, and
/// that number stands in its lowest bits. The processor has no instruction for rounding that every machine knows.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// Values that are looked at together.
const CHUNK: usize = 1024;

/// The smallest scale, from `scale` on, in which all values are whole; `None` when there is none up to [`MAX_SCALE`].
pub fn scale_of(values: &[f64], mut scale: u8) -> Option<u8> {
    for chunk in values.chunks(CHUNK) {
        while !are_decimals(chunk, 10_f64.powi(i32::from(scale))) {
            scale += 1;
            if scale > MAX_SCALE {
                return None;
            }
        }
    }
    Some(scale)
}

/// The largest scale up to `scale` in which values of this size can be rounded.
pub fn scale_that_fits(largest: f64, scale: u8) -> u8 {
    (0..=scale).rev().find(|scale| largest * 10_f64.powi(i32::from(*scale)) <= LARGEST).unwrap_or(0)
}

/// Values as integers in a scale. What is too large to be rounded, or is no number, becomes 0.
pub fn integers_of(values: &[f64], scale: u8, out: &mut Vec<i64>) {
    let power = 10_f64.powi(i32::from(scale));
    let fits = |value: f64| value.abs() * power <= LARGEST;
    out.clear();
    out.extend(values.iter().map(|value| rounded(*value * power)));
    if values.iter().map(|value| u64::from(!fits(*value))).sum::<u64>() > 0 {
        out.iter_mut().zip(values).filter(|(_, value)| !fits(**value)).for_each(|(integer, _)| *integer = 0);
    }
}

/// The largest of absolute values.
pub fn largest(values: &[f64]) -> f64 {
    // Eight at a time: one by one, each comparison would wait for the one before.
    let mut lanes = [0.0_f64; 8];
    let chunks = values.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if value.abs() > *lane { value.abs() } else { *lane };
        }
    }
    rest.iter().chain(&lanes).fold(0.0, |largest, value| largest.max(value.abs()))
}

#[inline(always)]
fn rounded(value: f64) -> i64 {
    (value + ROUNDER).to_bits() as i64 - ROUNDER.to_bits() as i64
}

fn are_decimals(values: &[f64], power: f64) -> bool {
    let differing = |value: &f64| u64::from((*value * power + ROUNDER - ROUNDER) / power != *value);
    values.iter().map(differing).sum::<u64>() == 0
}

/// Which texts are `sell`; where one is neither that nor `buy`, its row. `offsets` are where texts begin in `text`, and
/// behind the last one where it ends.
///
/// # Errors
/// The row of the first text that is neither.
pub fn of_sides(offsets: &[i32], text: &[u8]) -> Result<Vec<u8>, usize> {
    let rows = || offsets.windows(2).map(|ends| side(ends[0], ends[1], text));
    let mut wrong = 0;
    let sells = rows().map(|(sell, differs)| {
        wrong |= differs;
        sell as u8
    });
    let sells = sells.collect();
    match wrong {
        0 => Ok(sells),
        _ => Err(rows().position(|(_, differs)| differs != 0).unwrap_or(0)),
    }
}

/// 1 for `sell` and 0 for `buy`, and what a text differs by from that. Without a branch: the side of a trade is what no
/// predictor guesses.
#[inline(always)]
fn side(from: i32, to: i32, text: &[u8]) -> (u32, u32) {
    let at = from as usize;
    let word = match text.get(at..at.wrapping_add(4)) {
        Some(word) => u32::from_le_bytes([word[0], word[1], word[2], word[3]]),
        None => last_word(text.get(at..).unwrap_or_default()),
    };
    // Three letters are to be `buy`, four `sell`.
    let sell = to.wrapping_sub(from).wrapping_sub(3) as u32;
    let mask = THREE_LETTERS | 0xff00_0000_u32.wrapping_mul(sell);
    let wanted = BUY ^ (BUY ^ SELL).wrapping_mul(sell);
    let is_behind_the_end = u32::from(to as usize > text.len());
    (sell & 1, (((word | LOWER_CASE) & mask) ^ wanted) | (sell >> 1) | is_behind_the_end)
}

/// The bytes of a text that ends before the fourth.
#[cold]
fn last_word(rest: &[u8]) -> u32 {
    rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

const THREE_LETTERS: u32 = 0xff_ffff;
/// The bit that makes an ASCII letter lower case, in four bytes.
const LOWER_CASE: u32 = 0x2020_2020;
const BUY: u32 = u32::from_le_bytes(*b"buy\0");
const SELL: u32 = u32::from_le_bytes(*b"sell");

/// Find the decimals of 128-bit integers (little-endian) with a scale; `None` when they do not fit 64 bits.
pub fn of_wide(bytes: &[u8], scale: u8) -> Option<(Vec<i64>, u8)> {
    let wide = || bytes.chunks_exact(16).filter_map(|chunk| chunk.try_into().ok()).map(i128::from_le_bytes);
    // Trailing zeros that all values have.
    let mut spare = scale;
    for value in wide() {
        while spare > 0 && value % 10_i128.pow(u32::from(spare)) != 0 {
            spare -= 1;
        }
    }
    let divisor = 10_i128.pow(u32::from(spare));
    let narrow = wide().map(|value| i64::try_from(value / divisor).ok()).collect::<Option<_>>();
    Some((narrow?, scale - spare))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integers(values: &[f64]) -> (Vec<i64>, u8, bool) {
        let found = scale_of(values, 0);
        let scale = scale_that_fits(largest(values), found.unwrap_or(MAX_SCALE));
        let mut out = Vec::new();
        integers_of(values, scale, &mut out);
        (out, scale, found == Some(scale))
    }

    #[test]
    fn doubles_are_the_decimals_they_were_written_as() {
        assert_eq!(integers(&[61800.1, 0.001, 0.3, 100.0]), (vec![61_800_100, 1, 300, 100_000], 3, true));
    }

    #[test]
    fn what_is_no_decimal_is_rounded_and_said_to_be() {
        let (values, scale, is_exact) = integers(&[1.0 / 3.0, 50_000.0]);
        assert_eq!((values[0], scale, is_exact), (3_333_333_333, 10, false), "more decimals of 50000 would not fit");
    }

    #[test]
    fn wide_decimals_lose_their_zeros() {
        let bytes: Vec<u8> = [61_800_100_000_i128, 500_000].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(of_wide(&bytes, 6), Some((vec![618_001, 5], 1)));
        let huge: Vec<u8> = i128::MAX.to_le_bytes().to_vec();
        assert_eq!(of_wide(&huge, 0), None);
    }

    #[test]
    fn what_is_no_number_is_not_exact() {
        assert_eq!(scale_of(&[1.5, f64::NAN], 0), None);
        assert_eq!(integers(&[f64::INFINITY, 1.5, f64::NAN]), (vec![0, 2, 0], 0, false));
    }

    #[test]
    fn sides_are_read_in_any_case() {
        assert_eq!(of_sides(&[0, 3, 7, 11], b"buysellSELL"), Ok(vec![0, 1, 1]));
        assert_eq!(of_sides(&[0, 3, 6], b"buybid"), Err(1));
        assert_eq!(of_sides(&[0, 9], b"buy"), Err(0));
        assert_eq!(of_sides(&[4, 0], b"sell"), Err(0));
        assert_eq!(of_sides(&[0, 4, 7], b"SellBuy"), Ok(vec![1, 0]));
        assert_eq!(of_sides(&[0, 3, 4], b"buys"), Err(1), "what follows a text is not of it");
        assert_eq!(of_sides(&[0, 4], b"buyx"), Err(0));
    }
}
