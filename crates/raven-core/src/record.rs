//! The vocabulary of everything that travels on a ring: one header, one body per kind.
//!
//! A record is a run of 64-bit words. Six header words are the same for every kind; the body
//! words are integers in the instrument's scale (`value = mantissa / 10^scale`), so no digit of
//! the exchange's decimal string is lost. Floats appear only in [`crate::encode`].

/// Words every record starts with.
pub const HEADER_WORDS: usize = 6;
/// Levels per side a published book carries at most (the deepest tier).
pub const MAX_LEVELS: usize = 1000;
/// Longest record there is: a book of the deepest tier.
pub const MAX_RECORD_WORDS: usize = HEADER_WORDS + 1 + 4 * MAX_LEVELS;

/// What a record says. The discriminants are part of the ring's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The best levels of both sides. Body: `proven` word, then bids, then asks, best first, each `price, quantity`.
    /// The `proven` word is `bids_proven | asks_proven << 32`: how many of the levels lie inside the range that a snapshot proved.
    Book = 1,
    /// One fill, or one aggregate of fills. Body: `price, quantity, taker_sells (0/1), first_fill_id, last_fill_id`.
    Trade = 2,
    /// Best bid and ask as the venue sent them. Body: `bid_price, bid_quantity, ask_price, ask_quantity`.
    Quote = 3,
    /// A candle of the venue. Body: see [`candle`].
    Candle = 4,
    /// Mark price and funding. Body: see [`funding`].
    Funding = 5,
    /// A forced order. Body: `price, average_price, quantity, is_sell (0/1)`.
    Liquidation = 6,
    /// A hole in a topic. Body: see [`gap`].
    Gap = 7,
    /// A bar of our own, made of trades. Body: see [`bar`].
    Bar = 8,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 8] =
        [Self::Book, Self::Trade, Self::Quote, Self::Candle, Self::Funding, Self::Liquidation, Self::Gap, Self::Bar];

    /// The kind with this discriminant, if there is one.
    pub fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Book,
            2 => Self::Trade,
            3 => Self::Quote,
            4 => Self::Candle,
            5 => Self::Funding,
            6 => Self::Liquidation,
            7 => Self::Gap,
            8 => Self::Bar,
            _ => return None,
        })
    }
}

/// Body words of a [`Kind::Candle`]: prices and volumes in the instrument's scales.
pub mod candle {
    /// Open time, ms since 1970.
    pub const OPEN_TIME_MS: usize = 0;
    /// First price.
    pub const OPEN: usize = 1;
    /// Highest price.
    pub const HIGH: usize = 2;
    /// Lowest price.
    pub const LOW: usize = 3;
    /// Last price.
    pub const CLOSE: usize = 4;
    /// Base volume.
    pub const VOLUME: usize = 5;
    /// Length of the candle, seconds.
    pub const INTERVAL_S: usize = 6;
    /// Number of fills.
    pub const TICKS: usize = 7;
    /// Volume whose taker bought.
    pub const BUY_VOLUME: usize = 8;
    /// 1 when the venue closed the candle, else 0.
    pub const CLOSED: usize = 9;
    /// Number of body words.
    pub const WORDS: usize = 10;
}

/// Body words of a [`Kind::Funding`]; all prices and the rate have [`funding::SCALE`] decimals.
pub mod funding {
    /// Decimals of every value in the body, whatever the instrument's scale is.
    pub const SCALE: u8 = 8;
    /// Mark price.
    pub const MARK_PRICE: usize = 0;
    /// Index price, 0 when the venue does not send one (COIN-M).
    pub const INDEX_PRICE: usize = 1;
    /// Funding rate, 0 when the venue sends it empty.
    pub const RATE: usize = 2;
    /// Next funding time, ms since 1970.
    pub const NEXT_FUNDING_MS: usize = 3;
    /// Estimated settlement price.
    pub const SETTLE_PRICE: usize = 4;
    /// Number of body words.
    pub const WORDS: usize = 5;
}

