//! Diffs that wait for a snapshot: bounded in number and bytes, oldest dropped first.

use std::collections::VecDeque;

/// Bounds of one instrument's waiting diffs.
#[derive(Clone, Copy, Debug)]
pub struct PendingLimits {
    /// Most diffs.
    pub events: usize,
    /// Most bytes.
    pub bytes: usize,
}

/// Raw diff objects in order of arrival.
#[derive(Clone, Debug, Default)]
pub struct PendingDiffs {
    text: Vec<u8>,
    entries: VecDeque<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: usize,
    end: usize,
    recv_ns: i64,
}

impl PendingDiffs {
    /// Number of diffs that wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Does none wait?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keep one more; returns how many old ones had to go for it.
    pub fn push(&mut self, recv_ns: i64, diff: &[u8], limits: PendingLimits) -> usize {
        let before = self.entries.len();
        let is_full = |kept: &Self| kept.len() >= limits.events || kept.text.len() + diff.len() > limits.bytes;
        while !self.is_empty() && is_full(self) {
            // Half at once, so that moving the rest is paid rarely.
            self.drop_oldest(self.len().div_ceil(2));
        }
        let dropped = before - self.entries.len();
        let start = self.text.len();
        self.text.extend_from_slice(diff);
        self.entries.push_back(Entry { start, end: self.text.len(), recv_ns });
        dropped
    }

    fn drop_oldest(&mut self, count: usize) {
        self.entries.drain(..count);
        let cut = self.entries.front().map_or(self.text.len(), |entry| entry.start);
        self.text.copy_within(cut.., 0);
        self.text.truncate(self.text.len() - cut);
        for entry in &mut self.entries {
            entry.start -= cut;
            entry.end -= cut;
        }
    }

    /// The diffs in order of arrival, with their receive times.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &[u8])> {
        self.entries.iter().map(|entry| (entry.recv_ns, &self.text[entry.start..entry.end]))
    }

    /// Forget all, keep the memory; returns how many there were.
    pub fn clear(&mut self) -> usize {
        let count = self.entries.len();
        self.entries.clear();
        self.text.clear();
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_newest_within_its_bounds_and_counts_what_it_drops() {
        let limits = PendingLimits { events: 8, bytes: 1_000 };
        let mut pending = PendingDiffs::default();
        let mut dropped = 0;
        for i in 0..100i64 {
            dropped += pending.push(i, format!("diff {i}").as_bytes(), limits);
            assert!(pending.len() <= limits.events);
        }
        assert_eq!(dropped + pending.len(), 100);
        let kept: Vec<_> = pending.iter().map(|(at, text)| (at, String::from_utf8_lossy(text).into_owned())).collect();
        let first = 100 - kept.len() as i64;
        let expected: Vec<_> = (first..100).map(|i| (i, format!("diff {i}"))).collect();
        assert_eq!(kept, expected);
        assert_eq!(pending.clear(), expected.len());
        assert!(pending.is_empty());
    }

    #[test]
    fn bytes_are_bounded_too() {
        let limits = PendingLimits { events: 1_000, bytes: 100 };
        let mut pending = PendingDiffs::default();
        for _ in 0..50 {
            pending.push(0, &[b'x'; 30], limits);
            assert!(pending.text.len() <= 100);
        }
    }
}
