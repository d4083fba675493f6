//! Messages back to records: what a link receives, read by hand as [`crate::encode`] writes it.
//!
//! The record is the one that was encoded, in scales as small as its values allow: a message has doubles and no scales
//! (see [`decimal`]).

use crate::bars::Spec;
use crate::encode::to_double;
use crate::parse::decimal::MAX_SCALE;
use crate::parse::event::Scales;
use crate::record::{bar, candle, data_type, funding, gap, GapReason, Header, Kind, MAX_LEVELS};

pub mod decimal;
pub mod position;
pub mod table;
pub mod wire;

use decimal::{mantissa, shortest};
use wire::{Broken, Fields, Value};

/// Field of `MarketDataMessage` with the messages of a batch.
const BATCH: u32 = 104;

/// The fields of a `MarketDataMessage` that are the same for every kind, and its data as bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// Number of the field that has the data, 0 when there are none: a heartbeat.
    pub field: u32,
    data: &'a [u8],
    /// Name of the venue.
    pub venue: &'a [u8],
    /// Per topic, by one; 0 when the sender does not count.
    pub sequence: u64,
    /// When the frame arrived at the source, ns.
    pub recv_ns: i64,
    /// Quality bits.
    pub flags: u32,
    exchange_ns: i64,
    unproven: [u32; 2],
}

impl<'a> Message<'a> {
    #[inline(always)]
    fn set(&mut self, field: u32, value: Value<'a>) {
        match field {
            1..=5 | 100 | 105 => (self.field, self.data) = (field, value.bytes()),
            7 => self.venue = value.bytes(),
            101 => self.sequence = value.int(),
            102 => self.recv_ns = value.int() as i64,
            103 => self.flags = value.int() as u32,
            106 => self.exchange_ns = value.int() as i64,
            107 => self.unproven[0] = value.int() as u32,
            108 => self.unproven[1] = value.int() as u32,
            _ => {}
        }
    }

    /// Read one message that is no batch.
    ///
    /// # Errors
    /// [`Broken`] when the bytes are none.
    #[inline(always)]
    pub fn read(bytes: &'a [u8]) -> Result<Self, Broken> {
        let mut message = Self::default();
        let mut fields = Fields::of(bytes);
        while let Some((field, value)) = fields.read()? {
            message.set(field, value);
        }
        Ok(message)
    }
}

/// Hand out the messages of a frame, oldest first; return how many could not be read.
#[inline]
pub fn each_message<'a>(frame: &'a [u8], mut take: impl FnMut(&Message<'a>)) -> u64 {
    let mut broken = 0;
    let mut own = Message::default();
    let mut fields = Fields::of(frame);
    loop {
        match fields.read() {
            Ok(Some((BATCH, value))) => match Message::read(value.bytes()) {
                Ok(message) => take(&message),
                Err(Broken) => broken += 1,
            },
            Ok(Some((field, value))) => own.set(field, value),
            Ok(None) => break,
            // What was read of the frame's own message may not be all of it.
            Err(Broken) => return broken + 1,
        }
    }
    if own.field != 0 {
        take(&own);
    }
    broken
}

/// What a message says, with numbers still as doubles; those of books wait in the [`Decoder`].
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What it becomes.
    pub kind: Kind,
    /// Symbol.
    pub symbol: &'a [u8],
    /// Of the topic it belongs to.
    pub data_type: i32,
    id: u64,
    /// Exchange time as the data have it, ms.
    time_ms: i64,
    /// Prices, quantities, or values of funding: see `Decoder::words`.
    values: [f64; 6],
    /// Whole numbers: see `Decoder::words`.
    words: [u64; gap::WORDS],
    /// A bar's words as they were sent.
    exact: &'a [u8],
}

/// Reads messages into records; keeps the memory of the last book.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    bids: Vec<[f64; 2]>,
    asks: Vec<[f64; 2]>,
}

impl Decoder {
    /// Levels of the last event, 0 when it was no book.
    #[inline]
    pub fn levels(&self) -> usize {
        self.bids.len() + self.asks.len()
    }

