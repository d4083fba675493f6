//! The Binance messages that come once a second or less: candles, mark prices, forced orders.

use super::binance::members;
use super::decimal;
use super::event::{Scales, Stop};
use super::scan::{key, Key, Scanner, Seen};
use crate::record::funding;
use crate::reject::{Reason, Reject};

const SYMBOL: Key = key("s");

fn scaled(scanner: &mut Scanner<'_>, scale: u8, grown: impl FnOnce(u8) -> Scales) -> Result<i64, Stop> {
    scanner.decimal(scale).map_err(|error| match error {
        Ok(scale) => Stop::NeedsScales(grown(scale)),
        Err(reject) => Stop::Refused(reject),
    })
}

fn price(scanner: &mut Scanner<'_>, scales: Scales) -> Result<i64, Stop> {
    scaled(scanner, scales.price, |price| Scales { price, ..scales })
}

fn quantity(scanner: &mut Scanner<'_>, scales: Scales) -> Result<i64, Stop> {
    scaled(scanner, scales.quantity, |quantity| Scales { quantity, ..scales })
}

/// Find a member of an object; the scanner stays where it is.
fn find<'a>(mut scanner: Scanner<'a>, wanted: Key) -> Result<Scanner<'a>, Stop> {
    let mut found = None;
    members(&mut scanner, |scanner, name| {
        if name == wanted && found.is_none() {
            scanner.peek()?;
            found = Some(*scanner);
        }
        Ok(scanner.skip()?)
    })?;
    found.ok_or(Stop::Refused(scanner.refuse(Reason::MissingField)))
}

/// One candle of the venue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kline {
    /// Event time, ms.
    pub event_ms: u64,
    /// Open time, ms.
    pub open_ms: u64,
    /// Length, seconds.
    pub interval_s: u64,
    /// Open, high, low, close.
    pub prices: [i64; 4],
    /// Base volume.
    pub volume: i64,
    /// Volume whose taker bought.
    pub buy_volume: i64,
    /// Number of fills.
    pub ticks: u64,
    /// Last fill's id.
    pub last_fill: u64,
    /// The venue closed it.
    pub closed: bool,
}

