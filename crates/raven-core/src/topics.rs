//! The rings of one instrument: one per data type, and one more per deeper book tier that somebody asked for.

use std::sync::Arc;

use crate::hub::{Hub, Publisher, TopicExists, TopicKey};
use crate::record::{data_type, HEADER_WORDS};

/// Deeper books are published in these tiers; a subscriber's depth is cut from the next larger one.
pub const DEEP_TIERS: [usize; 2] = [100, 1000];

/// A ring of deeper books, written only while somebody reads it.
pub struct DeepTopic {
    /// Levels a side.
    pub depth: usize,
    /// Its writer.
    pub publisher: Publisher,
}

impl DeepTopic {
    /// Does anybody read it?
    pub fn is_wanted(&self) -> bool {
        self.publisher.topic().readers() > 0
    }
}

/// The writers of one instrument's topics.
pub struct Topics {
    /// Levels a side in `book`.
    pub depth: usize,
    /// Books of the default depth.
    pub book: Publisher,
    /// Trades or aggregates.
    pub trades: Publisher,
    /// Best bid and ask.
    pub quotes: Publisher,
    /// Candles of 1m, 5m and 1h.
    pub candles: [Publisher; 3],
    /// Mark price and funding.
    pub funding: Publisher,
    /// Forced orders.
    pub liquidations: Publisher,
    /// Deeper books.
    pub deep: Vec<DeepTopic>,
    ring_bytes: usize,
}

impl Topics {
    /// Create the topics of a symbol; their rings take about `ring_bytes` together.
    ///
    /// # Errors
    /// [`TopicExists`] when the symbol has topics already.
    pub fn create(hub: &Hub, venue: &str, symbol: &str, depth: usize, ring_bytes: usize) -> Result<Self, TopicExists> {
        let topic = |data_type: i32, bytes: usize| {
            let depth = if data_type == data_type::ORDERBOOK { depth as u16 } else { 0 };
            hub.create_topic(TopicKey { venue: venue.into(), symbol: symbol.into(), data_type, depth }, bytes)
        };
        // A ring takes no record longer than half of it; four books are the least that a reader can follow.
        let few_books = 8 * 4 * (HEADER_WORDS + 1 + 4 * depth);
        // Half for books, a quarter for trades, an eighth for quotes: their shares of a busy symbol's bytes.
        let small = (ring_bytes / 64).max(2048);
        Ok(Self {
            depth,
            book: topic(data_type::ORDERBOOK, (ring_bytes / 2).max(few_books))?,
            trades: topic(data_type::TRADES, (ring_bytes / 4).max(small))?,
            quotes: topic(data_type::QUOTES, (ring_bytes / 8).max(small))?,
            candles: [
                topic(data_type::CANDLES_1M, small)?,
                topic(data_type::CANDLES_5M, small)?,
                topic(data_type::CANDLES_1H, small)?,
            ],
            funding: topic(data_type::FUNDING_RATES, small)?,
            liquidations: topic(data_type::LIQUIDATIONS, small)?,
            deep: Vec::new(),
            ring_bytes,
        })
    }

    /// The writer of a data type.
    pub fn of_data_type(&mut self, data_type: i32) -> Option<&mut Publisher> {
        Some(match data_type {
            data_type::ORDERBOOK => &mut self.book,
            data_type::TRADES => &mut self.trades,
            data_type::QUOTES => &mut self.quotes,
            data_type::CANDLES_1M => &mut self.candles[0],
            data_type::CANDLES_5M => &mut self.candles[1],
            data_type::CANDLES_1H => &mut self.candles[2],
            data_type::FUNDING_RATES => &mut self.funding,
            data_type::LIQUIDATIONS => &mut self.liquidations,
            _ => return None,
        })
    }

    /// Find the tier that holds `depth` levels, or start it. Returns its topic id and whether it is new.
    ///
    /// # Errors
    /// [`TopicExists`] when the hub is full.
    pub fn enable_depth(&mut self, hub: &Hub, depth: usize) -> Result<(u32, bool), TopicExists> {
        if depth <= self.depth {
            return Ok((self.book.topic().id(), false));
        }
        let tier = DEEP_TIERS.into_iter().find(|tier| *tier >= depth).unwrap_or(DEEP_TIERS[DEEP_TIERS.len() - 1]);
        if let Some(deep) = self.deep.iter().find(|deep| deep.depth == tier) {
            return Ok((deep.publisher.topic().id(), !deep.is_wanted()));
        }
        let key = TopicKey { depth: tier as u16, ..self.book.topic().key().clone() };
        // A record of n levels a side takes 32 n bytes; keep at least a few dozen.
        let bytes = self.ring_bytes.max(32 * 48 * tier);
        let publisher = hub.create_topic(key, bytes)?;
        let id = publisher.topic().id();
        self.deep.push(DeepTopic { depth: tier, publisher });
        Ok((id, true))
    }

    /// End every topic: readers are told once they have read what is there.
    pub fn end(&self, hub: &Hub) {
        let fixed = [&self.book, &self.trades, &self.quotes, &self.funding, &self.liquidations];
        let deep = self.deep.iter().map(|deep| &deep.publisher);
        for publisher in fixed.into_iter().chain(&self.candles).chain(deep) {
            hub.end_topic(Arc::clone(publisher.topic()).id());
        }
    }
}
