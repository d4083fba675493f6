//! What to do with a depth update, by the venue's documented rule ("How to manage a local order book correctly").
//!
//! Pure decisions over update ids; [`crate::instrument`] acts on them.

/// How a market numbers its updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Spot: `U` is the previous `u` + 1.
    Spot,
    /// USD-M and COIN-M futures: `pu` is the previous `u`.
    Futures,
}

impl Rule {
    /// The rule of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "spot" => Some(Self::Spot),
            "futures" => Some(Self::Futures),
            _ => None,
        }
    }
}

/// The ids of one update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// First update id in the event (`U`).
    pub first: u64,
    /// Last update id in the event (`u`).
    pub last: u64,
    /// The previous event's last id (`pu`); futures only.
    pub previous: Option<u64>,
}

/// What to do with an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It follows: apply it.
    Apply,
    /// The book knows it already.
    Known,
    /// Updates are missing between the book and this one.
    Gap,
}

/// Judge an update against a book that came from updates, whose last one is `book_id`.
#[inline(always)]
pub fn follows(rule: Rule, book_id: u64, ids: Ids) -> Verdict {
    match (rule, ids.previous) {
        (Rule::Futures, Some(previous)) if previous == book_id => Verdict::Apply,
        _ if ids.last <= book_id => Verdict::Known,
        (Rule::Spot, _) if ids.first <= book_id + 1 => Verdict::Apply,
        // A futures event without `pu` cannot prove that it follows.
        _ => Verdict::Gap,
    }
}

/// Judge the first updates after a snapshot: the first one applied must reach over the snapshot's id.
///
/// Spot: drop `u` <= L, then `U` <= L+1 <= `u`. Futures: drop `u` < L, then `U` <= L <= `u`; an event whose `pu` is L
/// follows without overlap and is as good.
pub fn bridges(rule: Rule, snapshot_id: u64, ids: Ids) -> Verdict {
    match rule {
        Rule::Spot => follows(rule, snapshot_id, ids),
        Rule::Futures if ids.last < snapshot_id => Verdict::Known,
        Rule::Futures if ids.first <= snapshot_id || ids.previous == Some(snapshot_id) => Verdict::Apply,
        Rule::Futures => Verdict::Gap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(first: u64, last: u64) -> Ids {
        Ids { first, last, previous: None }
    }

    fn futures(first: u64, last: u64, previous: u64) -> Ids {
        Ids { first, last, previous: Some(previous) }
    }

    #[test]
    fn spot_updates_follow_by_one() {
        assert_eq!(follows(Rule::Spot, 100, spot(101, 105)), Verdict::Apply);
        assert_eq!(follows(Rule::Spot, 100, spot(99, 103)), Verdict::Apply);
        assert_eq!(follows(Rule::Spot, 100, spot(95, 100)), Verdict::Known);
        assert_eq!(follows(Rule::Spot, 100, spot(102, 105)), Verdict::Gap);
    }

    #[test]
    fn futures_updates_follow_by_pu() {
        assert_eq!(follows(Rule::Futures, 100, futures(150, 180, 100)), Verdict::Apply);
        assert_eq!(follows(Rule::Futures, 100, futures(90, 100, 80)), Verdict::Known);
        assert_eq!(follows(Rule::Futures, 100, futures(150, 180, 120)), Verdict::Gap);
        assert_eq!(follows(Rule::Futures, 100, spot(101, 105)), Verdict::Gap);
    }

    #[test]
    fn the_first_update_must_reach_over_the_snapshot() {
        assert_eq!(bridges(Rule::Spot, 100, spot(90, 100)), Verdict::Known);
        assert_eq!(bridges(Rule::Spot, 100, spot(101, 101)), Verdict::Apply);
        assert_eq!(bridges(Rule::Spot, 100, spot(95, 101)), Verdict::Apply);
        assert_eq!(bridges(Rule::Spot, 100, spot(102, 110)), Verdict::Gap);
        assert_eq!(bridges(Rule::Futures, 100, futures(80, 99, 70)), Verdict::Known);
        assert_eq!(bridges(Rule::Futures, 100, futures(95, 100, 90)), Verdict::Apply);
        assert_eq!(bridges(Rule::Futures, 100, futures(95, 120, 90)), Verdict::Apply);
        assert_eq!(bridges(Rule::Futures, 100, futures(104, 120, 100)), Verdict::Apply);
        assert_eq!(bridges(Rule::Futures, 100, futures(104, 120, 102)), Verdict::Gap);
    }
}