    /// Read the data of a message; `None` for data that have no record, such as balances.
    ///
    /// # Errors
    /// [`Broken`] when they are not what their field says.
    #[inline]
    pub fn event<'a>(&mut self, message: &Message<'a>) -> Result<Option<Event<'a>>, Broken> {
        let (kind, data_type) = match message.field {
            1 => (Kind::Book, data_type::ORDERBOOK),
            2 => (Kind::Trade, data_type::TRADES),
            3 => (Kind::Candle, data_type::CANDLES_1M),
            4 => (Kind::Funding, data_type::FUNDING_RATES),
            // A data type of 0 is not on the wire.
            100 => (Kind::Gap, data_type::ORDERBOOK),
            105 => (Kind::Quote, data_type::QUOTES),
            _ => return Ok(None),
        };
        let (symbol, values, words) = (&[][..], [0.0; 6], [0; gap::WORDS]);
        let mut event = Event { kind, symbol, data_type, id: 0, time_ms: 0, values, words, exact: &[] };
        self.bids.clear();
        self.asks.clear();
        let mut fields = Fields::of(message.data);
        while let Some((field, value)) = fields.read()? {
            match (field, kind) {
                (1, _) => event.symbol = value.bytes(),
                (2, Kind::Gap) => event.data_type = value.int() as i32,
                (2, _) => event.time_ms = value.int() as i64,
                (_, Kind::Trade) => event.set_trade(field, value)?,
                (3, Kind::Book) => add_level(&mut self.bids, value)?,
                (4, Kind::Book) => add_level(&mut self.asks, value)?,
                (5, Kind::Book) | (7, Kind::Quote) => event.id = value.int(),
                (3..=6, Kind::Quote) | (3..=7, Kind::Candle) => event.values[field as usize - 3] = value.double(),
                (_, Kind::Candle) => event.set_candle(field, value)?,
                (_, Kind::Funding) => event.set_funding(field, value),
                (_, Kind::Gap) => event.set_gap(field, value)?,
                _ => {}
            }
        }
        if kind == Kind::Candle {
            event.finish_candle()?;
        }
        Ok(Some(event))
    }

    /// Write the body words of an event and return the header. `scales` are those of the record before it: they are
    /// kept as long as they hold the values, else they become the smallest that do.
    ///
    /// # Errors
    /// [`Broken`] when no record can hold the values.
    #[inline]
    pub fn record(
        &self,
        message: &Message<'_>,
        event: &Event<'_>,
        scales: &mut Scales,
        body: &mut Vec<u64>,
    ) -> Result<Header, Broken> {
        if self.words(message, event, *scales, body).is_none() {
            let least = self.least_scales(event)?;
            let grown = Scales { price: scales.price.max(least.price), quantity: scales.quantity.max(least.quantity) };
            *scales = match self.words(message, event, grown, body) {
                Some(()) => grown,
                // A value that is too large for so many decimals.
                None => self.words(message, event, least, body).map(|()| least).ok_or(Broken)?,
            };
        }
        // Ours leaves the exchange's time out when there is none; others may not have the field.
        let is_from_elsewhere = message.exchange_ns == 0 && message.recv_ns == 0;
        let exchange_ns = if is_from_elsewhere { event.time_ms.saturating_mul(1_000_000) } else { message.exchange_ns };
        let exact = if event.kind == Kind::Bar { event.bar_scales(body) } else { Some(*scales) };
        let scales = exact.ok_or(Broken)?;
        Ok(Header {
            kind: event.kind,
            flags: message.flags,
            sequence: message.sequence,
            recv_ns: message.recv_ns,
            exchange_ns,
            id: event.id,
            price_scale: scales.price,
            quantity_scale: scales.quantity,
            bids: self.bids.len() as u16,
            asks: self.asks.len() as u16,
        })
    }

    /// Write the body; `None` when a value does not fit these scales.
    fn words(&self, message: &Message<'_>, event: &Event<'_>, scales: Scales, body: &mut Vec<u64>) -> Option<()> {
        body.clear();
        let price = |value: f64| mantissa(value, scales.price).map(|mantissa| mantissa as u64);
        let quantity = |value: f64| mantissa(value, scales.quantity).map(|mantissa| mantissa as u64);
        let [first, second, third, fourth, fifth, sixth] = event.values;
        match event.kind {
            Kind::Trade => {
                let [side, first_fill, last_fill, ..] = event.words;
                body.extend([price(first)?, quantity(second)?, side, first_fill, last_fill]);
            }
            Kind::Quote => body.extend([price(first)?, quantity(second)?, price(third)?, quantity(fourth)?]),
            Kind::Book => {
                let proven = |levels: usize, unproven: u32| (levels as u64).saturating_sub(u64::from(unproven));
                let [bids, asks] = message.unproven;
                body.push(proven(self.bids.len(), bids) | proven(self.asks.len(), asks) << 32);
                for [at, size] in self.bids.iter().chain(&self.asks) {
                    body.push(price(*at)?);
                    body.push(quantity(*size)?);
                }
            }
            Kind::Candle => {
                body.resize(candle::WORDS, 0);
                body[candle::OPEN_TIME_MS] = event.time_ms as u64;
                body[candle::OPEN] = price(first)?;
                body[candle::HIGH] = price(second)?;
                body[candle::LOW] = price(third)?;
                body[candle::CLOSE] = price(fourth)?;
                body[candle::VOLUME] = quantity(fifth)?;
                body[candle::BUY_VOLUME] = quantity(sixth)?;
                body[candle::INTERVAL_S] = event.words[0];
                body[candle::TICKS] = event.words[1];
                // Venues' candles are published when they are closed, never before.
                body[candle::CLOSED] = 1;
            }
            Kind::Funding => {
                body.resize(funding::WORDS, 0);
                body[funding::RATE] = mantissa(first, funding::SCALE)? as u64;
                body[funding::NEXT_FUNDING_MS] = event.words[0];
                body[funding::MARK_PRICE] = mantissa(third, funding::SCALE)? as u64;
                body[funding::INDEX_PRICE] = mantissa(fourth, funding::SCALE)? as u64;
                body[funding::SETTLE_PRICE] = mantissa(fifth, funding::SCALE)? as u64;
            }
            Kind::Gap => {
                body.extend(event.words);
                body[gap::DATA_TYPE] = event.data_type as u64;
            }
            Kind::Bar => {
                body.extend(words_of(event.exact));
            }
            Kind::Liquidation => return None,
        }
        Some(())
    }

    fn least_scales(&self, event: &Event<'_>) -> Result<Scales, Broken> {
        let [first, second, third, fourth, fifth, sixth] = event.values;
        let (prices, quantities) = match event.kind {
            Kind::Trade => ([first, 0.0, 0.0, 0.0], [second, 0.0]),
            Kind::Quote => ([first, third, 0.0, 0.0], [second, fourth]),
            Kind::Candle => ([first, second, third, fourth], [fifth, sixth]),
            // Of a fixed scale, which does not hold a value of it.
            Kind::Funding => return Err(Broken),
            _ => ([0.0; 4], [0.0; 2]),
        };
        let mut scales = Scales { price: 0, quantity: 0 };
        let levels = || self.bids.iter().chain(&self.asks);
        for price in prices.into_iter().chain(levels().map(|level| level[0])) {
            scales.price = scales.price.max(shortest(price)?.1);
        }
        for quantity in quantities.into_iter().chain(levels().map(|level| level[1])) {
            scales.quantity = scales.quantity.max(shortest(quantity)?.1);
        }
        Ok(scales)
    }
}

