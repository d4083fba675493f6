//! Decimal text to integers and back, exactly.
//!
//! Eight digits are read at a time inside one 64-bit word, because prices and quantities are most of what an
//! exchange sends and their lengths vary, which makes byte-by-byte loops mispredict.

/// Powers of ten that fit an `i64`.
pub const POW10: [i64; 19] = {
    let mut table = [1i64; 19];
    let mut i = 1;
    while i < 19 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

/// Largest number of decimals an instrument can have.
pub const MAX_SCALE: u8 = 18;

/// Why a decimal text was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// Exact, but only with this many decimals, more or fewer: change the instrument's scale and read again.
    NeedsScale(u8),
    /// Not a plain decimal.
    NotANumber,
    /// Starts with a minus sign.
    Negative,
    /// Does not fit an `i64` in this scale.
    OutOfRange,
}

pub(super) const ASCII_ZEROS: u64 = 0x3030_3030_3030_3030;

#[inline(always)]
pub(super) fn load8(text: &[u8], at: usize) -> Option<u64> {
    let bytes: [u8; 8] = text.get(at..at + 8)?.try_into().ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// The same, also where fewer than eight bytes are left: zero bytes, which are no digits, follow the end.
#[inline(always)]
fn load_to_end(text: &[u8], at: usize) -> Option<u64> {
    if let Some(word) = load8(text, at) {
        return Some(word);
    }
    let left = text.len().checked_sub(at).filter(|left| *left > 0)?;
    Some(load8(text, text.len().checked_sub(8)?)? >> (64 - 8 * left))
}

/// Number of ASCII digits at the low end of a word.
#[inline(always)]
pub(super) fn digit_run(word: u64) -> u32 {
    let x = word ^ ASCII_ZEROS;
    // A byte above 9 reaches its high bit; digits never carry into their neighbour, so the lowest hit is exact.
    let other = (x.wrapping_add(0x7676_7676_7676_7676) | x) & 0x8080_8080_8080_8080;
    other.trailing_zeros() / 8
}

/// Value of the first `digits` (1..=8) ASCII digits of a word.
#[inline(always)]
pub(super) fn digits_value(word: u64, digits: u32) -> u64 {
    let aligned = (word << (64 - 8 * digits)) & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = aligned.wrapping_mul(10).wrapping_add(aligned >> 8);
    let high = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let low = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    high.wrapping_add(low) >> 32
}

/// Read an unsigned decimal that ends at a double quote, as `mantissa = value * 10^scale`.
///
/// `at` is the offset of the first digit. Returns the mantissa and the offset of the closing quote.
///
/// # Errors
/// See [`DecimalError`]; decimals beyond the scale are accepted only when they are zeros.
#[inline(always)]
pub fn read_quoted(text: &[u8], at: usize, scale: u8) -> Result<(i64, usize), DecimalError> {
    if let (Some(head), true) = (load_to_end(text, at), scale <= 10) {
        let whole_digits = digit_run(head);
        if whole_digits.wrapping_sub(1) < 7 {
            let whole = digits_value(head, whole_digits) as i64;
            let after = at + whole_digits as usize;
            if let (Some(b'.'), Some(tail)) = (text.get(after), load_to_end(text, after + 1)) {
                let fraction_digits = digit_run(tail);
                let end = after + 1 + fraction_digits as usize;
                if fraction_digits != 0 && text.get(end) == Some(&b'"') {
                    let scale_digits = u32::from(scale);
                    let kept = fraction_digits.min(scale_digits);
                    let fraction = if kept == 0 { 0 } else { digits_value(tail, kept) as i64 };
                    // What the scale does not hold must be zeros.
                    if fraction_digits > scale_digits {
                        let rest = (tail ^ ASCII_ZEROS) >> (8 * scale_digits);
                        let rest_bits = 8 * (fraction_digits - scale_digits);
                        if rest << (64 - rest_bits) != 0 {
                            return read_slowly(text, at, scale);
                        }
                    }
                    let mantissa = whole * POW10[scale as usize] + fraction * POW10[(scale_digits - kept) as usize];
                    return Ok((mantissa, end));
                }
            } else if text.get(after) == Some(&b'"') {
                return Ok((whole * POW10[scale as usize], after));
            }
        }
    }
    read_slowly(text, at, scale)
}

/// The same, byte by byte: long numbers, the end of a frame, and every refusal.
#[cold]
#[inline(never)]
fn read_slowly(text: &[u8], at: usize, scale: u8) -> Result<(i64, usize), DecimalError> {
    let rest = text.get(at..).ok_or(DecimalError::NotANumber)?;
    let length = rest.iter().position(|byte| *byte == b'"').ok_or(DecimalError::NotANumber)?;
    let mantissa = read(&rest[..length], scale)?;
    Ok((mantissa, at + length))
}

/// Read a whole text as an unsigned decimal in the given scale.
///
/// # Errors
/// See [`DecimalError`].
pub fn read(text: &[u8], scale: u8) -> Result<i64, DecimalError> {
    let (whole, fraction) = split(text)?;
    let significant = fraction.len() - fraction.iter().rev().take_while(|byte| **byte == b'0').count();
    if significant > MAX_SCALE as usize {
        return Err(DecimalError::OutOfRange);
    }
    let mut value: i64 = 0;
    // All of it, whatever the scale: a number that fits no scale must not make the instrument grow.
    for digit in whole.iter().chain(&fraction[..significant]) {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i64::from(digit - b'0')))
            .ok_or(DecimalError::OutOfRange)?;
    }
    if significant > scale as usize {
        return Err(DecimalError::NeedsScale(significant as u8));
    }
    value.checked_mul(POW10[scale as usize - significant]).ok_or(DecimalError::NeedsScale(significant as u8))
}

