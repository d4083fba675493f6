//! Bars as columns, for whoever makes a table of them.

use super::bar::{Bar, Scales};
use super::vwap;
use crate::encode::big_to_double;

/// The columns, little-endian, one value per bar: open and close time (i64, ms); open, high, low, close, volume, quote
/// volume, VWAP, buy volume, sell volume (f64, or with `is_exact` i128 in the scales of [`value_scales`]); buy ticks,
/// sell ticks (i64); θ, threshold (f64); first id, last id, gap count, revision (i64); complete, warming up (u8).
pub fn columns(bars: &[Bar], scales: Scales, is_exact: bool) -> Vec<Vec<u8>> {
    let integers = |value: fn(&Bar) -> i64| column(bars, |bar| value(bar).to_le_bytes());
    let mut columns = vec![integers(|bar| bar.open_ms), integers(|bar| bar.close_ms)];
    let vwap = |bar: &Bar| vwap::mantissa(bar, scales.price);
    let values: [&dyn Fn(&Bar) -> i128; 9] = [
        &|bar| bar.open.into(),
        &|bar| bar.high.into(),
        &|bar| bar.low.into(),
        &|bar| bar.close.into(),
        &|bar| bar.volume.into(),
        &|bar| bar.quote_volume,
        &vwap,
        &|bar| bar.buy_volume.into(),
        &|bar| i128::from(bar.volume) - i128::from(bar.buy_volume),
    ];
    for (value, scale) in values.into_iter().zip(value_scales(scales)) {
        columns.push(if is_exact {
            column(bars, |bar| value(bar).to_le_bytes())
        } else {
            column(bars, |bar| big_to_double(value(bar), scale).to_le_bytes())
        });
    }
    columns.extend([
        integers(|bar| bar.buy_ticks as i64),
        integers(|bar| bar.sell_ticks as i64),
        column(bars, |bar| bar.theta.to_le_bytes()),
        column(bars, |bar| bar.threshold.to_le_bytes()),
        integers(|bar| bar.first_id as i64),
        integers(|bar| bar.last_id as i64),
        integers(|bar| bar.gap_count as i64),
        integers(|bar| i64::from(bar.revision)),
        column(bars, |bar| [u8::from(bar.is_complete())]),
        column(bars, |bar| [u8::from(bar.is_warming_up)]),
    ]);
    columns
}

/// Decimals of the nine columns of prices and volumes.
pub fn value_scales(scales: Scales) -> [u8; 9] {
    let Scales { price, quantity } = scales;
    [price, price, price, price, quantity, price + quantity, vwap::SCALE, quantity, quantity]
}

fn column<const BYTES: usize>(bars: &[Bar], value: impl Fn(&Bar) -> [u8; BYTES]) -> Vec<u8> {
    bars.iter().flat_map(value).collect()
}