impl<'a> Event<'a> {
    /// Of a gap: why, and how many events are missing; 0 when nobody knows.
    #[inline(always)]
    pub fn gap(&self) -> Option<(GapReason, u64)> {
        let words = (self.kind == Kind::Gap).then_some(&self.words)?;
        Some((GapReason::from_u64(words[gap::REASON])?, words[gap::COUNT]))
    }

    #[inline(always)]
    fn set_trade(&mut self, field: u32, value: Value<'a>) -> Result<(), Broken> {
        match field {
            3 | 4 => self.values[field as usize - 3] = value.double(),
            5 => {
                self.words[0] = match value.bytes() {
                    b"buy" => 0,
                    b"sell" => 1,
                    _ => return Err(Broken),
                }
            }
            6 => self.id = integer(value.bytes())?,
            101 | 102 => self.words[field as usize - 100] = value.int(),
            _ => {}
        }
        Ok(())
    }

    fn set_candle(&mut self, field: u32, value: Value<'a>) -> Result<(), Broken> {
        match field {
            8 => self.words[0] = interval_s(value.bytes()).unwrap_or(0),
            11 => self.words[1] = value.int(),
            104 => self.values[5] = value.double(),
            119 => {
                if value.bytes().len() != 8 * bar::WORDS {
                    return Err(Broken);
                }
                (self.kind, self.exact) = (Kind::Bar, value.bytes());
            }
            _ => {}
        }
        Ok(())
    }

