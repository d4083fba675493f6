//! What a parser hands to the engine, whatever the venue: numbers are integers in the instrument's scales.

use crate::reject::Reject;

/// Decimals of an instrument's prices and quantities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scales {
    /// Decimals of prices.
    pub price: u8,
    /// Decimals of quantities.
    pub quantity: u8,
}

/// Why an event was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is refused.
    Refused(Reject),
    /// It is exact only in these scales, finer or coarser: change those of the instrument and read again.
    NeedsScales(Scales),
    /// Its symbol is not collected here.
    NotCollected,
}

impl From<Reject> for Stop {
    fn from(reject: Reject) -> Self {
        Self::Refused(reject)
    }
}

/// Price and quantity of one level; quantity 0 removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Price in the instrument's scale.
    pub price: i64,
    /// Quantity in the instrument's scale.
    pub quantity: i64,
}

/// A depth message without its levels, which go to scratch vectors that the caller keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Event time, ms; 0 when absent.
    pub event_ms: u64,
    /// First update id in the event (`U`).
    pub first_id: u64,
    /// Last update id in the event (`u`), or a snapshot's `lastUpdateId`.
    pub last_id: u64,
    /// The previous event's last id (`pu`); futures only.
    pub previous_id: Option<u64>,
}

/// One trade or one aggregate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trade {
    /// Trade time, ms.
    pub trade_ms: u64,
    /// `t` of a single trade, `a` of an aggregate.
    pub id: u64,
    /// Price in the instrument's scale.
    pub price: i64,
    /// Quantity in the instrument's scale.
    pub quantity: i64,
    /// The buyer was the maker, so the taker sold.
    pub taker_sells: bool,
    /// First fill of an aggregate, 0 otherwise.
    pub first_fill: u64,
    /// Last fill of an aggregate, 0 otherwise.
    pub last_fill: u64,
}

/// Best bid and ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookTicker {
    /// Transaction time, ms; 0 on spot, which sends none.
    pub time_ms: u64,
    /// The book's update id.
    pub update_id: u64,
    /// Best bid price.
    pub bid_price: i64,
    /// Quantity at the best bid.
    pub bid_quantity: i64,
    /// Best ask price.
    pub ask_price: i64,
    /// Quantity at the best ask.
    pub ask_quantity: i64,
}
