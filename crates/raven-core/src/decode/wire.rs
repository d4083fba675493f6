//! Protobuf's wire format: fields with their numbers, nothing about what they mean.

/// The bytes are not a message, or one that says what no record can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A varint.
    Int(u64),
    /// A double, as its bits.
    Fixed(u64),
    /// A text, bytes, or a message.
    Bytes(&'a [u8]),
    /// Four bytes; no field of ours has them.
    Other,
}

impl<'a> Value<'a> {
    /// The integer, 0 for anything else: as if the field were not there.
    #[inline(always)]
    pub fn int(self) -> u64 {
        match self {
            Self::Int(value) => value,
            _ => 0,
        }
    }

    /// The double, 0 for anything else.
    #[inline(always)]
    pub fn double(self) -> f64 {
        match self {
            Self::Fixed(bits) => f64::from_bits(bits),
            _ => 0.0,
        }
    }

    /// The bytes, none for anything else.
    #[inline(always)]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => &[],
        }
    }
}

/// The fields of a message, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Of these bytes.
    pub fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field and its number, `None` at the end.
    ///
    /// # Errors
    /// [`Broken`] where the bytes end too early or have a type that protobuf does not know.
    #[inline(always)]
    pub fn read(&mut self) -> Result<Option<(u32, Value<'a>)>, Broken> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = u32::try_from(tag >> 3).map_err(|_| Broken)?;
        let value = match tag & 7 {
            0 => Value::Int(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                Value::Fixed(u64::from_le_bytes(bytes.try_into().map_err(|_| Broken)?))
            }
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| Broken)?)?)
            }
            5 => {
                self.take(4)?;
                Value::Other
            }
            _ => return Err(Broken),
        };
        Ok(Some((field, value)))
    }

    #[inline(always)]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Broken)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0;
        for (at, byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_type_come_with_their_numbers() {
        let bytes = [0x08, 0x96, 0x01, 0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x1a, 2, b'o', b'k', 0x25, 1, 2, 3, 4];
        let mut fields = Fields::of(&bytes);
        assert_eq!(fields.read(), Ok(Some((1, Value::Int(150)))));
        assert_eq!(fields.read().map(|field| field.map(|(at, value)| (at, value.double()))), Ok(Some((2, 1.0))));
        assert_eq!(fields.read(), Ok(Some((3, Value::Bytes(b"ok")))));
        assert_eq!(fields.read(), Ok(Some((4, Value::Other))));
        assert_eq!(fields.read(), Ok(None));
    }

    #[test]
    fn what_ends_too_early_or_has_no_type_is_broken() {
        for bytes in [&[0x08][..], &[0x11, 1, 2], &[0x1a, 5, 1], &[0x25, 1], &[0x0b], &[0x80; 11]] {
            assert_eq!(Fields::of(bytes).read(), Err(Broken), "{bytes:?}");
        }
    }
}
