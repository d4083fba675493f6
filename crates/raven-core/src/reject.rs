//! Every reason for which an event is refused, in one list.
//!
//! The names are what a user meets: in metrics, in quarantine files and in `docs/reference/validation.md`,
//! which is generated from this list. Codes are stable: new reasons go to the end.

macro_rules! reasons {
    ($($variant:ident = $name:literal, $doc:literal;)*) => {
        /// Why an event was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = $doc] $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the codes.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The name that users see.
            pub fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }

            /// One sentence for people.
            pub fn explanation(self) -> &'static str {
                match self { $(Reason::$variant => $doc,)* }
            }
        }
    };
}

reasons! {
    MalformedJson = "malformed_json", "The bytes are not the JSON that was expected at this offset.";
    Truncated = "truncated", "The frame ends in the middle of a value.";
    TrailingBytes = "trailing_bytes", "Something follows the end of the JSON value.";
    DuplicateKey = "duplicate_key", "A key stands twice in one object.";
    TooDeep = "too_deep", "Values are nested deeper than any message of the venue.";
    InvalidUtf8 = "invalid_utf8", "A string is not valid UTF-8.";
    FrameTooLarge = "frame_too_large", "The frame is longer than `max_frame_bytes`.";
    MissingField = "missing_field", "A field that the event needs is absent.";
    WrongType = "wrong_type", "A field has another JSON type than documented.";
    UnknownEvent = "unknown_event", "The event type is not one that Raven knows.";
    UnknownSymbol = "unknown_symbol", "No instrument of this name is collected on this connection's venue.";
    NotANumber = "not_a_number", "A decimal text is not a plain decimal (NaN, Infinity, exponents and words are refused).";
    NumberOutOfRange = "number_out_of_range", "A number does not fit 64 bits in the instrument's scale.";
    NegativeValue = "negative_value", "A price, quantity or id is negative.";
    ZeroPrice = "zero_price", "A price is zero.";
    ZeroQuantity = "zero_quantity", "A trade has no quantity.";
    TimestampOutOfRange = "timestamp_out_of_range", "A time lies outside 2001 to 2100, or is in another unit than milliseconds.";
    ClockSkew = "clock_skew", "The venue's time differs from ours by more than `max_clock_skew_ms`.";
    PriceDeviation = "price_deviation", "The price is further from the last accepted one than `max_price_deviation` and not confirmed yet.";
    OutOfOrderTrade = "out_of_order_trade", "A trade arrived after a later one had been published.";
    CrossedQuote = "crossed_quote", "The best bid is not below the best ask.";
    CrossedBook = "crossed_book", "Applying the update would leave a best bid at or above the best ask.";
    InconsistentIds = "inconsistent_ids", "The first update id, or the one before it, lies behind the last one.";
}

impl Reason {
    /// Number of reasons.
    pub const COUNT: usize = Self::ALL.len();
}

/// A refusal: why, and at which byte of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: Reason,
    /// Offset into the frame.
    pub offset: usize,
}

impl Reject {
    /// A refusal at an offset.
    #[cold]
    pub fn at(reason: Reason, offset: usize) -> Self {
        Self { reason, offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_positions_and_names_are_unique() {
        for (code, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, code);
            let same = Reason::ALL.iter().filter(|other| other.name() == reason.name()).count();
            assert_eq!(same, 1, "{}", reason.name());
        }
    }
}
