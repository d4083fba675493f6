//! Binance messages (spot, USD-M, COIN-M) to typed events.
//!
//! Shapes and keys are those of the venue's published stream documentation; the markets differ in key order and in
//! a few extra keys, so every object is read key by key in whatever order it comes. A decimal can be read only in the
//! scale of its instrument, hence the `resolve` closure: it maps a symbol to the scales while the frame is being read.

use super::decimal::Shape;
use super::scan::{key, Key, Next, Scanner, Seen};
use crate::reject::{Reason, Reject};

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
    /// It is exact only in these larger scales: grow the instrument and read again.
    NeedsScales(Scales),
    /// Its symbol is not collected here.
    NotCollected,
}

impl From<Reject> for Stop {
    fn from(reject: Reject) -> Self {
        Self::Refused(reject)
    }
}

/// The event types that Raven reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// `depthUpdate` of a diff stream.
    Depth,
    /// The best 5, 10 or 20 levels, whole.
    PartialDepth,
    /// `trade`
    Trade,
    /// `aggTrade`
    AggTrade,
    /// `bookTicker`
    BookTicker,
    /// `kline`
    Kline,
    /// `markPriceUpdate`
    MarkPrice,
    /// `forceOrder`
    ForceOrder,
}

/// A frame, seen from outside.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// One event, or an array of events, of this type; the scanner stands on its first byte.
    Events {
        /// What the events are.
        event_type: EventType,
        /// Stands on `{` or `[`.
        scanner: Scanner<'a>,
        /// The stream's name in a combined stream; empty otherwise.
        stream: &'a [u8],
        /// What has to follow the events.
        end: End,
    },
    /// An answer to a request.
    Reply,
    /// A notice of the venue that is not market data (`serverShutdown`).
    Notice(&'a [u8]),
    /// A well-formed event of a type that Raven does not read.
    Unknown(&'a [u8]),
}

/// What has to follow the events of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The rest of the combined stream's wrapper.
    Wrapper,
    /// Nothing.
    Frame,
    /// It was looked at before.
    Checked,
}

impl End {
    /// Check it; the scanner stands behind the events.
    ///
    /// # Errors
    /// A [`Reject`] at the first byte that should not be there.
    #[inline(always)]
    pub fn check(self, mut scanner: Scanner<'_>) -> Result<(), Reject> {
        match self {
            Self::Wrapper => {
                while scanner.next(b'}')? == Next::More {
                    scanner.member()?;
                    scanner.skip()?;
                }
                scanner.finish()
            }
            Self::Frame => scanner.finish(),
            Self::Checked => Ok(()),
        }
    }
}

fn event_type_of_name(name: &[u8], stream: &[u8]) -> Option<EventType> {
    Some(match name {
        b"depthUpdate" if is_partial_depth(stream) => EventType::PartialDepth,
        b"depthUpdate" => EventType::Depth,
        b"trade" => EventType::Trade,
        b"aggTrade" => EventType::AggTrade,
        b"bookTicker" => EventType::BookTicker,
        b"kline" => EventType::Kline,
        b"markPriceUpdate" => EventType::MarkPrice,
        b"forceOrder" => EventType::ForceOrder,
        _ => return None,
    })
}

fn is_partial_depth(stream: &[u8]) -> bool {
    after_at(stream).strip_prefix(b"depth").and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
}

fn after_at(stream: &[u8]) -> &[u8] {
    match stream.iter().position(|byte| *byte == b'@') {
        Some(at) => &stream[at + 1..],
        None => &stream[..0],
    }
}

/// Spot `bookTicker` and partial depth carry no event type: only the stream's name tells.
fn event_type_of_stream(stream: &[u8]) -> Option<EventType> {
    let kind = match stream {
        [b'!', all @ ..] => all.split(|byte| *byte == b'@').next()?,
        _ => after_at(stream),
    };
    Some(match kind {
        b"bookTicker" => EventType::BookTicker,
        b"forceOrder" => EventType::ForceOrder,
        b"trade" => EventType::Trade,
        b"aggTrade" => EventType::AggTrade,
        _ if kind.starts_with(b"markPrice") => EventType::MarkPrice,
        _ if kind.starts_with(b"kline_") => EventType::Kline,
        _ if is_partial_depth(stream) => EventType::PartialDepth,
        _ if kind.starts_with(b"depth") => EventType::Depth,
        _ => return None,
    })
}