/// Read a decimal that may be negative (funding rates).
///
/// # Errors
/// See [`DecimalError`]; never `Negative`.
pub fn read_signed(text: &[u8], scale: u8) -> Result<i64, DecimalError> {
    match text {
        [b'-', rest @ ..] => read(rest, scale).map(|value| -value),
        _ => read(text, scale),
    }
}

fn split(text: &[u8]) -> Result<(&[u8], &[u8]), DecimalError> {
    if text.first() == Some(&b'-') {
        return Err(DecimalError::Negative);
    }
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &text[..0]),
    };
    let all_digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
    let empty_part = whole.is_empty() || (fraction.is_empty() && whole.len() != text.len());
    if !all_digits || empty_part {
        return Err(DecimalError::NotANumber);
    }
    Ok((whole, fraction))
}

/// Read an unsigned integer; returns it with the offset behind its last digit, or `None` without digits or when it needs
/// more than 63 bits: every consumer of an id, from protobuf to databases, has signed integers.
#[inline(always)]
pub fn read_u64(text: &[u8], at: usize) -> Option<(u64, usize)> {
    if let Some(first) = load_to_end(text, at) {
        let digits = digit_run(first);
        if digits < 8 {
            return (digits != 0).then(|| (digits_value(first, digits), at + digits as usize));
        }
        if let Some(second) = load_to_end(text, at + 8) {
            let digits = digit_run(second);
            if digits == 0 {
                return Some((digits_value(first, 8), at + 8));
            }
            if digits < 8 {
                let value = digits_value(first, 8) * POW10[digits as usize] as u64 + digits_value(second, digits);
                return Some((value, at + 8 + digits as usize));
            }
        }
    }
    read_u64_slowly(text, at)
}

#[inline(never)]
fn read_u64_slowly(text: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value: u64 = 0;
    let mut end = at;
    while let Some(digit) = text.get(end).filter(|byte| byte.is_ascii_digit()) {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        end += 1;
    }
    (end != at && value <= i64::MAX as u64).then_some((value, end))
}

