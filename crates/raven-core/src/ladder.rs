//! One side of a book: a sorted map from price to quantity, made for the way books change.
//!
//! Levels live in small sorted blocks, best price first. A change finds its block and its place there by binary
//! searches without a branch, those of a few changes in step, and then moves at most one block's entries. A removed level leaves its price behind with quantity zero until the block is full: makers come
//! back to the same prices all the time, and then nothing moves at all. A dense array indexed by tick would be faster
//! still, but costs megabytes a symbol; this costs about 20 bytes a level whatever the prices are.

use crate::parse::event::Level;

/// Entries per block: a block's keys fill eight cache lines, and a search takes six steps.
const BLOCK: usize = 64;
/// Blocks filled by a snapshot keep room to grow.
const FILL: usize = 44;
/// Two neighbours that fit together into this many entries become one.
const MERGE: usize = 36;
/// Searches that go in step.
const LANES: usize = 4;

/// Keys are stored so that the best price comes first; unused entries hold `i64::MAX`, entries of quantity zero are gone.
#[derive(Clone, Debug)]
struct Block {
    /// Entries in use, gone ones included.
    length: usize,
    /// Entries that are levels.
    live: usize,
    keys: [i64; BLOCK],
    quantities: [i64; BLOCK],
}

impl Block {
    const EMPTY: Self = Self { length: 0, live: 0, keys: [i64::MAX; BLOCK], quantities: [0; BLOCK] };

    #[inline(always)]
    fn insert(&mut self, at: usize, key: i64, quantity: i64) {
        self.keys.copy_within(at..self.length, at + 1);
        self.quantities.copy_within(at..self.length, at + 1);
        self.keys[at] = key;
        self.quantities[at] = quantity;
        self.length += 1;
        self.live += 1;
    }

    /// Append an entry behind the last one.
    fn push(&mut self, key: i64, quantity: i64) {
        self.keys[self.length] = key;
        self.quantities[self.length] = quantity;
        self.length += 1;
        self.live += 1;
    }

    /// The levels, best first, as `(key, quantity)`.
    #[inline(always)]
    fn levels(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        let entries = self.keys[..self.length].iter().zip(&self.quantities[..self.length]);
        entries.filter(|(_, quantity)| **quantity != 0).map(|(key, quantity)| (*key, *quantity))
    }

    /// The same levels without the entries that are gone.
    fn compacted(&self) -> Self {
        let mut compact = Self::EMPTY;
        self.levels().for_each(|(key, quantity)| compact.push(key, quantity));
        compact
    }
}

/// Whether a ladder holds bids (best is highest) or asks (best is lowest).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Buyers.
    Bid,
    /// Sellers.
    Ask,
}

/// What a change did to a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new price level.
    Added,
    /// A known level has another quantity.
    Changed,
    /// A known level has gone.
    Removed,
    /// The removal of a level that was not known: normal beyond the snapshot's range.
    NothingToRemove,
}

/// By `was a level * 2 + is a level`.
const CHANGES: [Change; 4] = [Change::NothingToRemove, Change::Added, Change::Removed, Change::Changed];

/// One side of a book.
#[derive(Clone, Debug)]
pub struct Ladder {
    side: Side,
    /// Order of the blocks, best first.
    order: Vec<u32>,
    /// Lowest key that belongs to the block of the same position; the first is `i64::MIN`.
    bounds: Vec<i64>,
    blocks: Vec<Block>,
    free: Vec<u32>,
    levels: usize,
}

impl Ladder {
    /// An empty ladder.
    pub fn new(side: Side) -> Self {
        Self { side, order: vec![0], bounds: vec![i64::MIN], blocks: vec![Block::EMPTY], free: Vec::new(), levels: 0 }
    }

    /// Number of levels.
    pub fn len(&self) -> usize {
        self.levels
    }

    /// Has it no level?
    pub fn is_empty(&self) -> bool {
        self.levels == 0
    }

