//! Messages as columns of numbers, for whoever computes with whole batches: prices and quantities stay the doubles that
//! they are in messages.
//!
//! Every column but the head's narrow ones has 64 bits per row: integers, or the bits of a double. What each is called
//! stands in `src/raven/client/tables.py`, in the order in which [`Table::push`] writes them.

use super::wire::{Broken, Fields};
use super::{words_of, Decoder, Event, Message};
use crate::encode::{big_to_double, to_double};
use crate::record::{bar, gap, Kind};

/// The levels of one side of many books.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// Where each book's levels begin, and behind the last one where they end.
    pub offsets: Vec<i32>,
    /// Prices, best first.
    pub prices: Vec<f64>,
    /// Quantities.
    pub quantities: Vec<f64>,
    /// How many levels of each book a snapshot proved.
    pub proven: Vec<u32>,
}

impl Default for Side {
    fn default() -> Self {
        Self { offsets: vec![0], prices: Vec::new(), quantities: Vec::new(), proven: Vec::new() }
    }
}

impl Side {
    fn push(&mut self, levels: &[[f64; 2]], unproven: u32) {
        self.prices.extend(levels.iter().map(|level| level[0]));
        self.quantities.extend(levels.iter().map(|level| level[1]));
        self.offsets.push(self.prices.len() as i32);
        self.proven.push((levels.len() as u32).saturating_sub(unproven));
    }
}

/// What every row has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Number of the venue's name.
    pub venue: i32,
    /// Number of the symbol.
    pub symbol: i32,
    /// When it happened, ns.
    pub exchange_ns: i64,
    /// When it arrived at the source, ns.
    pub recv_ns: i64,
    /// The venue's id.
    pub id: u64,
    /// Sequence in the topic.
    pub sequence: u64,
    /// Quality bits.
    pub flags: u32,
}

/// Rows of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What every row has.
    pub heads: Vec<Head>,
    /// One column per value; none for books.
    pub body: Vec<Vec<u64>>,
    /// Bids of books.
    pub bids: Side,
    /// Asks of books.
    pub asks: Side,
}

impl Table {
    /// Append what a message says. `number_of` gives names their numbers.
    ///
    /// # Errors
    /// [`Broken`] when it says what it cannot mean; nothing is appended then.
    #[inline]
    pub fn push(
        &mut self,
        message: &Message<'_>,
        event: &Event<'_>,
        decoder: &Decoder,
        (venue, symbol): (i32, i32),
        number_of: impl FnOnce(&[u8]) -> i32,
    ) -> Result<(), Broken> {
        let [first, second, third, fourth, fifth, sixth] = event.values.map(f64::to_bits);
        match event.kind {
            Kind::Trade => {
                let [side, first_fill, last_fill, ..] = event.words;
                self.extend([first, second, side, first_fill, last_fill]);
            }
            Kind::Quote => self.extend([first, second, third, fourth]),
            Kind::Book => {
                self.bids.push(&decoder.bids, message.unproven[0]);
                self.asks.push(&decoder.asks, message.unproven[1]);
            }
            Kind::Candle => {
                let [interval_s, ticks, ..] = event.words;
                self.extend([event.time_ms as u64, first, second, third, fourth, fifth, sixth, interval_s, ticks]);
            }
            Kind::Funding => self.extend([third, fourth, first, fifth, event.words[0]]),
            Kind::Gap => {
                let mut words = event.words;
                words[gap::DATA_TYPE] = event.data_type as u64;
                self.extend(words);
            }
            Kind::Bar => {
                let interval = interval_of(message)?;
                self.extend(bar_columns(event, number_of(interval)).ok_or(Broken)?);
            }
            Kind::Liquidation => return Err(Broken),
        }
        let is_from_elsewhere = message.exchange_ns == 0 && message.recv_ns == 0;
        let exchange_ns = if is_from_elsewhere { event.time_ms.saturating_mul(1_000_000) } else { message.exchange_ns };
        let (recv_ns, sequence, flags) = (message.recv_ns, message.sequence, message.flags);
        self.heads.push(Head { venue, symbol, exchange_ns, recv_ns, id: event.id, sequence, flags });
        Ok(())
    }

    /// Append a row of these values.
    #[inline]
    pub fn push_row<const WIDTH: usize>(&mut self, head: Head, values: [u64; WIDTH]) {
        self.extend(values);
        self.heads.push(head);
    }

    #[inline]
    fn extend<const WIDTH: usize>(&mut self, values: [u64; WIDTH]) {
        if self.body.is_empty() {
            self.body.resize(WIDTH, Vec::new());
        }
        self.body.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
}

/// What the bar of a message is called, like `tick_500`.
fn interval_of<'a>(message: &Message<'a>) -> Result<&'a [u8], Broken> {
    let mut fields = Fields::of(message.data);
    while let Some((field, value)) = fields.read()? {
        if field == 8 {
            return Ok(value.bytes());
        }
    }
    Ok(&[])
}

/// The columns of a bar from its exact words; `None` when no scale makes them the doubles beside them.
fn bar_columns(event: &Event<'_>, interval: i32) -> Option<[u64; 22]> {
    let words: Vec<u64> = words_of(event.exact).collect();
    let scales = event.bar_scales(&words)?;
    let price = |at: usize| to_double(words[at] as i64, scales.price).to_bits();
    let quantity = |word: i64| to_double(word, scales.quantity).to_bits();
    let (volume, bought) = (words[bar::VOLUME] as i64, words[bar::BUY_VOLUME] as i64);
    let quoted = i128::from(words[bar::QUOTE_VOLUME + 1] as i64) << 64 | i128::from(words[bar::QUOTE_VOLUME]);
    let quality = words[bar::QUALITY];
    Some([
        words[bar::OPEN_TIME_MS],
        words[bar::CLOSE_TIME_MS],
        price(bar::OPEN),
        price(bar::HIGH),
        price(bar::LOW),
        price(bar::CLOSE),
        quantity(volume),
        quantity(bought),
        quantity(volume.saturating_sub(bought)),
        big_to_double(quoted, scales.price + scales.quantity).to_bits(),
        words[bar::BUY_TICKS],
        words[bar::SELL_TICKS],
        words[bar::THETA],
        words[bar::THRESHOLD],
        words[bar::FIRST_TRADE_ID],
        words[bar::LAST_TRADE_ID],
        interval as u64,
        quality >> bar::PART_BIT & u64::from(bar::PART_MASK),
        u64::from(quality & bar::COMPLETE != 0),
        u64::from(quality & bar::WARMING_UP != 0),
        words[bar::GAP_COUNT],
        quality >> bar::REVISION_BIT,
    ])
}
