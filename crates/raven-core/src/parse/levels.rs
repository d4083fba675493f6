//! Runs of price levels, `[["61800.20","2.507"],["61800.10","0.043"],…]`: most of what an exchange sends.
//!
//! The levels of one message look alike: as many digits before and after the point in every price, as many after it in
//! every quantity. So the place of the next number is known before the digits of this one are understood, and the
//! processor reads ahead. A level that looks different is read the ordinary way, and the next ones are compared to it.

use super::decimal::{digit_run, digits_value, load8, ASCII_ZEROS, POW10};
use super::event::{Level, Scales, Stop};
use super::scan::{Next, Scanner};
use crate::reject::{Reason, Reject};

/// Bytes of the longest level that is read by its looks: `["` `12345.67` `","` `12345.67` `"]`.
const LONGEST: usize = 23;

/// Read an array of levels; `out` holds rubbish when it is refused.
///
/// # Errors
/// See [`Stop`]; never `NotCollected`.
#[inline]
pub fn levels(scanner: &mut Scanner<'_>, scales: Scales, out: &mut Vec<Level>) -> Result<(), Stop> {
    out.clear();
    if scanner.open(b'[', b']')? == Next::End {
        return Ok(());
    }
    let mut looks = Looks::default();
    loop {
        let level = match looks.read(scanner.rest()) {
            Some((level, length)) => {
                scanner.seek(scanner.offset() + length);
                level
            }
            None => {
                looks = Looks::of(scanner.rest(), scales).unwrap_or(looks);
                level(scanner, scales)?
            }
        };
        if level.price == 0 {
            return Err(Stop::Refused(scanner.refuse(Reason::ZeroPrice)));
        }
        out.push(level);
        if !scanner.take(b",") && scanner.next(b']')? == Next::End {
            return Ok(());
        }
    }
}

/// Read one level that may look like anything.
#[inline(never)]
fn level(scanner: &mut Scanner<'_>, scales: Scales) -> Result<Level, Stop> {
    let finer = |error: Result<u8, Reject>, scales: &dyn Fn(u8) -> Scales| match error {
        Ok(scale) => Stop::NeedsScales(scales(scale)),
        Err(reject) => Stop::Refused(reject),
    };
    scanner.expect(b'[')?;
    let price = scanner.decimal(scales.price).map_err(|error| finer(error, &|price| Scales { price, ..scales }))?;
    scanner.expect(b',')?;
    let quantity =
        scanner.decimal(scales.quantity).map_err(|error| finer(error, &|quantity| Scales { quantity, ..scales }))?;
    scanner.expect(b']')?;
    Ok(Level { price, quantity })
}

/// Digits behind the point of a column of numbers, and what makes them integers of the instrument's scale.
#[derive(Clone, Copy, Default)]
struct Decimals {
    written: u32,
    kept: u32,
    factor: i64,
}

impl Decimals {
    fn new(written: u32, scale: u8) -> Self {
        let kept = written.min(u32::from(scale));
        Self { written, kept, factor: POW10[(u32::from(scale) - kept) as usize] }
    }

    /// The number at the low end of a word, with so many digits before the point; `None` if it is not one.
    #[inline(always)]
    fn read(self, word: u64, whole: u32) -> Option<i64> {
        let digits = word & low_bytes(whole) | (word >> 8) & !low_bytes(whole);
        let (count, significant) = (whole + self.written, whole + self.kept);
        let is_exact = (digits ^ ASCII_ZEROS) & (low_bytes(count) ^ low_bytes(significant)) == 0;
        let has_point = (word >> (8 * whole)) as u8 == b'.';
        (has_point && is_exact && digit_run(digits) >= count)
            .then(|| digits_value(digits, significant) as i64 * self.factor)
    }
}

/// What the level before looked like; nothing looks like the default.
#[derive(Clone, Copy, Default)]
struct Looks {
    /// Digits before the point of a price.
    whole: u32,
    price: Decimals,
    quantity: Decimals,
}

impl Looks {
    /// The looks of the level that stands here, if its numbers are short enough to be read by them.
    fn of(text: &[u8], scales: Scales) -> Option<Self> {
        let (whole, fraction) = short_number(text, 2)?;
        let (_, quantity_fraction) = short_number(text, (whole + fraction) as usize + 6)?;
        (scales.price <= 8 && scales.quantity <= 8).then(|| Self {
            whole,
            price: Decimals::new(fraction, scales.price),
            quantity: Decimals::new(quantity_fraction, scales.quantity),
        })
    }

