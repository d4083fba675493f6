//! A market of one symbol: changes with ids, the diffs that carry them, and snapshots at any id.

use raven_core::sequence::Rule;

use super::oracle::{Change, Levels, Oracle, Side};
use super::text::{object, Style};
use super::SYMBOL;

/// 2024-08-08, when the recordings were made.
pub const START_MS: u64 = 1_723_161_256_000;

/// A generator without state to hide: the same seed gives the same market.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// One diff as the exchange sends it.
#[derive(Clone, Debug)]
pub struct Diff {
    pub first: u64,
    pub last: u64,
    pub previous: u64,
    pub event_ms: u64,
    bids: Vec<(String, String)>,
    asks: Vec<(String, String)>,
    rule: Rule,
}

impl Diff {
    pub fn recv_ns(&self) -> i64 {
        self.event_ms as i64 * 1_000_000 + 1_500_000
    }

    /// The event's JSON.
    pub fn json(&self, style: Style) -> String {
        let mut members = vec![("e", "\"depthUpdate\"".to_string()), ("E", self.event_ms.to_string())];
        if self.rule == Rule::Futures {
            members.push(("T", self.event_ms.to_string()));
        }
        members.push(("s", format!("\"{SYMBOL}\"")));
        members.push(("U", self.first.to_string()));
        members.push(("u", self.last.to_string()));
        if self.rule == Rule::Futures {
            members.push(("pu", self.previous.to_string()));
        }
        members.push(("b", levels_json(&self.bids)));
        members.push(("a", levels_json(&self.asks)));
        object(&members, style)
    }
}

fn levels_json(levels: &[(String, String)]) -> String {
    let inner: Vec<String> = levels.iter().map(|(price, quantity)| format!("[\"{price}\",\"{quantity}\"]")).collect();
    format!("[{}]", inner.join(","))
}

/// The truth, and how it is told.
#[derive(Clone, Debug)]
pub struct Market {
    pub oracle: Oracle,
    pub diffs: Vec<Diff>,
}

/// Prices are multiples of this many per unit.
const UNIT: i64 = 100_000;

/// A price or quantity in units of 1/100,000 as text with at least `decimals` digits behind the point.
fn decimal(value: i64, decimals: usize) -> String {
    let text = super::text::show(value, 5);
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = format!("{fraction:0<decimals$}");
    if fraction.is_empty() {
        whole.to_string()
    } else {
        format!("{whole}.{fraction}")
    }
}

impl Market {
    /// A market of `diffs` diffs. Decimals grow as it goes on, so the instrument's scales have to.
    pub fn new(rule: Rule, seed: u64, diffs: usize) -> Self {
        Self::starting(rule, seed, diffs, START_MS)
    }

    /// The same at another time.
    pub fn starting(rule: Rule, seed: u64, diffs: usize, start_ms: u64) -> Self {
        let mut dice = Dice(seed);
        let mut market = Self { oracle: Oracle::default(), diffs: Vec::new() };
        let mut levels = [std::collections::BTreeMap::<i64, i64>::new(), std::collections::BTreeMap::new()];
        let mut id = 1_000 + dice.roll(1_000);
        // The opening book is history that no diff tells: only a snapshot does.
        for step in 1..=30i64 {
            for (side, price) in [(Side::Bid, 100 - step), (Side::Ask, 100 + step)] {
                id += 1;
                levels[side as usize].insert(price * UNIT, UNIT);
                let (price, quantity) = (decimal(price * UNIT, 2), decimal(UNIT, 3));
                market.oracle.changes.push(Change { id, side, price, quantity });
            }
        }
        let mut previous = id;
        for position in 0..diffs {
            let decimals = position * 6 / diffs.max(1);
            let first_change = market.oracle.changes.len();
            for _ in 0..=dice.roll(6) {
                // Futures share one counter with every other symbol, so most ids belong to others.
                id += if rule == Rule::Futures { 1 + dice.roll(20) } else { 1 };
                let change = Self::draw(&mut dice, &mut levels, id, decimals);
                market.oracle.changes.push(change);
            }
            let told = &market.oracle.changes[first_change..];
            let first = if rule == Rule::Futures { told[0].id } else { previous + 1 };
            let event_ms = start_ms + 100 * position as u64;
            let side = |side| last_of_each_price(told.iter().filter(|change| change.side == side));
            let (bids, asks) = (side(Side::Bid), side(Side::Ask));
            market.diffs.push(Diff { first, last: id, previous, event_ms, bids, asks, rule });
            previous = id;
        }
        market
    }

    /// Draw a change that leaves the book uncrossed.
    fn draw(
        dice: &mut Dice,
        levels: &mut [std::collections::BTreeMap<i64, i64>; 2],
        id: u64,
        decimals: usize,
    ) -> Change {
        let is_bid = dice.roll(2) == 0;
        let best_bid = levels[0].last_key_value().map_or(90 * UNIT, |(price, _)| *price);
        let best_ask = levels[1].first_key_value().map_or(best_bid + 10 * UNIT, |(price, _)| *price);
        let step = 10i64.pow(5 - decimals.min(5) as u32);
        let away = (dice.roll(24) as i64 - 3) * UNIT / 4 + dice.roll(10) as i64 * step;
        let (side, price, mut quantity) = if is_bid {
            let price = ((best_bid - away) / step * step).max(step);
            let crosses = price >= best_ask;
            (if crosses { Side::Ask } else { Side::Bid }, if crosses { best_ask } else { price }, i64::from(!crosses))
        } else {
            let price = ((best_ask + away) / step * step).max(step);
            let crosses = price <= best_bid;
            (if crosses { Side::Bid } else { Side::Ask }, if crosses { best_bid } else { price }, i64::from(!crosses))
        };
        // Of all changes, a third remove; some of them name levels that are not there.
        quantity *= if dice.roll(3) == 0 { 0 } else { (1 + dice.roll(9_000) as i64) * step };
        let book = &mut levels[side as usize];
        if quantity == 0 {
            book.remove(&price);
        } else {
            book.insert(price, quantity);
        }
        let (price, quantity) = (decimal(price, dice.roll(8) as usize), decimal(quantity, dice.roll(8) as usize));
        Change { id, side, price, quantity }
    }

    /// The REST answer at any update id, cut to `limit` levels a side.
    pub fn snapshot(&self, id: u64, limit: usize) -> String {
        let (mut bids, mut asks) = self.oracle.at(id);
        bids.reverse();
        let cut = |levels: &mut Levels| levels.truncate(limit);
        cut(&mut bids);
        cut(&mut asks);
        format!("{{\"lastUpdateId\":{id},\"bids\":{},\"asks\":{}}}", levels_json(&bids), levels_json(&asks))
    }

    /// Update ids a snapshot may have around diff number `position`: those of its changes, and of the ones next to it.
    pub fn id_near(&self, position: usize, dice: &mut Dice) -> u64 {
        let diff = &self.diffs[position.min(self.diffs.len() - 1)];
        let inside: Vec<u64> = self
            .oracle
            .changes
            .iter()
            .map(|change| change.id)
            .filter(|id| (diff.previous..=diff.last).contains(id))
            .collect();
        inside[dice.roll(inside.len() as u64) as usize]
    }
}

fn last_of_each_price<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<(String, String)> {
    let mut told: Vec<(String, String, String)> = Vec::new();
    for change in changes {
        let key = super::text::normal(&change.price);
        told.retain(|(known, ..)| *known != key);
        told.push((key, change.price.clone(), change.quantity.clone()));
    }
    told.into_iter().map(|(_, price, quantity)| (price, quantity)).collect()
}