/// Append the shortest exact text of `mantissa / 10^scale`: no exponent, no trailing zeros, no bare point.
pub fn write(out: &mut Vec<u8>, mantissa: i64, scale: u8) {
    if mantissa < 0 {
        out.push(b'-');
    }
    let mut fraction_digits = scale as usize;
    let mut value = mantissa.unsigned_abs();
    while fraction_digits > 0 && value.is_multiple_of(10) {
        value /= 10;
        fraction_digits -= 1;
    }
    let mut digits = [b'0'; 40];
    let mut at = digits.len();
    let mut written = 0;
    while value > 0 || written <= fraction_digits {
        if written == fraction_digits && fraction_digits > 0 {
            at -= 1;
            digits[at] = b'.';
        }
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        written += 1;
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str, scale: u8) -> Result<i64, DecimalError> {
        // The same number must come out with room behind it (word path) and at the end of the frame (slow path).
        let near_end = format!("{text}\"");
        let with_room = format!("{text}\",\"0.00000000\"],[\"1\"");
        let slow = read_quoted(near_end.as_bytes(), 0, scale);
        let fast = read_quoted(with_room.as_bytes(), 0, scale);
        assert_eq!(slow, fast, "{text} in scale {scale}");
        slow.map(|(value, end)| {
            assert_eq!(end, text.len());
            value
        })
    }

    #[test]
    fn real_prices_and_quantities_are_exact() {
        assert_eq!(quoted("61800.20", 1), Ok(618_002));
        assert_eq!(quoted("61800.20", 2), Ok(6_180_020));
        assert_eq!(quoted("61837.63000000", 2), Ok(6_183_763));
        assert_eq!(quoted("0.00000638", 8), Ok(638));
        assert_eq!(quoted("437848", 0), Ok(437_848));
        assert_eq!(quoted("437848", 3), Ok(437_848_000));
        assert_eq!(quoted("100000000000.00000000", 0), Ok(100_000_000_000));
        assert_eq!(quoted("0.000", 0), Ok(0));
        assert_eq!(quoted("1.5", 8), Ok(150_000_000));
        assert_eq!(quoted("12345678", 2), Ok(1_234_567_800));
    }

    #[test]
    fn a_longer_decimal_asks_for_the_scale_it_needs() {
        assert_eq!(quoted("0.0010", 2), Err(DecimalError::NeedsScale(3)));
        assert_eq!(quoted("1.23456789", 0), Err(DecimalError::NeedsScale(8)));
        assert_eq!(quoted("0.1234567890123", 8), Err(DecimalError::NeedsScale(13)));
    }

    #[test]
    fn a_number_too_large_for_the_scale_asks_for_the_one_it_fits() {
        assert_eq!(quoted("61800.200", 18), Err(DecimalError::NeedsScale(1)));
        assert_eq!(quoted("9223372036854775807", 2), Err(DecimalError::NeedsScale(0)));
    }

    #[test]
    fn what_is_not_a_plain_decimal_is_refused_with_its_kind() {
        for text in ["", "abc", "1e5", "1e999", "NaN", "Infinity", "1.", ".5", "1.2.3", "+1", " 1", "0x10", "1_000"] {
            assert_eq!(quoted(text, 2), Err(DecimalError::NotANumber), "{text:?}");
        }
        assert_eq!(quoted("-1.0", 2), Err(DecimalError::Negative));
        assert_eq!(quoted("-0", 2), Err(DecimalError::Negative));
        assert_eq!(quoted(&"9".repeat(40), 0), Err(DecimalError::OutOfRange));
        assert_eq!(quoted("9223372036854775808", 0), Err(DecimalError::OutOfRange));
        assert_eq!(quoted("9223372036854775807", 0), Ok(i64::MAX));
        assert_eq!(quoted("0.1234567890123456789", 18), Err(DecimalError::OutOfRange));
    }

    #[test]
    fn writing_gives_the_shortest_exact_text() {
        let shown = |mantissa, scale| {
            let mut out = Vec::new();
            write(&mut out, mantissa, scale);
            String::from_utf8(out).expect("ascii")
        };
        assert_eq!(shown(6_180_020, 2), "61800.2");
        assert_eq!(shown(100_000, 3), "100");
        assert_eq!(shown(0, 8), "0");
        assert_eq!(shown(638, 8), "0.00000638");
        assert_eq!(shown(-5, 1), "-0.5");
        assert_eq!(shown(i64::MAX, 18), "9.223372036854775807");
        assert_eq!(shown(10, 1), "1");
    }

    #[test]
    fn integers_of_every_length_are_read() {
        for digits in 1..=19 {
            let text: String = "1234567890123456789"[..digits].into();
            let expected: u64 = text.parse().expect("fits");
            for tail in ["", ",", "}}", ",\"E\":1723161256313}"] {
                let frame = format!("{text}{tail}");
                assert_eq!(read_u64(frame.as_bytes(), 0), Some((expected, digits)), "{frame}");
            }
        }
        assert_eq!(read_u64(b"9223372036854775807", 0), Some((i64::MAX as u64, 19)));
        assert_eq!(read_u64(b"9223372036854775808", 0), None);
        assert_eq!(read_u64(b"99999999999999999999", 0), None);
        assert_eq!(read_u64(b"x", 0), None);
    }
}