/// Look at a frame's envelope and find out what it carries.
///
/// # Errors
/// A [`Reject`] when the envelope is not JSON of a known form.
#[inline]
pub fn open(frame: &[u8]) -> Result<Frame<'_>, Reject> {
    let mut scanner = Scanner::new(frame, 0);
    if scanner.take(b"{\"stream\":") {
        let stream = scanner.string()?;
        if scanner.take(b",\"data\":") {
            if let Some(event_type) = classify(scanner, stream) {
                return Ok(Frame::Events { event_type, scanner, stream, end: End::Wrapper });
            }
        }
    } else if frame.starts_with(b"{\"e\":\"") {
        if let Some(event_type) = classify(scanner, b"") {
            return Ok(Frame::Events { event_type, scanner, stream: b"", end: End::Frame });
        }
    }
    open_any(frame)
}

/// The event type, when the event starts with it or the stream's name tells.
#[inline(always)]
fn classify(mut event: Scanner<'_>, stream: &[u8]) -> Option<EventType> {
    if event.take(b"{\"e\":") {
        event_type_of_name(event.string().ok()?, stream)
    } else {
        event_type_of_stream(stream)
    }
}

/// Everything that does not come in the usual order: replies, notices, arrays, other key orders, rubbish.
#[cold]
fn open_any(frame: &[u8]) -> Result<Frame<'_>, Reject> {
    let mut scanner = Scanner::new(frame, 0);
    let mut whole = scanner;
    whole.skip()?;
    whole.finish()?;
    if scanner.peek()? == b'[' {
        return open_event(scanner, b"", frame);
    }
    let (mut stream, mut data) = (None, None);
    let mut is_reply = false;
    let mut last_key = 0;
    members(&mut scanner, |scanner, name| {
        last_key = name;
        match name {
            STREAM if scanner.peek()? == b'"' => stream = Some(scanner.string()?),
            DATA => {
                data = Some(*scanner);
                scanner.skip()?;
            }
            _ => {
                is_reply |= matches!(name, RESULT | ERROR | ID | CODE);
                scanner.skip()?;
            }
        }
        Ok(())
    })
    .map_err(as_reject)?;
    match (stream, data) {
        (Some(stream), Some(data)) => open_event(data, stream, frame),
        _ if is_reply => Ok(Frame::Reply),
        _ => open_event(Scanner::new(frame, 0), b"", frame),
    }
}

fn as_reject(stop: Stop) -> Reject {
    match stop {
        Stop::Refused(reject) => reject,
        _ => Reject::at(Reason::MalformedJson, 0),
    }
}

