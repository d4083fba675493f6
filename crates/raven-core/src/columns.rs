//! Records of many topics as columns, for whoever stores or hands on whole batches (the journal).
//!
//! One set of columns per kind, all of them 64-bit words except where a narrower type holds every value, so that
//! Python can take each as one buffer. The order of the columns is the order of the fields here.

use crate::record::{Header, Kind, HEADER_WORDS};

/// Body words of a kind whose records are all of one length; `None` for books.
pub fn body_words(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Book => None,
        Kind::Trade | Kind::Funding => Some(5),
        Kind::Quote | Kind::Liquidation => Some(4),
        Kind::Candle => Some(crate::record::candle::WORDS),
        Kind::Gap => Some(crate::record::gap::WORDS),
    }
}

/// The levels of one side of many books.
#[derive(Clone, Debug)]
pub struct Side {
    /// Where each book's levels begin, and behind the last one where they end.
    pub offsets: Vec<i32>,
    /// Prices, best first.
    pub prices: Vec<u64>,
    /// Quantities.
    pub quantities: Vec<u64>,
    /// How many levels of each book a snapshot proved.
    pub proven: Vec<u32>,
}

impl Default for Side {
    fn default() -> Self {
        Self { offsets: vec![0], prices: Vec::new(), quantities: Vec::new(), proven: Vec::new() }
    }
}

impl Side {
    fn push(&mut self, levels: &[u64], proven: u32) {
        for level in levels.chunks_exact(2) {
            self.prices.push(level[0]);
            self.quantities.push(level[1]);
        }
        self.offsets.push(self.prices.len() as i32);
        self.proven.push(proven);
    }
}

/// Records of one kind.
#[derive(Clone, Debug)]
pub struct Columns {
    /// The kind of all of them.
    pub kind: Kind,
    /// Topic of each.
    pub topic: Vec<u32>,
    /// Quality bits.
    pub flags: Vec<u32>,
    /// Sequence in the topic.
    pub sequence: Vec<u64>,
    /// When it arrived, ns since 1970.
    pub recv_ns: Vec<i64>,
    /// When it happened, ns since 1970.
    pub exchange_ns: Vec<i64>,
    /// The venue's id.
    pub id: Vec<u64>,
    /// Decimals of prices.
    pub price_scale: Vec<u8>,
    /// Decimals of quantities.
    pub quantity_scale: Vec<u8>,
    /// One column per body word; empty for books.
    pub body: Vec<Vec<u64>>,
    /// Bids of books.
    pub bids: Side,
    /// Asks of books.
    pub asks: Side,
}

impl Columns {
    /// No records yet.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            topic: Vec::new(),
            flags: Vec::new(),
            sequence: Vec::new(),
            recv_ns: Vec::new(),
            exchange_ns: Vec::new(),
            id: Vec::new(),
            price_scale: Vec::new(),
            quantity_scale: Vec::new(),
            body: vec![Vec::new(); body_words(kind).unwrap_or(0)],
            bids: Side::default(),
            asks: Side::default(),
        }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.topic.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.topic.is_empty()
    }

    /// Append one record of this kind, header and body.
    #[inline]
    pub fn push(&mut self, topic: u32, header: &Header, body: &[u64]) {
        debug_assert_eq!(header.kind, self.kind);
        self.topic.push(topic);
        self.flags.push(header.flags);
        self.sequence.push(header.sequence);
        self.recv_ns.push(header.recv_ns);
        self.exchange_ns.push(header.exchange_ns);
        self.id.push(header.id);
        self.price_scale.push(header.price_scale);
        self.quantity_scale.push(header.quantity_scale);
        if self.kind == Kind::Book {
            let (proven, levels) = (body[0], &body[1..]);
            let (bids, asks) = levels.split_at(2 * usize::from(header.bids));
            self.bids.push(bids, proven as u32);
            self.asks.push(&asks[..2 * usize::from(header.asks)], (proven >> 32) as u32);
        } else {
            self.body.iter_mut().zip(body).for_each(|(column, word)| column.push(*word));
        }
    }

    /// One record as it travels on a ring, header and body, into `out`. What was pushed comes back word by word.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn record(&self, row: usize, out: &mut Vec<u64>) {
        let levels = |side: &Side| (side.offsets[row] as usize, side.offsets[row + 1] as usize);
        let mut header = Header {
            kind: self.kind,
            flags: self.flags[row],
            sequence: self.sequence[row],
            recv_ns: self.recv_ns[row],
            exchange_ns: self.exchange_ns[row],
            id: self.id[row],
            price_scale: self.price_scale[row],
            quantity_scale: self.quantity_scale[row],
            bids: 0,
            asks: 0,
        };
        out.clear();
        out.resize(HEADER_WORDS, 0);
        if self.kind == Kind::Book {
            out.push(u64::from(self.bids.proven[row]) | u64::from(self.asks.proven[row]) << 32);
            for side in [&self.bids, &self.asks] {
                let (from, to) = levels(side);
                (from..to).for_each(|at| out.extend([side.prices[at], side.quantities[at]]));
            }
            let count = |side: &Side| (levels(side).1 - levels(side).0) as u16;
            (header.bids, header.asks) = (count(&self.bids), count(&self.asks));
        } else {
            out.extend(self.body.iter().map(|column| column[row]));
        }
        let words = header.to_words(out.len());
        out[..HEADER_WORDS].copy_from_slice(&words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_word_by_word() {
        for number in 1..=7 {
            let kind = Kind::from_u8(number).expect("a kind");
            let mut columns = Columns::new(kind);
            let mut records = Vec::new();
            for row in 0..3u64 {
                let (bids, asks) = if kind == Kind::Book { (row as u16, 2) } else { (0, 0) };
                let words = body_words(kind).unwrap_or(1 + 2 * usize::from(bids + asks));
                let body: Vec<u64> = (0..words as u64).map(|word| word * 1_000 + row).collect();
                let header = Header {
                    kind,
                    flags: row as u32,
                    sequence: row + 1,
                    recv_ns: -5,
                    exchange_ns: i64::MAX,
                    id: u64::MAX - row,
                    price_scale: 8,
                    quantity_scale: 3,
                    bids,
                    asks,
                };
                columns.push(row as u32, &header, &body);
                let mut record = header.to_words(HEADER_WORDS + body.len()).to_vec();
                record.extend(&body);
                records.push(record);
            }
            assert_eq!(columns.len(), 3);
            let mut out = Vec::new();
            for (row, record) in records.iter().enumerate() {
                columns.record(row, &mut out);
                assert_eq!(&out, record, "{kind:?}");
            }
        }
    }
}
