//! An exact order book of one instrument, with one writer.
//!
//! The book knows what it does not know: a snapshot of 1000 levels proves the prices between its worst bid and its
//! worst ask; what rests further away is unknown until a diff names it.

use crate::ladder::{Ladder, Side};
use crate::parse::decimal::{self, POW10};
use crate::parse::event::{Level, Scales};

/// Both sides, their scales and the proven range.
#[derive(Clone, Debug)]
pub struct Book {
    bids: Ladder,
    asks: Ladder,
    scales: Scales,
    update_id: u64,
    /// Prices from here up are proven on the bid side; `i64::MIN` when the snapshot held the whole side.
    proven_low: i64,
    /// Prices up to here are proven on the ask side; `i64::MAX` when the snapshot held the whole side.
    proven_high: i64,
    unknown_removals: u64,
}

impl Book {
    /// An empty book.
    pub fn new(scales: Scales) -> Self {
        Self {
            bids: Ladder::new(Side::Bid),
            asks: Ladder::new(Side::Ask),
            scales,
            update_id: 0,
            proven_low: i64::MIN,
            proven_high: i64::MAX,
            unknown_removals: 0,
        }
    }

    /// Decimals of its numbers.
    pub fn scales(&self) -> Scales {
        self.scales
    }

    /// Id of the last update applied.
    pub fn update_id(&self) -> u64 {
        self.update_id
    }

    /// The bid side.
    pub fn bids(&self) -> &Ladder {
        &self.bids
    }

    /// The ask side.
    pub fn asks(&self) -> &Ladder {
        &self.asks
    }

    /// The lowest bid price and the highest ask price that a snapshot proved.
    pub fn proven(&self) -> (i64, i64) {
        (self.proven_low, self.proven_high)
    }

    /// How many removals named a level that was not known.
    pub fn unknown_removals(&self) -> u64 {
        self.unknown_removals
    }