/// Body words of a [`Kind::Bar`]: prices and volumes in the instrument's scales.
pub mod bar {
    /// When it opened, ms since 1970: the time of its first trade, or of the clock for time bars.
    pub const OPEN_TIME_MS: usize = 0;
    /// The last ms that belongs to it: the time of the trade that closed it, or of the clock for time bars.
    pub const CLOSE_TIME_MS: usize = 1;
    /// First price.
    pub const OPEN: usize = 2;
    /// Highest price.
    pub const HIGH: usize = 3;
    /// Lowest price.
    pub const LOW: usize = 4;
    /// Last price.
    pub const CLOSE: usize = 5;
    /// Base volume.
    pub const VOLUME: usize = 6;
    /// Volume whose taker bought.
    pub const BUY_VOLUME: usize = 7;
    /// Sum of price times quantity, a signed 128-bit integer in both scales together: its low word, then its high one.
    pub const QUOTE_VOLUME: usize = 8;
    /// Trades whose taker bought.
    pub const BUY_TICKS: usize = 10;
    /// Trades whose taker sold.
    pub const SELL_TICKS: usize = 11;
    /// What the rule summed up, a double: see [`crate::bars`].
    pub const THETA: usize = 12;
    /// What the sum had to exceed, a double; 0 for rules without one.
    pub const THRESHOLD: usize = 13;
    /// The venue's id of the first trade.
    pub const FIRST_TRADE_ID: usize = 14;
    /// The venue's id of the last trade.
    pub const LAST_TRADE_ID: usize = 15;
    /// Trades that may be missing from it.
    pub const GAP_COUNT: usize = 16;
    /// Bits: [`COMPLETE`], [`WARMING_UP`]; from [`PART_BIT`] on how many bars its first trade was in before it, from
    /// [`REVISION_BIT`] on how often it was corrected.
    pub const QUALITY: usize = 17;
    /// Which rule made it: the code of its kind, and options above it, see [`crate::bars::Spec`].
    pub const RULE: usize = 18;
    /// The rule's parameters, doubles.
    pub const PARAMETERS: usize = 19;
    /// How many parameters there is room for.
    pub const MAX_PARAMETERS: usize = 8;
    /// Number of body words.
    pub const WORDS: usize = PARAMETERS + MAX_PARAMETERS;

    /// Quality: it began and ended by its rule, and no trade is missing.
    pub const COMPLETE: u64 = 1;
    /// Quality: the rule's averages still carry more of what was configured than of what was seen.
    pub const WARMING_UP: u64 = 2;
    /// Where in the quality the part begins.
    pub const PART_BIT: u32 = 8;
    /// The bits of the part.
    pub const PART_MASK: u32 = 0xff_ffff;
    /// Where in the quality the revision begins.
    pub const REVISION_BIT: u32 = 32;
}

/// Body words of a [`Kind::Gap`].
pub mod gap {
    /// The `DataType` of the topic that lost something.
    pub const DATA_TYPE: usize = 0;
    /// How many events are missing; 0 means that nobody can know.
    pub const COUNT: usize = 1;
    /// First missing id of the venue, 0 when unknown.
    pub const FIRST_ID: usize = 2;
    /// Last missing id of the venue, 0 when unknown.
    pub const LAST_ID: usize = 3;
    /// A [`super::GapReason`].
    pub const REASON: usize = 4;
    /// 1 when what was missing has been delivered meanwhile.
    pub const REPAIRED: usize = 5;
    /// Number of body words.
    pub const WORDS: usize = 6;
}

/// Why a topic has a hole; the names are those of `GapMark.reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GapReason {
    /// The reader was slower than the ring.
    SlowReader = 1,
    /// The venue's own ids jumped.
    VenueGap = 2,
    /// The connection was lost.
    Reconnect = 3,
    /// Validation refused what was received.
    Rejected = 4,
    /// The journal could not keep it.
    Journal = 5,
    /// A hop between roles lost it.
    Upstream = 6,
}

impl GapReason {
    /// The wire name, as in `GapMark.reason`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SlowReader => "slow_reader",
            Self::VenueGap => "venue_gap",
            Self::Reconnect => "reconnect",
            Self::Rejected => "rejected",
            Self::Journal => "journal",
            Self::Upstream => "upstream",
        }
    }

    /// The reason with this discriminant, if there is one.
    pub fn from_u64(value: u64) -> Option<Self> {
        Some(match value {
            1 => Self::SlowReader,
            2 => Self::VenueGap,
            3 => Self::Reconnect,
            4 => Self::Rejected,
            5 => Self::Journal,
            6 => Self::Upstream,
            _ => return None,
        })
    }
}

/// Quality bits of a record; the same bits as `MarketDataMessage.flags`.
pub mod flags {
    /// The state itself, not a change of it: first after a subscription or a resync.
    pub const SNAPSHOT: u32 = 1;
    /// The book is older than it should be and must not be trusted.
    pub const STALE: u32 = 2;
    /// Events are missing before this one.
    pub const AFTER_GAP: u32 = 4;
    /// Delivered later than it happened.
    pub const BACKFILLED: u32 = 8;
    /// A new snapshot is on its way.
    pub const RESYNCING: u32 = 16;
    /// States were skipped on purpose (conflation).
    pub const SKIPPED: u32 = 32;
}