    fn set_funding(&mut self, field: u32, value: Value<'a>) {
        match field {
            3 | 5 | 6 => self.values[field as usize - 3] = value.double(),
            4 => self.words[0] = value.int(),
            101 => self.values[4] = value.double(),
            _ => {}
        }
        self.id = self.time_ms as u64;
    }

    fn set_gap(&mut self, field: u32, value: Value<'a>) -> Result<(), Broken> {
        match field {
            3 => self.words[gap::COUNT] = value.int(),
            4 => self.words[gap::FIRST_ID] = integer(value.bytes())?,
            5 => {
                self.words[gap::LAST_ID] = integer(value.bytes())?;
                self.id = self.words[gap::LAST_ID];
            }
            6 => self.words[gap::REASON] = reason(value.bytes()) as u64,
            8 => self.words[gap::REPAIRED] = value.int(),
            _ => {}
        }
        Ok(())
    }

    /// What a candle is called, and a bar's id: known once all its fields are.
    fn finish_candle(&mut self) -> Result<(), Broken> {
        if self.kind == Kind::Candle {
            self.id = self.time_ms as u64;
            self.data_type = match self.words[0] {
                60 => data_type::CANDLES_1M,
                300 => data_type::CANDLES_5M,
                3600 => data_type::CANDLES_1H,
                _ => return Err(Broken),
            };
            return Ok(());
        }
        let body: Vec<u64> = words_of(self.exact).collect();
        self.data_type = Spec::from_words(&body).ok_or(Broken)?.data_type();
        self.id = body[bar::LAST_TRADE_ID];
        Ok(())
    }

    /// The scales of a bar's words: those in which they are the doubles beside them.
    fn bar_scales(&self, body: &[u64]) -> Option<Scales> {
        let scale_of = |word: u64, value: f64| match word {
            0 => Some(0),
            _ => (0..=MAX_SCALE).find(|scale| to_double(word as i64, *scale) == value),
        };
        let [open, _, _, _, volume, _] = self.values;
        Some(Scales { price: scale_of(body[bar::OPEN], open)?, quantity: scale_of(body[bar::VOLUME], volume)? })
    }
}

fn add_level(levels: &mut Vec<[f64; 2]>, value: Value<'_>) -> Result<(), Broken> {
    if levels.len() == MAX_LEVELS {
        return Err(Broken);
    }
    let mut level = [0.0; 2];
    let mut fields = Fields::of(value.bytes());
    while let Some((field, value)) = fields.read()? {
        if let 1 | 2 = field {
            level[field as usize - 1] = value.double();
        }
    }
    levels.push(level);
    Ok(())
}

/// Decimal digits, at least one.
fn integer(digits: &[u8]) -> Result<u64, Broken> {
    let add = |sum: u64, digit: &u8| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10).ok_or(Broken)?;
        sum.checked_mul(10).and_then(|sum| sum.checked_add(u64::from(digit))).ok_or(Broken)
    };
    if digits.is_empty() {
        return Err(Broken);
    }
    digits.iter().try_fold(0, add)
}

/// Seconds of `1m`, `5m`, `1h`, …
fn interval_s(name: &[u8]) -> Option<u64> {
    let (unit, count) = name.split_last()?;
    let seconds = match unit {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        b'd' => 86_400,
        b'w' => 604_800,
        _ => return None,
    };
    integer(count).ok()?.checked_mul(seconds)
}

/// The reason of this name. One that this version does not know is a loss on the way to here all the same.
fn reason(name: &[u8]) -> GapReason {
    let mut known = (1..).map_while(GapReason::from_u64);
    known.find(|reason| reason.name().as_bytes() == name).unwrap_or(GapReason::Upstream)
}

fn words_of(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks_exact(8).map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}