fn open_event<'a>(event: Scanner<'a>, stream: &'a [u8], frame: &'a [u8]) -> Result<Frame<'a>, Reject> {
    let mut first = event;
    if first.peek()? == b'[' && first.open(b'[', b']')? == Next::End {
        return Ok(Frame::Unknown(b"[]"));
    }
    if first.peek()? != b'{' {
        return Err(first.refuse(Reason::WrongType));
    }
    let (mut name, mut has_ticker_keys) = (None, Seen::default());
    members(&mut first, |scanner, member| {
        match member {
            EVENT if scanner.peek()? == b'"' => name = Some(scanner.string()?),
            UPDATE_ID => {
                has_ticker_keys.note(1, scanner)?;
                scanner.skip()?;
            }
            ASK_QUANTITY => {
                has_ticker_keys.note(2, scanner)?;
                scanner.skip()?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })
    .map_err(as_reject)?;
    let event_type = match name {
        Some(name) => event_type_of_name(name, stream),
        None if has_ticker_keys.has(3) => Some(EventType::BookTicker),
        None => event_type_of_stream(stream),
    };
    match (event_type, name) {
        // The whole frame was checked by `open_any`, so its end needs no second look.
        (Some(event_type), _) => Ok(Frame::Events { event_type, scanner: event, stream, end: End::Checked }),
        (None, Some(b"serverShutdown")) => Ok(Frame::Notice(b"serverShutdown")),
        (None, Some(name)) => Ok(Frame::Unknown(name)),
        (None, None) if !stream.is_empty() => Ok(Frame::Unknown(stream)),
        (None, None) => Err(Reject::at(Reason::UnknownEvent, frame.len().min(event.offset()))),
    }
}

const STREAM: Key = key("stream");
const DATA: Key = key("data");
const RESULT: Key = key("result");
const ERROR: Key = key("error");
const ID: Key = key("id");
const CODE: Key = key("code");
const EVENT: Key = key("e");
const EVENT_TIME: Key = key("E");
const TIME: Key = key("T");
const SYMBOL: Key = key("s");
const FIRST_ID: Key = key("U");
const UPDATE_ID: Key = key("u");
const PREVIOUS_ID: Key = key("pu");
const BIDS: Key = key("b");
const ASKS: Key = key("a");
const ASK_QUANTITY: Key = key("A");
const BID_QUANTITY: Key = key("B");
const PRICE: Key = key("p");
const QUANTITY: Key = key("q");

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
                scanner.string()?;
            }
            EVENT_TIME => depth.event_ms = scanner.unsigned()?,
            SYMBOL => {
                seen.note(1, scanner)?;
                resolved.symbol(scanner)?;
            }
            FIRST_ID => {
                seen.note(2, scanner)?;
                depth.first_id = scanner.unsigned()?;
            }
            UPDATE_ID => {
                seen.note(4, scanner)?;
                depth.last_id = scanner.unsigned()?;
            }
            PREVIOUS_ID => {
                seen.note(8, scanner)?;
                depth.previous_id = Some(scanner.unsigned()?);
            }
            BIDS => {
                seen.note(16, scanner)?;
                let scales = resolved.scales(scanner)?;
                levels(scanner, scales, bids)?;
            }
            ASKS => {
                seen.note(32, scanner)?;
                let scales = resolved.scales(scanner)?;
                levels(scanner, scales, asks)?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    require(seen, 1 | 2 | 4 | 16 | 32, scanner)?;
    if depth.first_id > depth.last_id {
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
                seen.note(1, scanner)?;
                depth.last_id = scanner.unsigned()?;
            }
            EVENT_TIME => depth.event_ms = scanner.unsigned()?,
            ALL_BIDS => {
                seen.note(2, scanner)?;
                levels(scanner, scales, bids)?;
            }
            ALL_ASKS => {
                seen.note(4, scanner)?;
                levels(scanner, scales, asks)?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    require(seen, 1 | 2 | 4, scanner)?;
    depth.first_id = depth.last_id;
    Ok(depth)
}

/// `[["61800.20","2.507"],…]`
#[inline]
fn levels(scanner: &mut Scanner<'_>, scales: Scales, out: &mut Vec<Level>) -> Result<(), Stop> {
    out.clear();
    if scanner.open(b'[', b']')? == Next::End {
        return Ok(());
    }
    let mut shape = Shape::default();
    loop {
        scanner.expect(b'[')?;
        let price = scanner
            .decimal_alike(scales.price, &mut shape)
            .map_err(|error| needs(error, |price| Scales { price, ..scales }))?;
        if price == 0 {
            return Err(Stop::Refused(scanner.refuse(Reason::ZeroPrice)));
        }
        scanner.expect(b',')?;
        let quantity =
            scanner.decimal(scales.quantity).map_err(|error| needs(error, |quantity| Scales { quantity, ..scales }))?;
        scanner.expect(b']')?;
        out.push(Level { price, quantity });
        if scanner.next(b']')? == Next::End {
            return Ok(());
        }
    }
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
                scanner.string()?;
            }
            SYMBOL => {
                seen.note(1, scanner)?;
                resolved.symbol(scanner)?;
            }
            PRICE => {
                seen.note(2, scanner)?;
                trade.price = resolved.price(scanner)?;
            }
            QUANTITY => {
                seen.note(4, scanner)?;
                trade.quantity = resolved.quantity(scanner)?;
            }
            TIME => {
                seen.note(8, scanner)?;
                trade.trade_ms = scanner.unsigned()?;
            }
            MAKER => {
                seen.note(16, scanner)?;
                trade.taker_sells = scanner.boolean()?;
            }
            _ if name == id_key => {
                seen.note(32, scanner)?;
                trade.id = scanner.unsigned()?;
            }
            FIRST_FILL if aggregate => trade.first_fill = scanner.unsigned()?,
            LAST_FILL if aggregate => trade.last_fill = scanner.unsigned()?,
            EVENT_TIME => {
                scanner.unsigned()?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    require(seen, 63, scanner)?;
    Ok(trade)
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
                scanner.string()?;
            }
            UPDATE_ID => {
                seen.note(1, scanner)?;
                ticker.update_id = scanner.unsigned()?;
            }
            SYMBOL => {
                seen.note(2, scanner)?;
                resolved.symbol(scanner)?;
            }
            BIDS => {
                seen.note(4, scanner)?;
                ticker.bid_price = resolved.price(scanner)?;
            }
            BID_QUANTITY => {
                seen.note(8, scanner)?;
                ticker.bid_quantity = resolved.quantity(scanner)?;
            }
            ASKS => {
                seen.note(16, scanner)?;
                ticker.ask_price = resolved.price(scanner)?;
            }
            ASK_QUANTITY => {
                seen.note(32, scanner)?;
                ticker.ask_quantity = resolved.quantity(scanner)?;
            }
            TIME => ticker.time_ms = scanner.unsigned()?,
            EVENT_TIME => {
                scanner.unsigned()?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    require(seen, 63, scanner)?;
    Ok(ticker)
}
