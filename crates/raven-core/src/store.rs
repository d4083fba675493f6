//! The latest state of every instrument, for readers that want "now" and not a stream.
//!
//! One writer (the engine) and any number of readers on other threads. Each cell is a sequence lock made of atomics:
//! the writer never waits, a reader that meets a write tries again, and a torn read is impossible. Forbidden outcome:
//! words of two different writes in one read.

use std::sync::atomic::{fence, AtomicU64, Ordering};

/// Words of the best-20 state: update id, flags, scales, counts, then price and quantity of up to 20 bids and 20 asks.
pub const BOOK_WORDS: usize = 4 + 4 * STORE_DEPTH;
/// Levels a side that the store keeps.
pub const STORE_DEPTH: usize = 20;
/// Words of a trade: id, price, quantity, taker sells, exchange time, scales (`price | quantity << 8`).
pub const TRADE_WORDS: usize = 6;
/// Words of a quote: update id, bid price, bid quantity, ask price, ask quantity, scales.
pub const QUOTE_WORDS: usize = 6;

/// A small array of words that is written by one thread and read whole by others.
#[derive(Debug)]
pub struct Cell<const N: usize> {
    version: AtomicU64,
    words: [AtomicU64; N],
}

impl<const N: usize> Default for Cell<N> {
    fn default() -> Self {
        Self { version: AtomicU64::new(0), words: [const { AtomicU64::new(0) }; N] }
    }
}

impl<const N: usize> Cell<N> {
    /// Replace the first `words.len()` words.
    #[inline(always)]
    pub fn write(&self, words: &[u64]) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (slot, word) in self.words.iter().zip(words) {
            slot.store(*word, Ordering::Relaxed);
        }
        self.version.store(version + 2, Ordering::Release);
    }

    /// Read all words as one write left them; `None` before the first write.
    #[inline]
    pub fn read(&self) -> Option<[u64; N]> {
        let mut words = [0; N];
        loop {
            let before = self.version.load(Ordering::Acquire);
            if before == 0 {
                return None;
            }
            if before.is_multiple_of(2) {
                for (word, slot) in words.iter_mut().zip(&self.words) {
                    *word = slot.load(Ordering::Relaxed);
                }
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == before {
                    return Some(words);
                }
            }
            std::hint::spin_loop();
        }
    }
}

/// The latest state of one instrument.
#[derive(Debug, Default)]
pub struct Latest {
    /// Best 20 levels of both sides.
    pub book: Cell<BOOK_WORDS>,
    /// Last trade.
    pub trade: Cell<TRADE_WORDS>,
    /// Last quote.
    pub quote: Cell<QUOTE_WORDS>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_never_sees_a_mixture_of_two_writes() {
        let cell = Cell::<BOOK_WORDS>::default();
        assert_eq!(cell.read(), None);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=100_000u64 {
                    cell.write(&[round; BOOK_WORDS]);
                }
            });
            let mut last = 0;
            while last < 100_000 {
                if let Some(words) = cell.read() {
                    assert!(words.iter().all(|word| *word == words[0]));
                    assert!(words[0] >= last, "time never goes back");
                    last = words[0];
                }
            }
        });
    }
}
