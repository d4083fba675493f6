//! What the engine tells Python: rare happenings that need policy, in a bounded list.

use std::collections::VecDeque;

/// One happening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `resync`, `synced`, `rejected`, `control`, `gap` or `overflow`.
    pub name: &'static str,
    /// The connection concerned.
    pub connection: Option<u32>,
    /// The instrument concerned.
    pub instrument: Option<u32>,
    /// Why, or which.
    pub reason: &'static str,
    /// An id, an offset or a count, as the name says.
    pub number: u64,
    /// The frame, where it matters.
    pub raw: Vec<u8>,
}

/// A bounded list of events: when it is full the newest are counted, not kept.
#[derive(Debug)]
pub struct EventList {
    events: VecDeque<Event>,
    limit: usize,
    /// Since the last take.
    lost: u64,
    lost_before: u64,
}

impl EventList {
    /// A list of at most `limit` events.
    pub fn new(limit: usize) -> Self {
        Self { events: VecDeque::new(), limit, lost: 0, lost_before: 0 }
    }

    /// Add one. A resync is never lost: without it a book would wait for ever.
    pub fn push(&mut self, event: Event) {
        if self.events.len() < self.limit || event.name == "resync" || event.name == "synced" {
            self.events.push_back(event);
        } else {
            self.lost += 1;
        }
    }

    /// Does it hold anything?
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many were ever lost.
    pub fn lost_so_far(&self) -> u64 {
        self.lost_before + self.lost
    }

    /// Take all; how many were lost comes last.
    pub fn take(&mut self) -> Vec<Event> {
        let mut events: Vec<Event> = self.events.drain(..).collect();
        if self.lost > 0 {
            let number = std::mem::take(&mut self.lost);
            self.lost_before += number;
            let (connection, instrument, reason, raw) = (None, None, "list full", Vec::new());
            events.push(Event { name: "overflow", connection, instrument, reason, number, raw });
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_counts_what_it_loses_but_never_loses_a_resync() {
        let event = |name| Event { name, connection: None, instrument: None, reason: "", number: 0, raw: Vec::new() };
        let mut list = EventList::new(2);
        for name in ["rejected", "rejected", "rejected", "resync", "rejected"] {
            list.push(event(name));
        }
        let taken = list.take();
        let names: Vec<_> = taken.iter().map(|event| event.name).collect();
        assert_eq!(names, ["rejected", "rejected", "resync", "overflow"]);
        assert_eq!(taken[3].number, 2);
        assert!(list.is_empty() && list.take().is_empty());
        assert_eq!(list.lost_so_far(), 2);
    }
}
