//! Make bars of trades in memory as fast as it goes and print what each kind took, as one JSON line.
//!
//! `bars_bench FILE ROWS PRICE_SCALE QUANTITY_SCALE ROUNDS LABEL…`. The file has the columns of the trades one after the
//! other, little-endian: time in ms, price, quantity, id (i64), and whether the taker sold (u8). A label is that of a bar,
//! `1m` or `tick_500`. One core; every round begins anew, and the figure is the median round.

use std::time::Instant;

use raven_core::bars::bar::Scales;
use raven_core::bars::offline::{Offline, Trades};
use raven_core::bars::Spec;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, rows, price, quantity, rounds, labels @ ..] = &arguments[..] else {
        panic!("bars_bench FILE ROWS PRICE_SCALE QUANTITY_SCALE ROUNDS LABEL…");
    };
    let bytes = std::fs::read(file).expect("the file can be read");
    let rows: usize = rows.parse().expect("a number of rows");
    assert_eq!(bytes.len(), rows * (4 * 8 + 1), "four columns of i64 and one of u8");
    let columns: Vec<Vec<i64>> = bytes[..rows * 4 * 8]
        .chunks_exact(rows * 8)
        .map(|column| {
            column.chunks_exact(8).map(|word| i64::from_le_bytes(word.try_into().expect("8 bytes"))).collect()
        })
        .collect();
    let scale = |text: &String| text.parse().expect("a scale");
    let trades = Trades {
        time_ms: &columns[0],
        price: &columns[1],
        quantity: &columns[2],
        sells: &bytes[rows * 4 * 8..],
        id: &columns[3],
        scales: Scales { price: scale(price), quantity: scale(quantity) },
    };
    let rounds: usize = rounds.parse().expect("a number of rounds");
    let figures: Vec<String> = labels.iter().map(|label| figures(label, &trades, rounds)).collect();
    println!("{{{}}}", figures.join(", "));
}

fn figures(label: &str, trades: &Trades<'_>, rounds: usize) -> String {
    let spec = Spec::from_label(label).unwrap_or_else(|| panic!("no bars are called {label}"));
    let mut took = Vec::new();
    let mut bars = 0;
    for _ in 0..rounds {
        let mut offline = Offline::new(&spec);
        let began = Instant::now();
        offline.take(trades);
        took.push(began.elapsed().as_secs_f64());
        bars = offline.bars().len();
    }
    took.sort_by(f64::total_cmp);
    let per_s = trades.time_ms.len() as f64 / took[took.len() / 2];
    format!("\"{label}\": {{\"trades_per_s\": {per_s:.0}, \"bars\": {bars}}}")
}
