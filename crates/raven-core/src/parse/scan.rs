//! A strict JSON scanner that walks one frame from left to right and borrows everything.
//!
//! It is not a JSON library: it offers just the steps that exchange messages need, refuses what it does not
//! expect, and never allocates. Objects may have their keys in any order and white space anywhere.

use super::decimal::{self, DecimalError};
use crate::reject::{Reason, Reject};

/// No message of any venue nests deeper than this.
const MAX_DEPTH: usize = 32;

/// A position in a frame.
#[derive(Clone, Copy, Debug)]
pub struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

/// An object's key packed into a word (up to 8 bytes, little endian), so that a key is matched like a number.
pub type Key = u64;

/// Pack a key; longer keys keep their first eight bytes, which tells all keys of our venues apart.
pub const fn key(name: &str) -> Key {
    let bytes = name.as_bytes();
    let mut packed = 0u64;
    let mut i = 0;
    while i < bytes.len() && i < 8 {
        packed |= (bytes[i] as u64) << (8 * i);
        i += 1;
    }
    packed
}

/// How an object goes on after a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another member follows.
    More,
    /// The object or array has ended.
    End,
}

impl<'a> Scanner<'a> {
    /// Start at an offset of a frame.
    pub fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    /// The current offset.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// What has not been read yet.
    #[inline(always)]
    pub fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    /// Go back (or ahead) to an offset that was taken before.
    pub fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// A refusal here.
    #[cold]
    pub fn refuse(&self, reason: Reason) -> Reject {
        let reason =
            if self.at >= self.text.len() && reason == Reason::MalformedJson { Reason::Truncated } else { reason };
        Reject::at(reason, self.at)
    }