/// Read one `kline`.
///
/// # Errors
/// See [`Stop`].
pub fn kline(scanner: &mut Scanner<'_>, mut resolve: impl FnMut(&[u8]) -> Option<Scales>) -> Result<Kline, Stop> {
    let scales = resolve(find(*scanner, SYMBOL)?.string()?).ok_or(Stop::NotCollected)?;
    let mut kline = Kline::default();
    let mut seen = Seen::default();
    let mut candle = find(*scanner, key("k"))?;
    members(&mut candle, |scanner, name| {
        let bit = match name {
            OPEN_TIME => 1,
            INTERVAL => 2,
            OPEN => 4,
            HIGH => 8,
            LOW => 16,
            CLOSE => 32,
            VOLUME => 64,
            TICKS => 128,
            CLOSED => 256,
            BUY_VOLUME => 512,
            _ => 0,
        };
        if bit != 0 {
            seen.note(bit, scanner)?;
        }
        match name {
            OPEN_TIME => kline.open_ms = scanner.unsigned()?,
            INTERVAL => kline.interval_s = interval_seconds(scanner)?,
            OPEN => kline.prices[0] = price(scanner, scales)?,
            HIGH => kline.prices[1] = price(scanner, scales)?,
            LOW => kline.prices[2] = price(scanner, scales)?,
            CLOSE => kline.prices[3] = price(scanner, scales)?,
            VOLUME => kline.volume = quantity(scanner, scales)?,
            BUY_VOLUME => kline.buy_volume = quantity(scanner, scales)?,
            TICKS => kline.ticks = scanner.unsigned()?,
            CLOSED => kline.closed = scanner.boolean()?,
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    // All ten.
    if !seen.has(1023) {
        return Err(Stop::Refused(candle.refuse(Reason::MissingField)));
    }
    if let Ok(mut time) = find(*scanner, key("E")) {
        kline.event_ms = time.unsigned()?;
    }
    scanner.skip()?;
    Ok(kline)
}

const OPEN_TIME: Key = key("t");
const INTERVAL: Key = key("i");
const OPEN: Key = key("o");
const HIGH: Key = key("h");
const LOW: Key = key("l");
const CLOSE: Key = key("c");
const VOLUME: Key = key("v");
const TICKS: Key = key("n");
const CLOSED: Key = key("x");
const BUY_VOLUME: Key = key("V");

fn interval_seconds(scanner: &mut Scanner<'_>) -> Result<u64, Stop> {
    let refused = scanner.refuse(Reason::WrongType);
    let text = scanner.string()?;
    let Some((unit, count)) = text.split_last() else { return Err(Stop::Refused(refused)) };
    let unit_s = match unit {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        b'w' => 604_800,
        // A month has no fixed length; 30 days name it well enough for a label.
        b'M' => 2_592_000,
        _ => return Err(Stop::Refused(refused)),
    };
    let count = decimal::read(count, 0).ok();
    count.and_then(|count| (count as u64).checked_mul(unit_s)).ok_or(Stop::Refused(refused))
}

/// Mark price and funding; all values have [`funding::SCALE`] decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkPrice {
    /// Event time, ms.
    pub event_ms: u64,
    /// Mark price.
    pub mark_price: i64,
    /// Index price; 0 when not sent.
    pub index_price: i64,
    /// Estimated settlement price.
    pub settle_price: i64,
    /// Funding rate; 0 when sent empty.
    pub rate: i64,
    /// Next funding time, ms.
    pub next_funding_ms: u64,
}

/// Read one `markPriceUpdate`.
///
/// # Errors
/// See [`Stop`].
pub fn mark_price(
    scanner: &mut Scanner<'_>,
    mut resolve: impl FnMut(&[u8]) -> Option<Scales>,
) -> Result<MarkPrice, Stop> {
    resolve(find(*scanner, SYMBOL)?.string()?).ok_or(Stop::NotCollected)?;
    let mut mark = MarkPrice::default();
    let mut seen = Seen::default();
    members(scanner, |scanner, name| {
        match name {
            EVENT_TIME => {
                seen.note(1, scanner)?;
                mark.event_ms = scanner.unsigned()?;
            }
            MARK => {
                seen.note(2, scanner)?;
                mark.mark_price = signed(scanner)?;
            }
            INDEX => {
                seen.note(4, scanner)?;
                mark.index_price = signed(scanner)?;
            }
            SETTLE => {
                seen.note(8, scanner)?;
                mark.settle_price = signed(scanner)?;
            }
            RATE => {
                seen.note(16, scanner)?;
                mark.rate = signed(scanner)?;
            }
            NEXT_FUNDING => {
                seen.note(32, scanner)?;
                mark.next_funding_ms = scanner.unsigned()?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    // Event time and mark price; older layouts lack some of the rest.
    if !seen.has(3) {
        return Err(Stop::Refused(scanner.refuse(Reason::MissingField)));
    }
    Ok(mark)
}

const EVENT_TIME: Key = key("E");
const MARK: Key = key("p");
const INDEX: Key = key("i");
const SETTLE: Key = key("P");
const RATE: Key = key("r");
const NEXT_FUNDING: Key = key("T");

/// A decimal with a sign, which may be sent as an empty text.
fn signed(scanner: &mut Scanner<'_>) -> Result<i64, Stop> {
    let at = scanner.offset();
    let text = scanner.string()?;
    if text.is_empty() {
        return Ok(0);
    }
    decimal::read_signed(text, funding::SCALE).map_err(|error| {
        let reason = match error {
            decimal::DecimalError::NotANumber | decimal::DecimalError::Negative => Reason::NotANumber,
            _ => Reason::NumberOutOfRange,
        };
        Stop::Refused(Reject::at(reason, at))
    })
}

/// One forced order. The venue sends only the latest one per symbol and second: a sample, not a total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForceOrder {
    /// Trade time, ms.
    pub trade_ms: u64,
    /// Order price.
    pub price: i64,
    /// Average fill price.
    pub average_price: i64,
    /// Filled quantity so far.
    pub quantity: i64,
    /// The order sells, so a long position was liquidated.
    pub is_sell: bool,
}

/// Read one `forceOrder`.
///
/// # Errors
/// See [`Stop`].
pub fn force_order(
    scanner: &mut Scanner<'_>,
    mut resolve: impl FnMut(&[u8]) -> Option<Scales>,
) -> Result<ForceOrder, Stop> {
    const PRICE: Key = key("p");
    const TIME: Key = key("T");
    const SIDE: Key = key("S");
    const AVERAGE: Key = key("ap");
    const FILLED: Key = key("z");
    let mut order = find(*scanner, key("o"))?;
    let scales = resolve(find(order, SYMBOL)?.string()?).ok_or(Stop::NotCollected)?;
    let mut forced = ForceOrder::default();
    let mut seen = Seen::default();
    members(&mut order, |scanner, name| {
        match name {
            PRICE => {
                seen.note(1, scanner)?;
                forced.price = price(scanner, scales)?;
            }
            AVERAGE => {
                seen.note(2, scanner)?;
                forced.average_price = price(scanner, scales)?;
            }
            FILLED => {
                seen.note(4, scanner)?;
                forced.quantity = quantity(scanner, scales)?;
            }
            TIME => {
                seen.note(8, scanner)?;
                forced.trade_ms = scanner.unsigned()?;
            }
            SIDE => {
                seen.note(16, scanner)?;
                forced.is_sell = match scanner.string()? {
                    b"SELL" => true,
                    b"BUY" => false,
                    _ => return Err(Stop::Refused(scanner.refuse(Reason::WrongType))),
                };
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    // All five.
    if !seen.has(31) {
        return Err(Stop::Refused(order.refuse(Reason::MissingField)));
    }
    scanner.skip()?;
    Ok(forced)
}