    /// Bytes that the book occupies.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.bids.bytes() + self.asks.bytes()
    }

    /// Replace everything by a snapshot. `limit` is the number of levels a side that was asked for: a side that
    /// reaches it may go on further away.
    pub fn load(&mut self, update_id: u64, bids: &[Level], asks: &[Level], limit: usize) {
        self.bids.fill(bids.iter().map(|level| (level.price, level.quantity)));
        self.asks.fill(asks.iter().map(|level| (level.price, level.quantity)));
        self.update_id = update_id;
        let worst_bid = bids.iter().map(|level| level.price).min();
        let worst_ask = asks.iter().map(|level| level.price).max();
        self.proven_low = worst_bid.filter(|_| bids.len() >= limit).unwrap_or(i64::MIN);
        self.proven_high = worst_ask.filter(|_| asks.len() >= limit).unwrap_or(i64::MAX);
    }

    /// Apply the absolute quantities of one diff. Whether the book is still sound is asked separately.
    #[inline]
    pub fn apply(&mut self, update_id: u64, bids: &[Level], asks: &[Level]) {
        self.unknown_removals += self.bids.set_all(bids) + self.asks.set_all(asks);
        self.update_id = update_id;
    }

    /// Is the best bid at or above the best ask?
    #[inline(always)]
    pub fn is_crossed(&self) -> bool {
        match (self.bids.best(), self.asks.best()) {
            (Some((bid, _)), Some((ask, _))) => bid >= ask,
            _ => false,
        }
    }

    /// Grow the scales; nothing changes and false is returned when a number would not fit any more.
    pub fn rescale(&mut self, to: Scales) -> bool {
        let price = POW10[(to.price - self.scales.price) as usize];
        let quantity = POW10[(to.quantity - self.scales.quantity) as usize];
        let before = self.bids.clone();
        if !self.bids.rescale(price, quantity) {
            return false;
        }
        if !self.asks.rescale(price, quantity) {
            self.bids = before;
            return false;
        }
        let grow = |bound: i64, open: i64| if bound == open { open } else { bound.saturating_mul(price) };
        self.proven_low = grow(self.proven_low, i64::MIN);
        self.proven_high = grow(self.proven_high, i64::MAX);
        self.scales = to;
        true
    }

    /// Reduce the scales; nothing changes and false is returned when a level needs the decimals that it has.
    pub fn coarsen(&mut self, to: Scales) -> bool {
        let price = POW10[(self.scales.price - to.price) as usize];
        let quantity = POW10[(self.scales.quantity - to.quantity) as usize];
        if !self.bids.is_divisible(price, quantity) || !self.asks.is_divisible(price, quantity) {
            return false;
        }
        self.bids.divide(price, quantity);
        self.asks.divide(price, quantity);
        let up = |bound: i64| bound.div_euclid(price) + i64::from(bound.rem_euclid(price) != 0);
        self.proven_low = if self.proven_low == i64::MIN { i64::MIN } else { up(self.proven_low) };
        self.proven_high = if self.proven_high == i64::MAX { i64::MAX } else { self.proven_high.div_euclid(price) };
        self.scales = to;
        true
    }

    /// Forget every level and take other scales.
    pub fn clear(&mut self, scales: Scales) {
        self.bids.clear();
        self.asks.clear();
        self.scales = scales;
    }

    /// The canonical text of the book, over which its hash is taken: `bids|asks`, both by ascending price,
    /// levels `price:quantity` joined by commas. `depth` cuts to the best levels of each side, 0 keeps all.
    pub fn canonical(&self, depth: usize, out: &mut Vec<u8>) {
        let depth = if depth == 0 { usize::MAX } else { depth };
        let mut bids: Vec<_> = self.bids.iter().take(depth).collect();
        bids.reverse();
        self.write_levels(&bids, out);
        out.push(b'|');
        let asks: Vec<_> = self.asks.iter().take(depth).collect();
        self.write_levels(&asks, out);
    }

    fn write_levels(&self, levels: &[(i64, i64)], out: &mut Vec<u8>) {
        for (position, (price, quantity)) in levels.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            decimal::write(out, *price, self.scales.price);
            out.push(b':');
            decimal::write(out, *quantity, self.scales.quantity);
        }
    }

    /// Append the body of a book record: the `proven` word, then up to `depth` bids and asks, best first.
    /// Returns the number of bids and asks.
    #[inline]
    pub fn write_record(&self, depth: usize, out: &mut Vec<u64>) -> (u16, u16) {
        let at = out.len();
        out.push(0);
        let (bids, worst_bid) = self.bids.write_top(depth, out);
        let (asks, worst_ask) = self.asks.write_top(depth, out);
        let proven_bids = if worst_bid >= self.proven_low { bids } else { self.count_proven(&out[at + 1..], bids) };
        let proven_asks =
            if worst_ask <= self.proven_high { asks } else { self.count_proven_asks(&out[at + 1 + 2 * bids..], asks) };
        out[at] = proven_bids as u64 | (proven_asks as u64) << 32;
        (bids as u16, asks as u16)
    }

    #[cold]
    fn count_proven(&self, words: &[u64], levels: usize) -> usize {
        words.chunks(2).take(levels).filter(|level| level[0] as i64 >= self.proven_low).count()
    }

    #[cold]
    fn count_proven_asks(&self, words: &[u64], levels: usize) -> usize {
        words.chunks(2).take(levels).filter(|level| level[0] as i64 <= self.proven_high).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALES: Scales = Scales { price: 2, quantity: 3 };

    fn level(price: i64, quantity: i64) -> Level {
        Level { price, quantity }
    }

    fn canonical(book: &Book) -> String {
        let mut out = Vec::new();
        book.canonical(0, &mut out);
        String::from_utf8(out).expect("ascii")
    }

    #[test]
    fn the_canonical_text_is_the_documented_one() {
        let mut book = Book::new(SCALES);
        book.load(1, &[level(9_950, 2_000), level(9_900, 1_000)], &[level(10_010, 300)], 1000);
        assert_eq!(canonical(&book), "99:1,99.5:2|100.1:0.3");
        assert!(book.rescale(Scales { price: 8, quantity: 8 }));
        assert_eq!(canonical(&book), "99:1,99.5:2|100.1:0.3");
    }

    #[test]
    fn scales_shrink_only_while_every_level_stays_exact() {
        let mut book = Book::new(SCALES);
        book.load(1, &[level(9_950, 2_000), level(9_900, 1_000)], &[level(10_010, 300)], 2);
        assert!(!book.coarsen(Scales { price: 0, quantity: 3 }) && !book.coarsen(Scales { price: 2, quantity: 0 }));
        assert!(book.coarsen(Scales { price: 1, quantity: 1 }));
        assert_eq!(canonical(&book), "99:1,99.5:2|100.1:0.3");
        assert_eq!(book.proven(), (990, i64::MAX));
    }

    #[test]
    fn levels_beyond_a_full_snapshot_are_not_proven() {
        let mut book = Book::new(SCALES);
        book.load(1, &[level(100, 1), level(99, 1)], &[level(101, 1)], 2);
        assert_eq!(book.proven(), (99, i64::MAX));
        book.apply(2, &[level(90, 5), level(100, 0), level(42, 0)], &[]);
        let mut words = Vec::new();
        assert_eq!(book.write_record(20, &mut words), (2, 1));
        assert_eq!(words[0], 1 | 1 << 32, "99 is proven, 90 is not");
        assert_eq!(book.unknown_removals(), 1);
    }

    #[test]
    fn a_crossed_or_locked_book_is_noticed() {
        let mut book = Book::new(SCALES);
        assert!(!book.is_crossed());
        book.apply(1, &[level(100, 1)], &[level(101, 1)]);
        assert!(!book.is_crossed());
        book.apply(2, &[level(101, 1)], &[]);
        assert!(book.is_crossed());
    }
}
