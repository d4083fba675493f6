//! Frames of every type, as the exchange documents them, with their numbers open.

use super::market::{Dice, START_MS};
use super::text::{object, Style};
use super::SYMBOL;

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// One event that can be written in many ways.
#[derive(Clone, Debug)]
pub struct Event {
    /// What follows the `@` in the stream's name.
    pub stream: &'static str,
    pub at_ms: u64,
    members: Vec<(&'static str, String)>,
    /// The object inside (`k` of a kline, `o` of a forced order) is shuffled too.
    inner: Option<(&'static str, Vec<(&'static str, String)>)>,
}

impl Event {
    pub fn recv_ns(&self) -> i64 {
        self.at_ms as i64 * 1_000_000 + 1_500_000
    }

    pub fn json(&self, style: Style) -> String {
        let mut members = self.members.clone();
        if let Some((key, inner)) = &self.inner {
            members.push((key, object(inner, Style { spaces: 0, ..style })));
        }
        object(&members, style)
    }

    /// As a combined stream sends it.
    pub fn combined(&self, style: Style) -> String {
        super::text::combined(&self.stream_name(), &self.json(style), style)
    }

    pub fn stream_name(&self) -> String {
        format!("{}@{}", SYMBOL.to_lowercase(), self.stream)
    }
}

/// `trade`; the taker sells on odd ids.
pub fn trade(id: u64, at_ms: u64, price: &str, quantity: &str) -> Event {
    let members = vec![
        ("e", quoted("trade")),
        ("E", at_ms.to_string()),
        ("T", at_ms.to_string()),
        ("s", quoted(SYMBOL)),
        ("t", id.to_string()),
        ("p", quoted(price)),
        ("q", quoted(quantity)),
        ("X", quoted("MARKET")),
        ("m", (id % 2 == 1).to_string()),
    ];
    Event { stream: "trade", at_ms, members, inner: None }
}

/// `aggTrade`
pub fn aggregate(id: u64, at_ms: u64, price: &str, quantity: &str) -> Event {
    let members = vec![
        ("e", quoted("aggTrade")),
        ("E", at_ms.to_string()),
        ("a", id.to_string()),
        ("s", quoted(SYMBOL)),
        ("p", quoted(price)),
        ("q", quoted(quantity)),
        ("nq", quoted(quantity)),
        ("f", (2 * id).to_string()),
        ("l", (2 * id + 1).to_string()),
        ("T", at_ms.to_string()),
        ("m", (id % 2 == 1).to_string()),
    ];
    Event { stream: "aggTrade", at_ms, members, inner: None }
}

/// `bookTicker` of futures.
pub fn quote(id: u64, at_ms: u64, bid: &str, ask: &str, quantity: &str) -> Event {
    let members = vec![
        ("e", quoted("bookTicker")),
        ("u", id.to_string()),
        ("s", quoted(SYMBOL)),
        ("b", quoted(bid)),
        ("B", quoted(quantity)),
        ("a", quoted(ask)),
        ("A", quoted(quantity)),
        ("T", at_ms.to_string()),
        ("E", at_ms.to_string()),
    ];
    Event { stream: "bookTicker", at_ms, members, inner: None }
}

/// A closed `kline` of one minute.
pub fn kline(at_ms: u64, price: &str, volume: &str) -> Event {
    let open_ms = at_ms / 60_000 * 60_000;
    let candle = vec![
        ("t", open_ms.to_string()),
        ("T", (open_ms + 59_999).to_string()),
        ("s", quoted(SYMBOL)),
        ("i", quoted("1m")),
        ("f", "23961275".into()),
        ("L", "23961322".into()),
        ("o", quoted(price)),
        ("c", quoted(price)),
        ("h", quoted(price)),
        ("l", quoted(price)),
        ("v", quoted(volume)),
        ("n", "48".into()),
        ("x", "true".into()),
        ("q", quoted("3957.89900")),
        ("V", quoted(volume)),
        ("Q", quoted("1748.01900")),
        ("B", quoted("0")),
    ];
    let members = vec![("e", quoted("kline")), ("E", at_ms.to_string()), ("s", quoted(SYMBOL))];
    Event { stream: "kline_1m", at_ms, members, inner: Some(("k", candle)) }
}

/// `markPriceUpdate`
pub fn mark_price(at_ms: u64, price: &str, rate: &str) -> Event {
    let members = vec![
        ("e", quoted("markPriceUpdate")),
        ("E", at_ms.to_string()),
        ("s", quoted(SYMBOL)),
        ("p", quoted(price)),
        ("P", quoted("58905.14663658")),
        ("i", quoted("58857.26693664")),
        ("r", quoted(rate)),
        ("T", (at_ms + 3_600_000).to_string()),
    ];
    Event { stream: "markPrice", at_ms, members, inner: None }
}

/// `forceOrder`
pub fn forced_order(at_ms: u64, price: &str, quantity: &str) -> Event {
    let order = vec![
        ("s", quoted(SYMBOL)),
        ("S", quoted("SELL")),
        ("o", quoted("LIMIT")),
        ("f", quoted("IOC")),
        ("q", quoted(quantity)),
        ("p", quoted(price)),
        ("ap", quoted(price)),
        ("X", quoted("FILLED")),
        ("l", quoted(quantity)),
        ("z", quoted(quantity)),
        ("T", at_ms.to_string()),
    ];
    let members = vec![("e", quoted("forceOrder")), ("E", at_ms.to_string())];
    Event { stream: "forceOrder", at_ms, members, inner: Some(("o", order)) }
}

/// Events of every type but depth around a price of 100, with decimals that vary.
pub fn mixed(dice: &mut Dice, count: usize) -> Vec<Event> {
    (0..count as u64)
        .map(|number| {
            let at_ms = START_MS + number * 7;
            let price = format!("{}.{:0<width$}", 97 + dice.roll(6), dice.roll(10), width = 1 + dice.roll(4) as usize);
            let quantity = format!("{}.{}", dice.roll(50), 1 + dice.roll(999));
            match dice.roll(12) {
                0 => kline(at_ms, &price, &quantity),
                1 => mark_price(at_ms, &price, if number % 2 == 0 { "0.00058455" } else { "-0.00012" }),
                2 => forced_order(at_ms, &price, &quantity),
                3..=6 => trade(1_000 + number, at_ms, &price, &quantity),
                _ => quote(5_000 + number, at_ms, &price, "106.50", &quantity),
            }
        })
        .collect()
}