    /// Bytes that the ladder occupies.
    pub fn bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>() + self.order.capacity() * 4 + self.bounds.capacity() * 8
    }

    #[inline(always)]
    fn key(&self, price: i64) -> i64 {
        match self.side {
            Side::Bid => -price,
            Side::Ask => price,
        }
    }

    /// The best level, `(price, quantity)`.
    #[inline(always)]
    pub fn best(&self) -> Option<(i64, i64)> {
        let first = &self.blocks[self.order[0] as usize];
        first.levels().next().map(|(key, quantity)| (self.key(key), quantity))
    }

    /// Forget every level.
    pub fn clear(&mut self) {
        self.free.clear();
        self.free.extend((1..self.blocks.len() as u32).rev());
        self.order.truncate(1);
        self.order[0] = 0;
        self.bounds.truncate(1);
        self.bounds[0] = i64::MIN;
        self.blocks[0] = Block::EMPTY;
        self.levels = 0;
    }

    /// Set the quantity of a price; zero removes the level.
    #[inline]
    pub fn set(&mut self, price: i64, quantity: i64) -> Change {
        let key = self.key(price);
        let [(block, at)] = self.find([key]);
        self.set_at(block, at, key, quantity)
    }

    /// Set the quantities of many prices; returns how many removals named a level that was not known.
    #[inline]
    pub fn set_all(&mut self, levels: &[Level]) -> u64 {
        let mut unknown = 0;
        let mut groups = levels.chunks_exact(LANES);
        for group in &mut groups {
            let keys: [i64; LANES] = std::array::from_fn(|lane| self.key(group[lane].price));
            let found = self.find(keys);
            for ((level, key), (block, at)) in group.iter().zip(keys).zip(found) {
                unknown += u64::from(self.set_at(block, at, key, level.quantity) == Change::NothingToRemove);
            }
        }
        for level in groups.remainder() {
            unknown += u64::from(self.set(level.price, level.quantity) == Change::NothingToRemove);
        }
        unknown
    }

    /// Block and position of the first entries not below these keys. The searches go in step, without a branch that
    /// the market decides, so that the processor works on all of them at once.
    #[inline(always)]
    fn find<const N: usize>(&self, keys: [i64; N]) -> [(u32, usize); N] {
        let mut places = [0usize; N];
        let mut span = self.bounds.len();
        while span > 1 {
            let half = span / 2;
            for (place, key) in places.iter_mut().zip(&keys) {
                let is_behind = self.bounds[*place + half] <= *key;
                *place = std::hint::select_unpredictable(is_behind, *place + half, *place);
            }
            span -= half;
        }
        let blocks = places.map(|place| self.order[place]);
        let entries = blocks.map(|block| &self.blocks[block as usize].keys);
        let mut positions = [0usize; N];
        let mut step = BLOCK / 2;
        while step > 0 {
            for ((at, keys), key) in positions.iter_mut().zip(&entries).zip(&keys) {
                *at += usize::from(keys[(*at + step - 1) & (BLOCK - 1)] < *key) * step;
            }
            step /= 2;
        }
        std::array::from_fn(|lane| (blocks[lane], positions[lane]))
    }

    /// Set a quantity where [`Self::find`] found its place, which is looked up again when a change before moved it.
    #[inline(always)]
    fn set_at(&mut self, index: u32, at: usize, key: i64, quantity: i64) -> Change {
        let block = &mut self.blocks[index as usize];
        if block.keys[at & (BLOCK - 1)] != key || at >= block.length {
            return self.set_missing(index, at, key, quantity);
        }
        let before = std::mem::replace(&mut block.quantities[at & (BLOCK - 1)], quantity);
        // Four cases without a branch that the market decides.
        let (was, is) = (usize::from(before != 0), usize::from(quantity != 0));
        block.live = block.live + is - was;
        self.levels = self.levels + is - was;
        if is < was && block.live < MERGE / 2 {
            self.shrink(self.place_of(key));
        }
        CHANGES[was * 2 + is]
    }

    #[inline(never)]
    fn set_missing(&mut self, index: u32, at: usize, key: i64, quantity: i64) -> Change {
        let keys = &self.blocks[index as usize].keys;
        let is_between = at > 0 && at < BLOCK && keys[at - 1] < key && key < keys[at] && keys[at] != i64::MAX;
        let (index, at) = if is_between { (index, at) } else { self.find([key])[0] };
        let block = &mut self.blocks[index as usize];
        if block.keys[at & (BLOCK - 1)] == key && at < block.length {
            return self.set_at(index, at, key, quantity);
        }
        if quantity == 0 {
            return Change::NothingToRemove;
        }
        block.insert(at, key, quantity);
        self.levels += 1;
        if block.length == BLOCK - 1 {
            self.make_room(self.place_of(key));
        }
        Change::Added
    }

    /// The block that a key belongs to.
    fn place_of(&self, key: i64) -> usize {
        self.bounds.partition_point(|bound| *bound <= key) - 1
    }

    fn take_block(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            if self.blocks.len() == self.blocks.capacity() {
                // A thousand books live side by side: grow by what is needed, not by doubling.
                self.blocks.reserve_exact(4);
            }
            self.blocks.push(Block::EMPTY);
            self.blocks.len() as u32 - 1
        })
    }

    /// Drop what is gone from a full block; when that is too little, move its worse half into a new block behind it.
    #[inline(never)]
    fn make_room(&mut self, place: usize) {
        let old = self.order[place] as usize;
        let compact = self.blocks[old].compacted();
        if compact.length <= FILL {
            self.blocks[old] = compact;
            return;
        }
        let new = self.take_block() as usize;
        let half = compact.length / 2;
        let (mut better, mut worse) = (Block::EMPTY, Block::EMPTY);
        for (position, (key, quantity)) in compact.levels().enumerate() {
            if position < half {
                better.push(key, quantity);
            } else {
                worse.push(key, quantity);
            }
        }
        self.order.insert(place + 1, new as u32);
        self.bounds.insert(place + 1, worse.keys[0]);
        self.blocks[old] = better;
        self.blocks[new] = worse;
    }

    /// Give an emptied block back, or join it with a neighbour when both are nearly empty.
    #[inline(never)]
    fn shrink(&mut self, place: usize) {
        if self.order.len() == 1 {
            return;
        }
        let left = if place + 1 < self.order.len() { place } else { place - 1 };
        let (keep, go) = (self.order[left] as usize, self.order[left + 1] as usize);
        let (kept, moved) = (self.blocks[keep].live, self.blocks[go].live);
        if kept + moved > MERGE && kept > 0 && moved > 0 {
            return;
        }
        let mut joined = self.blocks[keep].compacted();
        self.blocks[go].levels().for_each(|(key, quantity)| joined.push(key, quantity));
        self.blocks[keep] = joined;
        self.blocks[go] = Block::EMPTY;
        self.free.push(go as u32);
        self.order.remove(left + 1);
        self.bounds.remove(left + 1);
    }

    /// Levels, best first, as `(price, quantity)`.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        let blocks = self.order.iter().map(|index| &self.blocks[*index as usize]);
        blocks.flat_map(move |block| block.levels().map(move |(key, quantity)| (self.key(key), quantity)))
    }

    /// Append up to `depth` levels as `price, quantity` words, best first; returns how many and the worst price written.
    #[inline]
    pub fn write_top(&self, depth: usize, out: &mut Vec<u64>) -> (usize, i64) {
        let mut written = 0;
        let mut worst = 0;
        for index in &self.order {
            for (key, quantity) in self.blocks[*index as usize].levels().take(depth - written) {
                worst = self.key(key);
                out.push(worst as u64);
                out.push(quantity as u64);
                written += 1;
            }
            if written == depth {
                break;
            }
        }
        (written, worst)
    }

    /// Fill an empty ladder from levels that are sorted best first; a price that stands twice keeps its last quantity.
    pub fn fill(&mut self, levels: impl Iterator<Item = (i64, i64)>) {
        self.clear();
        let mut last = i64::MIN;
        for (price, quantity) in levels {
            let key = self.key(price);
            let place = self.order.len() - 1;
            let length = self.blocks[self.order[place] as usize].length;
            if key <= last || length < FILL {
                // Out of order (a venue that does not sort), or room left: the general way is right.
                self.set(price, quantity);
            } else if quantity != 0 {
                let new = self.take_block();
                let block = &mut self.blocks[new as usize];
                *block = Block::EMPTY;
                block.push(key, quantity);
                self.order.push(new);
                self.bounds.push(key);
                self.levels += 1;
            }
            last = last.max(key);
        }
    }

    /// Multiply every price and quantity (the instrument's scales grew). False: a value does not fit any more.
    pub fn rescale(&mut self, price_factor: i64, quantity_factor: i64) -> bool {
        let fits = self.iter().all(|(price, quantity)| {
            price.checked_mul(price_factor).is_some() && quantity.checked_mul(quantity_factor).is_some()
        });
        if !fits {
            return false;
        }
        for index in &self.order {
            // Entries that are gone were not asked whether they fit, so they have to go for good.
            let block = &mut self.blocks[*index as usize];
            *block = block.compacted();
            let length = block.length;
            block.keys[..length].iter_mut().for_each(|key| *key *= price_factor);
            block.quantities[..length].iter_mut().for_each(|quantity| *quantity *= quantity_factor);
        }
        for bound in &mut self.bounds[1..] {
            *bound = bound.saturating_mul(price_factor);
        }
        true
    }
}

