//! Counters of a server. The serve thread writes, anyone reads; nothing is ordered by them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only the serve thread changes.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Count up. One writer, so a load and a store do.
    pub(crate) fn add(&self, count: u64) {
        self.0.store(self.get() + count, Ordering::Relaxed);
    }

    /// Set a level.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! stats {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Everything that is counted.
        #[derive(Debug, Default)]
        pub(crate) struct Stats { $($(#[doc = $doc])* pub(crate) $name: Counter,)* }

        impl Stats {
            /// Name and number of each.
            pub(crate) fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

stats! {
    /// Open now.
    connections,
    /// Closed or turned away because of the limit.
    connections_refused,
    /// Streams open now.
    streams,
    /// Messages handed to HTTP/2.
    messages,
    /// Bytes handed to HTTP/2.
    bytes,
    /// Records that subscribers did not get and were told so, because they or the pump were too slow.
    lost,
    /// Gap marks of this server that were sent.
    gap_marks,
    /// Book and quote states skipped on request.
    skipped,
    /// Messages encoded, once per topic and depth.
    encoded,
    /// Requests taken.
    requests,
    /// Requests and connections that ended in an error of ours or theirs.
    errors,
    /// Times the pump was woken from sleep.
    wakeups,
}
