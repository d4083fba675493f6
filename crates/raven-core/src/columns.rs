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
        Kind::Bar => Some(crate::record::bar::WORDS),
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
    /// From offsets, prices, quantities, and what is proven.
    fn from_buffers(rows: usize, buffers: &[&[u8]]) -> Option<Self> {
        let offsets = numbers(buffers[0], rows + 1, i32::from_le_bytes)?;
        let levels = usize::try_from(*offsets.last()?).ok()?;
        // Every book ends where the next one begins, and none has more levels than a record can say.
        let is_rising = offsets.first() == Some(&0)
            && offsets.windows(2).all(|pair| (0..=i32::from(u16::MAX)).contains(&pair[1].wrapping_sub(pair[0])));
        is_rising.then_some(Self {
            prices: numbers(buffers[1], levels, u64::from_le_bytes)?,
            quantities: numbers(buffers[2], levels, u64::from_le_bytes)?,
            proven: numbers(buffers[3], rows, u32::from_le_bytes)?,
            offsets,
        })
    }

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

    /// Records from the buffers of their columns, little-endian, in the order of the fields here; of books first all of
    /// the bids' columns and then all of the asks'. `None` when the buffers do not fit together.
    pub fn from_buffers(kind: Kind, rows: usize, buffers: &[&[u8]]) -> Option<Self> {
        let (head, rest) = buffers.split_at_checked(8)?;
        let mut columns = Self {
            kind,
            topic: numbers(head[0], rows, u32::from_le_bytes)?,
            flags: numbers(head[1], rows, u32::from_le_bytes)?,
            sequence: numbers(head[2], rows, u64::from_le_bytes)?,
            recv_ns: numbers(head[3], rows, i64::from_le_bytes)?,
            exchange_ns: numbers(head[4], rows, i64::from_le_bytes)?,
            id: numbers(head[5], rows, u64::from_le_bytes)?,
            price_scale: numbers(head[6], rows, u8::from_le_bytes)?,
            quantity_scale: numbers(head[7], rows, u8::from_le_bytes)?,
            body: Vec::new(),
            bids: Side::default(),
            asks: Side::default(),
        };
        match body_words(kind) {
            Some(words) if rest.len() == words => {
                let body = rest.iter().map(|buffer| numbers(buffer, rows, u64::from_le_bytes));
                columns.body = body.collect::<Option<_>>()?;
            }
            None if rest.len() == 8 => {
                columns.bids = Side::from_buffers(rows, &rest[..4])?;
                columns.asks = Side::from_buffers(rows, &rest[4..])?;
            }
            _ => return None,
        }
        Some(columns)
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

/// The first `rows` numbers of a buffer.
fn numbers<T, const BYTES: usize>(buffer: &[u8], rows: usize, read: fn([u8; BYTES]) -> T) -> Option<Vec<T>> {
    let bytes = buffer.get(..rows.checked_mul(BYTES)?)?;
    Some(bytes.chunks_exact(BYTES).filter_map(|chunk| chunk.try_into().ok()).map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<T: Copy, const BYTES: usize>(values: &[T], write: fn(T) -> [u8; BYTES]) -> Vec<u8> {
        values.iter().flat_map(|value| write(*value)).collect()
    }

    /// What Python is handed, and hands back.
    fn buffers(columns: &Columns) -> Vec<Vec<u8>> {
        let mut all = vec![
            bytes(&columns.topic, u32::to_le_bytes),
            bytes(&columns.flags, u32::to_le_bytes),
            bytes(&columns.sequence, u64::to_le_bytes),
            bytes(&columns.recv_ns, i64::to_le_bytes),
            bytes(&columns.exchange_ns, i64::to_le_bytes),
            bytes(&columns.id, u64::to_le_bytes),
            columns.price_scale.clone(),
            columns.quantity_scale.clone(),
        ];
        all.extend(columns.body.iter().map(|column| bytes(column, u64::to_le_bytes)));
        if columns.kind == Kind::Book {
            for side in [&columns.bids, &columns.asks] {
                all.push(bytes(&side.offsets, i32::to_le_bytes));
                all.push(bytes(&side.prices, u64::to_le_bytes));
                all.push(bytes(&side.quantities, u64::to_le_bytes));
                all.push(bytes(&side.proven, u32::to_le_bytes));
            }
        }
        all
    }

    fn through_buffers(columns: &Columns) -> Option<Columns> {
        let all = buffers(columns);
        Columns::from_buffers(columns.kind, columns.len(), &all.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    #[test]
    fn buffers_that_do_not_fit_together_are_refused() {
        let mut columns = Columns::new(Kind::Book);
        let header = Header {
            kind: Kind::Book,
            flags: 0,
            sequence: 1,
            recv_ns: 1,
            exchange_ns: 1,
            id: 1,
            price_scale: 0,
            quantity_scale: 0,
            bids: 1,
            asks: 1,
        };
        columns.push(1, &header, &[0, 5, 1, 6, 1]);
        let whole = buffers(&columns);
        let refused = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
            let mut all = whole.clone();
            change(&mut all);
            let slices: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
            Columns::from_buffers(Kind::Book, 1, &slices).is_none()
        };
        assert!(!refused(&|_| ()));
        assert!(refused(&|all| all.truncate(7)));
        assert!(refused(&|all| all.truncate(15)));
        assert!(refused(&|all| all[2].truncate(7)));
        assert!(refused(&|all| all[8] = vec![0; 4]), "too few offsets");
        assert!(refused(&|all| all[8][4] = 9), "more levels than there are");
        assert!(refused(&|all| all[8][7] = 0x80), "a negative offset");
    }

    #[test]
    fn every_kind_comes_back_word_by_word() {
        for kind in Kind::ALL {
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
            let columns = through_buffers(&columns).expect("the buffers fit together");
            let mut out = Vec::new();
            for (row, record) in records.iter().enumerate() {
                columns.record(row, &mut out);
                assert_eq!(&out, record, "{kind:?}");
            }
        }
    }
}
