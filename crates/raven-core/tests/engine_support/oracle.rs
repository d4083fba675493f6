//! A book that knows nothing but decimal texts: one update id is one change of one level.

use std::collections::BTreeMap;

use super::text::{by_value, normal};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Bid,
    Ask,
}

/// One change: the level's new quantity, as the exchange writes it.
#[derive(Clone, Debug)]
pub struct Change {
    pub id: u64,
    pub side: Side,
    pub price: String,
    pub quantity: String,
}

/// The whole history of one book.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    pub changes: Vec<Change>,
}

pub type Levels = Vec<(String, String)>;

impl Oracle {
    /// Levels after all changes up to `id`: bids and asks, both by ascending price, in shortest texts.
    pub fn at(&self, id: u64) -> (Levels, Levels) {
        let mut sides: BTreeMap<Side, BTreeMap<String, String>> = BTreeMap::new();
        for change in self.changes.iter().take_while(|change| change.id <= id) {
            let levels = sides.entry(change.side).or_default();
            let quantity = normal(&change.quantity);
            if quantity == "0" {
                levels.remove(&normal(&change.price));
            } else {
                levels.insert(normal(&change.price), quantity);
            }
        }
        let mut sorted = |side| {
            let mut levels: Levels = sides.remove(&side).unwrap_or_default().into_iter().collect();
            levels.sort_by(|left, right| by_value(&left.0, &right.0));
            levels
        };
        (sorted(Side::Bid), sorted(Side::Ask))
    }

    /// The documented canonical text of the book at `id`.
    pub fn canonical(&self, id: u64) -> String {
        let (bids, asks) = self.at(id);
        let join = |levels: Levels| levels.into_iter().map(|(p, q)| format!("{p}:{q}")).collect::<Vec<_>>().join(",");
        format!("{}|{}", join(bids), join(asks))
    }
}
