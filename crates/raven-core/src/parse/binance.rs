//! Binance messages (spot, USD-M, COIN-M) to typed events.
//!
//! Shapes and keys are those of the venue's published stream documentation; the markets differ in key order and in
//! a few extra keys, so every object is read key by key in whatever order it comes. A decimal can be read only in the
//! scale of its instrument, hence the `resolve` closure: it maps a symbol to the scales while the frame is being read.

use super::event::{BookTicker, Depth, Level, Scales, Stop, Trade};
use super::levels::levels;
use super::scan::{key, Key, Next, Scanner, Seen};
use crate::reject::{Reason, Reject};

pub(super) const EVENT: Key = key("e");
const EVENT_TIME: Key = key("E");
const TIME: Key = key("T");
const SYMBOL: Key = key("s");
const FIRST_ID: Key = key("U");
pub(super) const UPDATE_ID: Key = key("u");
const PREVIOUS_ID: Key = key("pu");
const BIDS: Key = key("b");
const ASKS: Key = key("a");
pub(super) const ASK_QUANTITY: Key = key("A");
const BID_QUANTITY: Key = key("B");
const PRICE: Key = key("p");
const QUANTITY: Key = key("q");

/// Members as bits of [`Seen`]: none may come twice, some must come.
mod bit {
    pub(super) const EVENT: u32 = 1 << 0;
    pub(super) const EVENT_TIME: u32 = 1 << 1;
    pub(super) const TIME: u32 = 1 << 2;
    pub(super) const SYMBOL: u32 = 1 << 3;
    pub(super) const FIRST_ID: u32 = 1 << 4;
    pub(super) const UPDATE_ID: u32 = 1 << 5;
    pub(super) const PREVIOUS_ID: u32 = 1 << 6;
    pub(super) const BIDS: u32 = 1 << 7;
    pub(super) const ASKS: u32 = 1 << 8;
    pub(super) const BID_QUANTITY: u32 = 1 << 9;
    pub(super) const ASK_QUANTITY: u32 = 1 << 10;
    pub(super) const PRICE: u32 = 1 << 11;
    pub(super) const QUANTITY: u32 = 1 << 12;
    pub(super) const ID: u32 = 1 << 13;
    pub(super) const MAKER: u32 = 1 << 14;
    pub(super) const FIRST_FILL: u32 = 1 << 15;
    pub(super) const LAST_FILL: u32 = 1 << 16;
}

/// Read an object member by member.
#[inline(always)]
pub(super) fn members<'a>(
    scanner: &mut Scanner<'a>,
    mut each: impl FnMut(&mut Scanner<'a>, Key) -> Result<(), Stop>,
) -> Result<(), Stop> {
    if scanner.open(b'{', b'}')? == Next::End {
        return Ok(());
    }
    loop {
        let name = scanner.member()?;
        each(scanner, name)?;
        if scanner.next(b'}')? == Next::End {
            return Ok(());
        }
    }
}

/// The scales of the event's instrument, known once its symbol was read.
struct Resolved<R> {
    scales: Option<Scales>,
    object: usize,
    resolve: R,
}

impl<R: FnMut(&[u8]) -> Option<Scales>> Resolved<R> {
    fn new(scanner: &Scanner<'_>, resolve: R) -> Self {
        Self { scales: None, object: scanner.offset(), resolve }
    }

