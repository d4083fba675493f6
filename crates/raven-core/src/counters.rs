//! What was counted. Every received event of a symbol ends in exactly one of `published`, `rejected`, `ignored`,
//! `gap` or `pending`, so the books balance to the unit.

use crate::reject::Reason;

macro_rules! counters {
    ($(#[$outer:meta])* $name:ident { $($field:ident: $doc:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $(#[doc = $doc] pub $field: u64,)*
        }

        impl $name {
            /// Every counter with its name.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field),)*]
            }
        }
    };
}

counters! {
    /// Counters of one instrument.
    Counters {
        received: "Events that named this symbol.",
        published: "Events that became a record.",
        rejected: "Events refused by validation.",
        ignored: "Events known already, older than the book, or of a kind nobody asked for.",
        gap: "Diffs that were received but could not be used, because the book was out of sync.",
        pending: "Diffs that wait for a snapshot now.",
        trades: "Trades published.",
        books: "Book states published.",
        quotes: "Quotes published.",
        candles: "Candles published.",
        fundings: "Mark prices published.",
        liquidations: "Forced orders published.",
        sequence_errors: "Breaks in the chain of update ids, and holes in trade ids.",
        resyncs: "Snapshots asked for.",
        crossed: "Updates that would have crossed the book.",
        missing_trades: "Trades that the venue's ids say exist and that never came.",
        duplicates: "Events seen before.",
        unknown_removals: "Removals of levels that were not known.",
        late_trades: "Trades that came after a later one.",
    }
}

counters! {
    /// Counters of what belongs to no symbol.
    Totals {
        frames: "Frames handed in.",
        bytes: "Bytes handed in.",
        replies: "Answers to requests.",
        notices: "Notices of the venue.",
        unknown_events: "Events of a type that is not read.",
        not_collected: "Events of symbols that are not collected.",
        unattributed: "Refused frames whose symbol could not be told.",
        events_lost: "Happenings that did not fit the list of pending events.",
    }
}

/// Refused events by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejects([u64; Reason::COUNT]);

impl Default for Rejects {
    fn default() -> Self {
        Self([0; Reason::COUNT])
    }
}

impl Rejects {
    /// Count one.
    pub fn count(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }

    /// Every reason with its count.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Reason::ALL.iter().map(|reason| (reason.name(), self.0[*reason as usize]))
    }
}