impl Ladder {
    /// Could every price and quantity be divided without a rest?
    pub fn is_divisible(&self, price_factor: i64, quantity_factor: i64) -> bool {
        self.iter().all(|(price, quantity)| price % price_factor == 0 && quantity % quantity_factor == 0)
    }

    /// Divide every price and quantity (the instrument's scales shrank).
    pub fn divide(&mut self, price_factor: i64, quantity_factor: i64) {
        let levels: Vec<_> = self.iter().collect();
        self.fill(levels.into_iter().map(|(price, quantity)| (price / price_factor, quantity / quantity_factor)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A generator without dependencies: the tests need variety, not statistics.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % sides
        }
    }

    fn check(ladder: &Ladder, model: &BTreeMap<i64, i64>, side: Side) {
        let expected: Vec<_> = match side {
            Side::Ask => model.iter().map(|(price, quantity)| (*price, *quantity)).collect(),
            Side::Bid => model.iter().rev().map(|(price, quantity)| (*price, *quantity)).collect(),
        };
        assert_eq!(ladder.iter().collect::<Vec<_>>(), expected);
        assert_eq!(ladder.len(), model.len());
        assert_eq!(ladder.best(), expected.first().copied());
        let mut words = Vec::new();
        let (written, _) = ladder.write_top(20, &mut words);
        assert_eq!(written, expected.len().min(20));
        for (pair, level) in words.chunks(2).zip(&expected) {
            assert_eq!((pair[0] as i64, pair[1] as i64), *level);
        }
    }

    #[test]
    fn it_behaves_like_a_sorted_map_under_random_changes() {
        for side in [Side::Bid, Side::Ask] {
            for spread in [50u64, 2_000, 1 << 40] {
                let mut dice = Dice(spread ^ side as u64);
                let (mut ladder, mut model) = (Ladder::new(side), BTreeMap::new());
                for round in 0..20_000u64 {
                    let price = dice.roll(spread) as i64 + 1;
                    // Phases of growth and of decay exercise splits and merges.
                    let removes = if (round / 4_000).is_multiple_of(2) { 3 } else { 8 };
                    let quantity = if dice.roll(10) < removes { 0 } else { dice.roll(1_000) as i64 + 1 };
                    let change = ladder.set(price, quantity);
                    let before = if quantity == 0 { model.remove(&price) } else { model.insert(price, quantity) };
                    let expected = match (quantity, before) {
                        (0, None) => Change::NothingToRemove,
                        (0, Some(_)) => Change::Removed,
                        (_, None) => Change::Added,
                        (_, Some(_)) => Change::Changed,
                    };
                    assert_eq!(change, expected);
                    if round % 500 == 0 {
                        check(&ladder, &model, side);
                    }
                }
                check(&ladder, &model, side);
                assert!(ladder.rescale(100, 10));
                let scaled = model.iter().map(|(price, quantity)| (price * 100, quantity * 10)).collect();
                check(&ladder, &scaled, side);
                for price in scaled.keys() {
                    assert_eq!(ladder.set(*price, 0), Change::Removed);
                }
                assert!(ladder.is_empty());
                assert_eq!(ladder.order.len(), 1, "empty blocks are given back");
            }
        }
    }

    #[test]
    fn many_changes_at_once_are_the_same_as_one_by_one() {
        for side in [Side::Bid, Side::Ask] {
            let mut dice = Dice(3 + side as u64);
            let (mut together, mut singly) = (Ladder::new(side), Ladder::new(side));
            for round in 0..2_000 {
                // Groups hold new neighbours, the same price twice, and splits and merges of the block they are in.
                let spread = [20, 400, 5_000][round % 3];
                let count = dice.roll(90);
                let level = |dice: &mut Dice| {
                    let quantity = if dice.roll(10) < 5 { 0 } else { dice.roll(1_000) as i64 + 1 };
                    Level { price: dice.roll(spread) as i64 + 1, quantity }
                };
                let levels: Vec<_> = (0..count).map(|_| level(&mut dice)).collect();
                let unknown = levels
                    .iter()
                    .filter(|level| singly.set(level.price, level.quantity) == Change::NothingToRemove)
                    .count();
                assert_eq!(together.set_all(&levels), unknown as u64);
                assert_eq!(together.len(), singly.len());
                if round % 20 == 0 {
                    assert!(together.iter().eq(singly.iter()));
                }
            }
            assert!(together.iter().eq(singly.iter()));
        }
    }

    #[test]
    fn filling_takes_any_order_and_the_last_of_two_equal_prices() {
        let mut ladder = Ladder::new(Side::Ask);
        ladder.fill((1..=1000).map(|price| (price, price)));
        assert_eq!(ladder.len(), 1000);
        assert!(ladder.bytes() < 30 * 1024, "{}", ladder.bytes());
        ladder.fill([(5, 1), (3, 1), (5, 2), (4, 0)].into_iter());
        assert_eq!(ladder.iter().collect::<Vec<_>>(), [(3, 1), (5, 2)]);
    }

    #[test]
    fn a_rescale_that_does_not_fit_changes_nothing() {
        let mut ladder = Ladder::new(Side::Ask);
        ladder.set(i64::MAX / 2, 1);
        assert!(!ladder.rescale(10, 1));
        assert_eq!(ladder.best(), Some((i64::MAX / 2, 1)));
    }
}
