//! Symbols to instrument numbers: one lookup per event, so it is a flat table without a general hasher.

/// Maps `(venue, symbol)` to a number.
#[derive(Clone, Debug)]
pub struct SymbolTable {
    slots: Vec<Option<Slot>>,
    used: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    venue: u16,
    symbol: Box<[u8]>,
    number: u32,
}

impl Default for SymbolTable {
    fn default() -> Self {
        Self { slots: vec![None; 64], used: 0 }
    }
}

#[inline(always)]
fn hash(venue: u16, symbol: &[u8]) -> usize {
    let mut state = u64::from(venue) ^ (symbol.len() as u64) << 32;
    let mut chunks = symbol.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3], chunk[4], chunk[5], chunk[6], chunk[7]]);
        state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    let mut last = 0u64;
    for byte in chunks.remainder() {
        last = last << 8 | u64::from(*byte);
    }
    state = (state ^ last).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (state >> 24) as usize
}

impl SymbolTable {
    /// The number of a symbol.
    #[inline(always)]
    pub fn get(&self, venue: u16, symbol: &[u8]) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = hash(venue, symbol) & mask;
        while let Some(slot) = &self.slots[at] {
            if slot.venue == venue && *slot.symbol == *symbol {
                return Some(slot.number);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// Add a symbol, or give a known one another number.
    pub fn insert(&mut self, venue: u16, symbol: &[u8], number: u32) {
        if (self.used + 1) * 2 > self.slots.len() {
            let doubled = vec![None; self.slots.len() * 2];
            self.refill(doubled, |_| true);
        }
        let mask = self.slots.len() - 1;
        let mut at = hash(venue, symbol) & mask;
        while let Some(slot) = &mut self.slots[at] {
            if slot.venue == venue && *slot.symbol == *symbol {
                slot.number = number;
                return;
            }
            at = (at + 1) & mask;
        }
        self.slots[at] = Some(Slot { venue, symbol: symbol.into(), number });
        self.used += 1;
    }

    /// Forget a symbol.
    pub fn remove(&mut self, venue: u16, symbol: &[u8]) {
        let empty = vec![None; self.slots.len()];
        self.refill(empty, |slot| slot.venue != venue || *slot.symbol != *symbol);
    }

    fn refill(&mut self, empty: Vec<Option<Slot>>, keep: impl Fn(&Slot) -> bool) {
        let old = std::mem::replace(&mut self.slots, empty);
        self.used = 0;
        for slot in old.into_iter().flatten().filter(keep) {
            self.insert(slot.venue, &slot.symbol, slot.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_finds_its_own_number() {
        let mut table = SymbolTable::default();
        let name = |i: u32| format!("SYM{i}USDT");
        for i in 0..2000 {
            table.insert((i % 3) as u16, name(i).as_bytes(), i);
        }
        for i in 0..2000 {
            assert_eq!(table.get((i % 3) as u16, name(i).as_bytes()), Some(i));
            assert_eq!(table.get(((i + 1) % 3) as u16, name(i).as_bytes()), None);
        }
        table.remove(1, name(1).as_bytes());
        assert_eq!(table.get(1, name(1).as_bytes()), None);
        assert_eq!(table.get(1, name(4).as_bytes()), Some(4));
        assert_eq!(table.get(0, b""), None);
    }
}
