//! Bars of trades that lie in columns: the same builders, and a bar corrected later in the place it had.

use super::any::AnyBuilder;
use super::bar::{Bar, Scales, Trade};
use super::builder::Counts;
use super::spec::Spec;

/// Trades of one symbol as columns of one length, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Trades<'a> {
    /// When, ms since 1970.
    pub time_ms: &'a [i64],
    /// Prices.
    pub price: &'a [i64],
    /// Quantities.
    pub quantity: &'a [i64],
    /// 1 where the taker sold.
    pub sells: &'a [u8],
    /// Ids; empty when there are none.
    pub id: &'a [i64],
    /// Decimals of prices and quantities.
    pub scales: Scales,
}

impl Trades<'_> {
    pub(super) fn iter(&self) -> impl Iterator<Item = Trade> + '_ {
        let columns = self.time_ms.iter().zip(self.price).zip(self.quantity).zip(self.sells);
        columns.enumerate().map(|(row, (((time_ms, price), quantity), sells))| Trade {
            time_ms: *time_ms,
            price: *price,
            quantity: *quantity,
            sells: *sells != 0,
            id: self.id.get(row).map_or(0, |id| *id as u64),
        })
    }
}

/// Builds all bars of one symbol; trades may come in as many pieces as one likes.
#[derive(Clone, Debug)]
pub struct Offline {
    builder: AnyBuilder,
    bars: Vec<Bar>,
}

impl Offline {
    /// No trades yet.
    pub fn new(spec: &Spec) -> Self {
        Self { builder: spec.builder(), bars: Vec::new() }
    }

    /// Take the next trades.
    pub fn take(&mut self, trades: &Trades<'_>) {
        let Self { builder, bars } = self;
        builder.take_scaled(trades.scales, trades.iter(), &mut |bar: &Bar, _| {
            if bar.revision == 0 {
                bars.push(*bar);
                return;
            }
            // Corrections come soon or never; search from the end.
            match bars.iter().rposition(|old| old.serial == bar.serial) {
                Some(at) => bars[at] = *bar,
                None => bars.push(*bar),
            }
        });
    }

    /// Take out the bars that have ended, by open time, each in its last revision; those behind can correct them no more.
    pub fn bars(&mut self) -> Vec<Bar> {
        let mut bars = std::mem::take(&mut self.bars);
        // Only a bar that a late trade began stands in the wrong place.
        if bars.windows(2).any(|pair| pair[0].open_ms > pair[1].open_ms) {
            bars.sort_by_key(|bar| bar.open_ms);
        }
        bars
    }

    /// The bar that is open.
    pub fn open_bar(&self) -> Option<Bar> {
        self.builder.open_bar()
    }

    /// Scales of all bars.
    pub fn scales(&self) -> Scales {
        self.builder.scales()
    }

    /// What became of trades.
    pub fn counts(&self) -> Counts {
        self.builder.counts()
    }
}