    /// The next byte that is not white space, without taking it.
    #[inline(always)]
    pub fn peek(&mut self) -> Result<u8, Reject> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(self.refuse(Reason::Truncated)),
            }
        }
    }

    /// Take one expected byte of punctuation.
    #[inline(always)]
    pub fn expect(&mut self, byte: u8) -> Result<(), Reject> {
        if self.text.get(self.at) == Some(&byte) || self.peek()? == byte {
            self.at += 1;
            return Ok(());
        }
        Err(self.refuse(Reason::MalformedJson))
    }

    /// Take these exact bytes if they stand here.
    #[inline(always)]
    pub fn take(&mut self, literal: &[u8]) -> bool {
        let here = self.text.get(self.at..self.at + literal.len()) == Some(literal);
        if here {
            self.at += literal.len();
        }
        here
    }

    /// Nothing but white space may follow.
    #[inline(always)]
    pub fn finish(&mut self) -> Result<(), Reject> {
        if self.at == self.text.len() {
            return Ok(());
        }
        match self.peek() {
            Ok(_) => Err(self.refuse(Reason::TrailingBytes)),
            Err(_) => Ok(()),
        }
    }

    /// Take `"key":` and return the packed key.
    #[inline(always)]
    pub fn member(&mut self) -> Result<Key, Reject> {
        if let Some([b'"', name, b'"', b':']) = self.text.get(self.at..self.at + 4) {
            self.at += 4;
            return Ok(u64::from(*name));
        }
        self.long_member()
    }

    fn long_member(&mut self) -> Result<Key, Reject> {
        if self.peek()? != b'"' {
            return Err(self.refuse(Reason::MalformedJson));
        }
        let name = self.string()?;
        self.expect(b':')?;
        let mut packed = 0u64;
        for (i, byte) in name.iter().take(8).enumerate() {
            packed |= u64::from(*byte) << (8 * i);
        }
        Ok(packed)
    }

    /// After a value: is there another member, or does `close` end the object or array?
    #[inline(always)]
    pub fn next(&mut self, close: u8) -> Result<Next, Reject> {
        let byte = self.peek()?;
        if byte == b',' {
            self.at += 1;
            self.peek()?;
            Ok(Next::More)
        } else if byte == close {
            self.at += 1;
            Ok(Next::End)
        } else {
            Err(self.refuse(Reason::MalformedJson))
        }
    }

    /// Take `{` or `[`; tells whether it has members.
    #[inline(always)]
    pub fn open(&mut self, open: u8, close: u8) -> Result<Next, Reject> {
        if self.peek()? != open {
            return Err(self.refuse(Reason::WrongType));
        }
        self.at += 1;
        if self.peek()? == close {
            self.at += 1;
            return Ok(Next::End);
        }
        Ok(Next::More)
    }

    /// Take a string and return what stands between the quotes, escapes untouched.
    #[inline(always)]
    pub fn string(&mut self) -> Result<&'a [u8], Reject> {
        if self.peek()? != b'"' {
            return Err(self.refuse(Reason::WrongType));
        }
        let start = self.at + 1;
        let mut end = start;
        while let Some(word) = decimal::load8(self.text, end) {
            let plain = plain_run(word);
            end += plain;
            if plain < 8 {
                break;
            }
        }
        if self.text.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(&self.text[start..end]);
        }
        self.unusual_string(start)
    }

    /// A string at the end of a frame, or with escapes, control characters or letters beyond ASCII.
    #[inline(never)]
    fn unusual_string(&mut self, start: usize) -> Result<&'a [u8], Reject> {
        let mut end = start;
        loop {
            match self.text.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => {
                    self.at = self.text.len();
                    return Err(self.refuse(Reason::Truncated));
                }
            }
        }
        let content = &self.text[start..end];
        self.check_unusual(content)?;
        self.at = end + 1;
        Ok(content)
    }

    fn check_unusual(&self, content: &[u8]) -> Result<(), Reject> {
        if content.iter().any(|byte| *byte < 0x20) || !has_sound_escapes(content) {
            return Err(self.refuse(Reason::MalformedJson));
        }
        std::str::from_utf8(content).map(|_| ()).map_err(|_| self.refuse(Reason::InvalidUtf8))
    }

    /// Take an unsigned integer.
    #[inline(always)]
    pub fn unsigned(&mut self) -> Result<u64, Reject> {
        let first = match self.text.get(self.at) {
            Some(byte) if byte.is_ascii_digit() => *byte,
            _ => self.peek()?,
        };
        if !first.is_ascii_digit() {
            let reason = if first == b'-' { Reason::NegativeValue } else { Reason::WrongType };
            return Err(self.refuse(reason));
        }
        match decimal::read_u64(self.text, self.at) {
            Some((value, end)) => {
                if let Some(b'.' | b'e' | b'E') = self.text.get(end) {
                    return Err(self.refuse(Reason::WrongType));
                }
                self.at = end;
                Ok(value)
            }
            None => Err(self.refuse(Reason::NumberOutOfRange)),
        }
    }

    /// Take `true` or `false`.
    #[inline(always)]
    pub fn boolean(&mut self) -> Result<bool, Reject> {
        self.peek()?;
        if self.take(b"true") {
            Ok(true)
        } else if self.take(b"false") {
            Ok(false)
        } else {
            Err(self.refuse(Reason::WrongType))
        }
    }

    /// Take a quoted unsigned decimal in a scale.
    ///
    /// # Errors
    /// `Err(Ok(scale))`: exact only with so many decimals; `Err(Err(_))`: refused.
    #[inline(always)]
    pub fn decimal(&mut self, scale: u8) -> Result<i64, Result<u8, Reject>> {
        if self.text.get(self.at) != Some(&b'"') && self.peek().map_err(Err)? != b'"' {
            return Err(Err(self.refuse(Reason::WrongType)));
        }
        match decimal::read_quoted(self.text, self.at + 1, scale) {
            Ok((value, quote)) => {
                self.at = quote + 1;
                Ok(value)
            }
            Err(error) => Err(self.refuse_decimal(error)),
        }
    }

    #[cold]
    fn refuse_decimal(&self, error: DecimalError) -> Result<u8, Reject> {
        match error {
            DecimalError::NeedsScale(scale) => Ok(scale),
            DecimalError::NotANumber if !self.text[self.at + 1..].contains(&b'"') => {
                Err(Reject::at(Reason::Truncated, self.text.len()))
            }
            DecimalError::NotANumber => Err(self.refuse(Reason::NotANumber)),
            DecimalError::Negative => Err(self.refuse(Reason::NegativeValue)),
            DecimalError::OutOfRange => Err(self.refuse(Reason::NumberOutOfRange)),
        }
    }

    /// Pass over any value and check its syntax on the way.
    pub fn skip(&mut self) -> Result<(), Reject> {
        // One bit per open bracket: 1 for an object, 0 for an array.
        let mut open: u64 = 0;
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'{' => {
                    if self.open(b'{', b'}')? == Next::More {
                        depth += 1;
                        open = open << 1 | 1;
                        self.check_depth(depth)?;
                        self.member()?;
                        continue;
                    }
                }
                b'[' => {
                    if self.open(b'[', b']')? == Next::More {
                        depth += 1;
                        open <<= 1;
                        self.check_depth(depth)?;
                        continue;
                    }
                }
                _ => self.skip_scalar()?,
            }
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let in_object = open & 1 == 1;
                match self.next(if in_object { b'}' } else { b']' })? {
                    Next::More => {
                        if in_object {
                            self.member()?;
                        }
                        break;
                    }
                    Next::End => {
                        depth -= 1;
                        open >>= 1;
                    }
                }
            }
        }
    }

    fn check_depth(&self, depth: usize) -> Result<(), Reject> {
        if depth > MAX_DEPTH {
            return Err(self.refuse(Reason::TooDeep));
        }
        Ok(())
    }

    fn skip_scalar(&mut self) -> Result<(), Reject> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b't' | b'f' => self.boolean().map(|_| ()).map_err(|_| self.refuse(Reason::MalformedJson)),
            b'n' if self.take(b"null") => Ok(()),
            b'-' | b'0'..=b'9' => self.skip_number(),
            _ => Err(self.refuse(Reason::MalformedJson)),
        }
    }

    fn skip_number(&mut self) -> Result<(), Reject> {
        self.take(b"-");
        if !self.take(b"0") {
            self.skip_digits()?;
        }
        if self.take(b".") {
            self.skip_digits()?;
        }
        if self.take(b"e") || self.take(b"E") {
            if !self.take(b"+") {
                self.take(b"-");
            }
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<(), Reject> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.refuse(Reason::MalformedJson));
        }
        Ok(())
    }
}