    #[inline(always)]
    fn symbol(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Stop> {
        let symbol = scanner.string()?;
        if self.scales.is_none() {
            self.scales = Some((self.resolve)(symbol).ok_or(Stop::NotCollected)?);
        }
        Ok(())
    }

    /// The scales; when a number comes before its symbol, the object is searched for it first.
    #[inline(always)]
    fn scales(&mut self, scanner: &Scanner<'_>) -> Result<Scales, Stop> {
        match self.scales {
            Some(scales) => Ok(scales),
            None => self.look_ahead(*scanner),
        }
    }

    #[cold]
    fn look_ahead(&mut self, mut scanner: Scanner<'_>) -> Result<Scales, Stop> {
        scanner.seek(self.object);
        members(&mut scanner, |scanner, name| if name == SYMBOL { self.symbol(scanner) } else { Ok(scanner.skip()?) })?;
        self.scales.ok_or(Stop::Refused(scanner.refuse(Reason::MissingField)))
    }

    #[inline(always)]
    fn price(&mut self, scanner: &mut Scanner<'_>) -> Result<i64, Stop> {
        let scales = self.scales(scanner)?;
        scanner.decimal(scales.price).map_err(|error| needs(error, |price| Scales { price, ..scales }))
    }

    #[inline(always)]
    fn quantity(&mut self, scanner: &mut Scanner<'_>) -> Result<i64, Stop> {
        let scales = self.scales(scanner)?;
        scanner.decimal(scales.quantity).map_err(|error| needs(error, |quantity| Scales { quantity, ..scales }))
    }
}

#[cold]
fn needs(error: Result<u8, Reject>, scales: impl FnOnce(u8) -> Scales) -> Stop {
    match error {
        Ok(scale) => Stop::NeedsScales(scales(scale)),
        Err(reject) => Stop::Refused(reject),
    }
}

fn require(seen: Seen, bits: u32, scanner: &Scanner<'_>) -> Result<(), Stop> {
    if seen.has(bits) {
        return Ok(());
    }
    Err(Stop::Refused(scanner.refuse(Reason::MissingField)))
}

/// Read one diff (or a futures partial depth, which has the same shape).
///
/// # Errors
/// See [`Stop`]; the scratch vectors then hold rubbish.
#[inline]
pub fn depth(
    scanner: &mut Scanner<'_>,
    bids: &mut Vec<Level>,
    asks: &mut Vec<Level>,
    resolve: impl FnMut(&[u8]) -> Option<Scales>,
) -> Result<Depth, Stop> {
    let mut depth = Depth::default();
    let mut seen = Seen::default();
    let mut resolved = Resolved::new(scanner, resolve);
    members(scanner, |scanner, name| {
        match name {
            EVENT => {
                seen.note(bit::EVENT, scanner)?;
                scanner.string()?;
            }
            EVENT_TIME => {
                seen.note(bit::EVENT_TIME, scanner)?;
                depth.event_ms = scanner.unsigned()?;
            }
            SYMBOL => {
                seen.note(bit::SYMBOL, scanner)?;
                resolved.symbol(scanner)?;
            }
            FIRST_ID => {
                seen.note(bit::FIRST_ID, scanner)?;
                depth.first_id = scanner.unsigned()?;
            }
            UPDATE_ID => {
                seen.note(bit::UPDATE_ID, scanner)?;
                depth.last_id = scanner.unsigned()?;
            }
            PREVIOUS_ID => {
                seen.note(bit::PREVIOUS_ID, scanner)?;
                depth.previous_id = Some(scanner.unsigned()?);
            }
            BIDS => {
                seen.note(bit::BIDS, scanner)?;
                let scales = resolved.scales(scanner)?;
                levels(scanner, scales, bids)?;
            }
            ASKS => {
                seen.note(bit::ASKS, scanner)?;
                let scales = resolved.scales(scanner)?;
                levels(scanner, scales, asks)?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    require(seen, bit::SYMBOL | bit::FIRST_ID | bit::UPDATE_ID | bit::BIDS | bit::ASKS, scanner)?;
    if depth.first_id > depth.last_id || depth.previous_id.is_some_and(|previous| previous > depth.last_id) {
        return Err(Stop::Refused(scanner.refuse(Reason::InconsistentIds)));
    }
    Ok(depth)
}

/// Read only the ids of a diff that was found sound before.
///
/// # Errors
/// See [`Stop`].
pub fn diff_ids(scanner: &mut Scanner<'_>) -> Result<Depth, Stop> {
    let mut depth = Depth::default();
    members(scanner, |scanner, name| {
        match name {
            FIRST_ID => depth.first_id = scanner.unsigned()?,
            UPDATE_ID => depth.last_id = scanner.unsigned()?,
            PREVIOUS_ID => depth.previous_id = Some(scanner.unsigned()?),
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    Ok(depth)
}

/// Read a REST depth answer, or a spot partial depth: whole books without a symbol.
///
/// # Errors
/// See [`Stop`]; never `NotCollected`.
pub fn snapshot(
    scanner: &mut Scanner<'_>,
    scales: Scales,
    bids: &mut Vec<Level>,
    asks: &mut Vec<Level>,
) -> Result<Depth, Stop> {
    const LAST_UPDATE_ID: Key = key("lastUpdateId");
    const ALL_BIDS: Key = key("bids");
    const ALL_ASKS: Key = key("asks");
    let mut depth = Depth::default();
    let mut seen = Seen::default();
    members(scanner, |scanner, name| {
        match name {
            LAST_UPDATE_ID => {
                seen.note(bit::UPDATE_ID, scanner)?;
                depth.last_id = scanner.unsigned()?;
            }
            EVENT_TIME => {
                seen.note(bit::EVENT_TIME, scanner)?;
                depth.event_ms = scanner.unsigned()?;
            }
            ALL_BIDS => {
                seen.note(bit::BIDS, scanner)?;
                levels(scanner, scales, bids)?;
            }
            ALL_ASKS => {
                seen.note(bit::ASKS, scanner)?;
                levels(scanner, scales, asks)?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    require(seen, bit::UPDATE_ID | bit::BIDS | bit::ASKS, scanner)?;
    depth.first_id = depth.last_id;
    Ok(depth)
}

/// Read one `trade` (`id_key` = `t`) or `aggTrade` (`id_key` = `a`).
///
/// # Errors
/// See [`Stop`].
#[inline]
pub fn trade(
    scanner: &mut Scanner<'_>,
    aggregate: bool,
    resolve: impl FnMut(&[u8]) -> Option<Scales>,
) -> Result<Trade, Stop> {
    const TRADE_ID: Key = key("t");
    const MAKER: Key = key("m");
    const FIRST_FILL: Key = key("f");
    const LAST_FILL: Key = key("l");
    let mut trade = Trade::default();
    let mut seen = Seen::default();
    let mut resolved = Resolved::new(scanner, resolve);
    let id_key = if aggregate { ASKS } else { TRADE_ID };
    members(scanner, |scanner, name| {
        match name {
            EVENT => {
                seen.note(bit::EVENT, scanner)?;
                scanner.string()?;
            }
            SYMBOL => {
                seen.note(bit::SYMBOL, scanner)?;
                resolved.symbol(scanner)?;
            }
            PRICE => {
                seen.note(bit::PRICE, scanner)?;
                trade.price = resolved.price(scanner)?;
            }
            QUANTITY => {
                seen.note(bit::QUANTITY, scanner)?;
                trade.quantity = resolved.quantity(scanner)?;
            }
            TIME => {
                seen.note(bit::TIME, scanner)?;
                trade.trade_ms = scanner.unsigned()?;
            }
            MAKER => {
                seen.note(bit::MAKER, scanner)?;
                trade.taker_sells = scanner.boolean()?;
            }
            _ if name == id_key => {
                seen.note(bit::ID, scanner)?;
                trade.id = scanner.unsigned()?;
            }
            FIRST_FILL if aggregate => {
                seen.note(bit::FIRST_FILL, scanner)?;
                trade.first_fill = scanner.unsigned()?;
            }
            LAST_FILL if aggregate => {
                seen.note(bit::LAST_FILL, scanner)?;
                trade.last_fill = scanner.unsigned()?;
            }
            EVENT_TIME => {
                seen.note(bit::EVENT_TIME, scanner)?;
                scanner.unsigned()?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    require(seen, bit::SYMBOL | bit::ID | bit::PRICE | bit::QUANTITY | bit::TIME | bit::MAKER, scanner)?;
    Ok(trade)
}

/// Read one `bookTicker`.
///
/// # Errors
/// See [`Stop`].
#[inline]
pub fn book_ticker(
    scanner: &mut Scanner<'_>,
    resolve: impl FnMut(&[u8]) -> Option<Scales>,
) -> Result<BookTicker, Stop> {
    let mut ticker = BookTicker::default();
    let mut seen = Seen::default();
    let mut resolved = Resolved::new(scanner, resolve);
    members(scanner, |scanner, name| {
        match name {
            EVENT => {
                seen.note(bit::EVENT, scanner)?;
                scanner.string()?;
            }
            UPDATE_ID => {
                seen.note(bit::UPDATE_ID, scanner)?;
                ticker.update_id = scanner.unsigned()?;
            }
            SYMBOL => {
                seen.note(bit::SYMBOL, scanner)?;
                resolved.symbol(scanner)?;
            }
            BIDS => {
                seen.note(bit::BIDS, scanner)?;
                ticker.bid_price = resolved.price(scanner)?;
            }
            BID_QUANTITY => {
                seen.note(bit::BID_QUANTITY, scanner)?;
                ticker.bid_quantity = resolved.quantity(scanner)?;
            }
            ASKS => {
                seen.note(bit::ASKS, scanner)?;
                ticker.ask_price = resolved.price(scanner)?;
            }
            ASK_QUANTITY => {
                seen.note(bit::ASK_QUANTITY, scanner)?;
                ticker.ask_quantity = resolved.quantity(scanner)?;
            }
            TIME => {
                seen.note(bit::TIME, scanner)?;
                ticker.time_ms = scanner.unsigned()?;
            }
            EVENT_TIME => {
                seen.note(bit::EVENT_TIME, scanner)?;
                scanner.unsigned()?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    require(
        seen,
        bit::UPDATE_ID | bit::SYMBOL | bit::BIDS | bit::BID_QUANTITY | bit::ASKS | bit::ASK_QUANTITY,
        scanner,
    )?;
    Ok(ticker)
}