    /// The level that stands here and its length in bytes, if it looks like the one before.
    #[inline(always)]
    fn read(&self, text: &[u8]) -> Option<(Level, usize)> {
        let text: &[u8; LONGEST] = text.get(..LONGEST)?.try_into().ok()?;
        let between = (2 + self.whole + 1 + self.price.written) as usize;
        let word = load8(text, between + 3)?;
        let whole = digit_run(word);
        let end = between + 3 + (whole + 1 + self.quantity.written) as usize;
        let is_like = text[..2] == *b"[\""
            && self.whole != 0
            && text.get(between..between + 3)? == b"\",\""
            && whole.wrapping_sub(1) < 7 - self.quantity.written
            && text.get(end..end + 2)? == b"\"]";
        if !is_like {
            return None;
        }
        let price = self.price.read(load8(text, 2)?, self.whole)?;
        let quantity = self.quantity.read(word, whole)?;
        Some((Level { price, quantity }, end + 2))
    }
}

/// A word's lowest bytes.
#[inline(always)]
fn low_bytes(count: u32) -> u64 {
    (1 << (8 * count)) - 1
}

/// Digits before and after the point of the number at an offset, if it has both and fits a word with its point.
fn short_number(text: &[u8], at: usize) -> Option<(u32, u32)> {
    let word = load8(text, at)?;
    let whole = digit_run(word);
    if !(1..7).contains(&whole) || (word >> (8 * whole)) as u8 != b'.' {
        return None;
    }
    let fraction = digit_run(load8(text, at + whole as usize + 1)?);
    (fraction > 0 && whole + fraction < 8).then_some((whole, fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALES: Scales = Scales { price: 2, quantity: 3 };

    fn read(text: &str, scales: Scales) -> Result<Vec<Level>, Stop> {
        let mut out = vec![Level { price: 7, quantity: 7 }];
        let mut scanner = Scanner::new(text.as_bytes(), 0);
        levels(&mut scanner, scales, &mut out)?;
        assert_eq!(scanner.offset(), text.trim_end().trim_end_matches('}').len());
        Ok(out)
    }

    /// The same levels one by one: nothing stands before them that they could look like.
    fn read_singly(array: &str, scales: Scales) -> Result<Vec<Level>, Stop> {
        let each = array.trim_start_matches('[').trim_end_matches(['}', ']']).split("],[");
        each.map(|one| read(&format!("[[{one}]]}}}}"), scales).map(|levels| levels[0])).collect()
    }

    #[test]
    fn a_level_is_read_alike_after_whatever_others() {
        let prices =
            ["61800.20", "1.00", "61800.2", "618.200", "61800.20", "99.99", "100.00", "61837.63000000", "5", "0.01"];
        let quantities = ["0.000", "2.507", "12.345", "1234.567", "12345.678", "0.1", "0.00000000", "7", "0.0010"];
        let mut array = String::from("[");
        for (row, price) in prices.iter().enumerate() {
            for (column, quantity) in quantities.iter().enumerate() {
                // Twice, so that the second one is read by the looks of the first.
                for _ in 0..1 + (row + column) % 2 {
                    array.push_str(&format!("[\"{price}\",\"{quantity}\"],"));
                }
            }
        }
        array.pop();
        array.push_str("]}}");
        for scales in [SCALES, Scales { price: 3, quantity: 3 }, Scales { price: 8, quantity: 8 }] {
            let all = read(&array, scales).expect("sound");
            assert_eq!(Ok(all), read_singly(&array, scales));
        }
    }

    #[test]
    fn a_later_level_that_is_not_sound_is_refused_however_alike() {
        let good = "[\"61800.20\",\"2.507\"]";
        let end = "]}}                        ";
        let with = |level: &str| format!("[{good},{good},{level},{good}{end}");
        let refused = |level: &str| match read(&with(level), SCALES) {
            Err(Stop::Refused(reject)) => Some(reject.reason),
            _ => None,
        };
        assert_eq!(refused("[\"00000.00\",\"2.507\"]"), Some(Reason::ZeroPrice));
        assert_eq!(refused("[\"6180x.20\",\"2.507\"]"), Some(Reason::NotANumber));
        assert_eq!(refused("[\"61800.2 \",\"2.507\"]"), Some(Reason::NotANumber));
        assert_eq!(refused("[\"61800120\",\"2.5e7\"]"), Some(Reason::NotANumber));
        assert_eq!(refused("[\"-1800.20\",\"2.507\"]"), Some(Reason::NegativeValue));
        assert_eq!(refused("[\"61800.20\",\"2.507\""), Some(Reason::MalformedJson));
        assert_eq!(refused("[\"61800.20\",2.507]"), Some(Reason::WrongType));
        assert_eq!(
            read(&with("[\"61800.25\",\"2.507\"]"), Scales { price: 1, quantity: 3 }),
            Err(Stop::NeedsScales(Scales { price: 2, quantity: 3 }))
        );
        assert_eq!(read(&with(" [ \"61800.25\" , \"2.507\" ] "), SCALES).map(|levels| levels.len()), Ok(4));
    }
}