/// How many bytes at the low end of a word are neither quotes nor backslashes nor control characters nor beyond ASCII.
#[inline(always)]
fn plain_run(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES * 0x80;
    // Subtracting sets a byte's high bit where it was below; a borrow can only disturb the bytes above the first hit.
    let below = |value: u64, limit: u64| value.wrapping_sub(ONES * limit) & !value;
    let quote = below(word ^ (ONES * b'"' as u64), 1);
    let backslash = below(word ^ (ONES * b'\\' as u64), 1);
    let unusual = (quote | backslash | below(word, 0x20) | word) & HIGHS;
    unusual.trailing_zeros() as usize / 8
}

/// Does JSON know every escape of a string?
fn has_sound_escapes(content: &[u8]) -> bool {
    let mut rest = content;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        rest = match &rest[at + 1..] {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after @ ..] => after,
            [b'u', a, b, c, d, after @ ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => after,
            _ => return false,
        };
    }
    true
}

/// Which fields of an object were seen, so that a missing or doubled one is refused.
#[derive(Clone, Copy, Default)]
pub struct Seen(u32);

impl Seen {
    /// Note a field; refuse it the second time.
    #[inline(always)]
    pub fn note(&mut self, bit: u32, scanner: &Scanner<'_>) -> Result<(), Reject> {
        if self.0 & bit != 0 {
            return Err(scanner.refuse(Reason::DuplicateKey));
        }
        self.0 |= bit;
        Ok(())
    }

    /// Were all of these fields seen?
    #[inline(always)]
    pub fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(text: &str) -> Result<usize, Reject> {
        let mut scanner = Scanner::new(text.as_bytes(), 0);
        scanner.skip()?;
        scanner.finish()?;
        Ok(scanner.offset())
    }

    #[test]
    fn any_json_value_can_be_passed_over() {
        for text in
            ["{}", "[]", "null", "-1.5e3", "\"a\\\"b\"", "{\"a\":[1,{\"b\":null}],\"c\":{}}", " [ 1 , 2 ] ", "\"äß\""]
        {
            assert!(skip(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn broken_json_is_refused_with_its_reason() {
        let cases = [
            ("{\"a\":1", Reason::Truncated),
            ("{\"a\" 1}", Reason::MalformedJson),
            ("[1,]", Reason::MalformedJson),
            ("{\"a\":1}x", Reason::TrailingBytes),
            ("tru", Reason::MalformedJson),
            ("1-2", Reason::TrailingBytes),
            ("-", Reason::Truncated),
            ("[1.e5]", Reason::MalformedJson),
            ("\"abc", Reason::Truncated),
        ];
        for (text, reason) in cases {
            assert_eq!(skip(text).map_err(|reject| reject.reason), Err(reason), "{text}");
        }
        assert_eq!(skip(&"[".repeat(10_000)).map_err(|reject| reject.reason), Err(Reason::TooDeep));
        let mut scanner = Scanner::new(b"\"\xff\xfe\"", 0);
        assert_eq!(scanner.string().map_err(|reject| reject.reason), Err(Reason::InvalidUtf8));
    }

    #[test]
    fn keys_are_matched_like_numbers() {
        let mut scanner = Scanner::new(b"\"pu\" : 7", 0);
        assert_eq!(scanner.member(), Ok(key("pu")));
        assert_eq!(scanner.unsigned(), Ok(7));
    }
}