/// `DataType` of the wire contract: what a subscriber asks for.
pub mod data_type {
    /// Books.
    pub const ORDERBOOK: i32 = 0;
    /// Trades.
    pub const TRADES: i32 = 1;
    /// One-minute candles.
    pub const CANDLES_1M: i32 = 2;
    /// Five-minute candles.
    pub const CANDLES_5M: i32 = 3;
    /// One-hour candles.
    pub const CANDLES_1H: i32 = 4;
    /// Mark price and funding.
    pub const FUNDING_RATES: i32 = 5;
    /// Balances of an account.
    pub const WALLET_UPDATES: i32 = 6;
    /// Best bid and ask.
    pub const QUOTES: i32 = 100;
    /// Forced orders. Rides on the ring; it has no message in the subscription dialect yet.
    pub const LIQUIDATIONS: i32 = 101;
    /// Bars of the clock other than of one, five and sixty minutes.
    pub const TIME_BARS: i32 = 110;
    /// Bars of so many trades.
    pub const TICK_BARS: i32 = 111;
    /// Bars of so much base volume.
    pub const VOLUME_BARS: i32 = 112;
    /// Bars of so much quote volume.
    pub const QUOTE_VOLUME_BARS: i32 = 113;
    /// Tick imbalance bars.
    pub const TICK_IMBALANCE_BARS: i32 = 114;
    /// Volume imbalance bars.
    pub const VOLUME_IMBALANCE_BARS: i32 = 115;
    /// Tick run bars.
    pub const TICK_RUN_BARS: i32 = 116;
    /// Volume run bars.
    pub const VOLUME_RUN_BARS: i32 = 117;
    /// Volume buckets with their VPIN.
    pub const VPIN_BARS: i32 = 118;
}

/// The six words that every record starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the body holds.
    pub kind: Kind,
    /// Quality bits, see [`flags`].
    pub flags: u32,
    /// Per topic, by one, from 1. Given by the ring when it publishes; ignored on the way in.
    pub sequence: u64,
    /// When the frame arrived, ns since 1970.
    pub recv_ns: i64,
    /// When the venue says it happened, ns since 1970.
    pub exchange_ns: i64,
    /// The venue's id: trade id, aggregate id or book update id.
    pub id: u64,
    /// Decimals of every price in the body.
    pub price_scale: u8,
    /// Decimals of every quantity in the body.
    pub quantity_scale: u8,
    /// Bid levels in the body (books only).
    pub bids: u16,
    /// Ask levels in the body (books only).
    pub asks: u16,
}

impl Header {
    /// Pack into words; `total_words` counts header and body.
    pub fn to_words(&self, total_words: usize) -> [u64; HEADER_WORDS] {
        [
            total_words as u64 | (self.kind as u64) << 32 | u64::from(self.flags) << 40,
            self.sequence,
            self.recv_ns as u64,
            self.exchange_ns as u64,
            self.id,
            u64::from(self.price_scale)
                | u64::from(self.quantity_scale) << 8
                | u64::from(self.bids) << 16
                | u64::from(self.asks) << 32,
        ]
    }

    /// Unpack; `None` when the words are not a record.
    pub fn from_words(words: &[u64]) -> Option<Self> {
        if words.len() < HEADER_WORDS {
            return None;
        }
        Some(Self {
            kind: Kind::from_u8((words[0] >> 32) as u8)?,
            flags: (words[0] >> 40) as u32,
            sequence: words[1],
            recv_ns: words[2] as i64,
            exchange_ns: words[3] as i64,
            id: words[4],
            price_scale: words[5] as u8,
            quantity_scale: (words[5] >> 8) as u8,
            bids: (words[5] >> 16) as u16,
            asks: (words[5] >> 32) as u16,
        })
    }

    /// Words of the whole record, read from its first word.
    pub fn total_words(first_word: u64) -> usize {
        (first_word & 0xffff_ffff) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_trip_through_words() {
        let header = Header {
            kind: Kind::Book,
            flags: flags::STALE | flags::SKIPPED,
            sequence: u64::MAX,
            recv_ns: -5,
            exchange_ns: i64::MAX,
            id: 7,
            price_scale: 8,
            quantity_scale: 3,
            bids: 1000,
            asks: 999,
        };
        let words = header.to_words(4007);
        assert_eq!(Header::from_words(&words), Some(header));
        assert_eq!(Header::total_words(words[0]), 4007);
    }

    #[test]
    fn an_unknown_kind_is_not_a_record() {
        assert_eq!(Header::from_words(&[0; 6]), None);
    }
}
