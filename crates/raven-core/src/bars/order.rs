//! Where a trade belongs: behind all others, into a hole that was left for it, or nowhere.
//!
//! Venues number trades by one. A jump is a hole; a number that lies in a known hole is a late trade; any other number
//! that was passed is one that is there already. Without numbers (id 0) every trade is the next one.

use std::collections::VecDeque;

/// Holes that are remembered; a trade that fills an older one counts as known.
const MAX_HOLES: usize = 64;
/// A smaller id much later is not late: the venue began to count anew.
const RESTART_MS: i64 = 1000;

/// What a trade is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind all others, after so many that are missing.
    Next {
        /// Missing before it.
        missing: u64,
    },
    /// The venue began to count anew; what is missing cannot be known.
    Restart,
    /// It fills a hole.
    Late,
    /// It is there already, or came before everything that was seen.
    Known,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Order {
    last_id: u64,
    last_ms: i64,
    /// First and last id of each, oldest first.
    holes: VecDeque<(u64, u64)>,
}

impl Order {
    /// Decide on a trade, and take note of it.
    #[inline(always)]
    pub fn place(&mut self, id: u64, time_ms: i64) -> Place {
        let is_next = id == self.last_id.wrapping_add(1) || self.last_id == 0 || id == 0;
        if is_next {
            self.last_id = id;
            self.last_ms = time_ms;
            return Place::Next { missing: 0 };
        }
        self.place_other(id, time_ms)
    }

    #[cold]
    fn place_other(&mut self, id: u64, time_ms: i64) -> Place {
        if id > self.last_id {
            let hole = (self.last_id + 1, id - 1);
            if self.holes.len() == MAX_HOLES {
                self.holes.pop_front();
            }
            self.holes.push_back(hole);
            self.last_id = id;
            self.last_ms = time_ms;
            return Place::Next { missing: hole.1 - hole.0 + 1 };
        }
        if let Some(at) = self.holes.iter().position(|hole| (hole.0..=hole.1).contains(&id)) {
            let (first, last) = self.holes[at];
            self.holes.remove(at);
            for part in [(first, id.wrapping_sub(1)), (id + 1, last)] {
                if part.0 <= part.1 && self.holes.len() < MAX_HOLES {
                    self.holes.push_back(part);
                }
            }
            return Place::Late;
        }
        if time_ms > self.last_ms.saturating_add(RESTART_MS) {
            self.holes.clear();
            (self.last_id, self.last_ms) = (id, time_ms);
            return Place::Restart;
        }
        Place::Known
    }

    /// How many are missing right before and right behind an id.
    pub fn missing_beside(&self, id: u64) -> u64 {
        let beside = self.holes.iter().filter(|hole| hole.1.wrapping_add(1) == id || id.wrapping_add(1) == hole.0);
        beside.map(|hole| hole.1 - hole.0 + 1).sum()
    }

    /// Do trades have numbers, so that a loss shows by itself?
    pub fn has_ids(&self) -> bool {
        self.last_id != 0
    }

    /// Id of the newest trade.
    pub fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Append what must survive a restart.
    pub fn save(&self, out: &mut Vec<u64>) {
        out.extend([self.last_id, self.last_ms as u64, self.holes.len() as u64]);
        self.holes.iter().for_each(|hole| out.extend([hole.0, hole.1]));
    }

    /// Take back what was saved; `None` when there are words missing.
    pub fn load(words: &mut impl Iterator<Item = u64>) -> Option<Self> {
        let (last_id, last_ms) = (words.next()?, words.next()? as i64);
        let count = words.next().filter(|count| *count <= MAX_HOLES as u64)?;
        let holes = (0..count).map(|_| Some((words.next()?, words.next()?))).collect::<Option<_>>()?;
        Some(Self { last_id, last_ms, holes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_trade_fills_its_hole_once() {
        let mut order = Order::default();
        assert_eq!(order.place(10, 0), Place::Next { missing: 0 });
        assert_eq!(order.place(14, 0), Place::Next { missing: 3 });
        assert_eq!(order.place(12, 0), Place::Late);
        assert_eq!(order.place(12, 0), Place::Known);
        assert_eq!(order.place(11, 0), Place::Late);
        assert_eq!(order.place(13, 0), Place::Late);
        assert_eq!(order.place(9, 0), Place::Known, "before everything that was seen");
        assert_eq!(order.place(15, 0), Place::Next { missing: 0 });
    }

    #[test]
    fn a_small_id_much_later_is_a_restart() {
        let mut order = Order::default();
        order.place(1000, 5_000);
        assert_eq!(order.place(1, 5_500), Place::Known);
        assert_eq!(order.place(1, 6_001), Place::Restart);
        assert_eq!(order.place(2, 6_001), Place::Next { missing: 0 });
    }

    #[test]
    fn without_ids_every_trade_is_the_next() {
        let mut order = Order::default();
        assert!((0..3).all(|_| order.place(0, 0) == Place::Next { missing: 0 }));
        assert!(!order.has_ids());
    }

    #[test]
    fn it_survives_a_restart() {
        let mut order = Order::default();
        order.place(10, 7);
        order.place(14, 8);
        let mut words = Vec::new();
        order.save(&mut words);
        let mut loaded = Order::load(&mut words.clone().into_iter()).expect("all of it");
        assert_eq!(loaded.place(12, 8), Place::Late);
        words.pop();
        assert!(Order::load(&mut words.into_iter()).is_none());
    }
}
