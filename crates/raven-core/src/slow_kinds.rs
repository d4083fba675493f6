//! Kinds that come seldom: candles, mark prices, forced orders and partial books.

use crate::citadel::Policy;
use crate::instrument::{Instrument, Outcome};
use crate::parse::binance;
use crate::parse::binance_slow::{self, ForceOrder, Kline, MarkPrice};
use crate::parse::envelope::EventType;
use crate::parse::event::{Depth, Level, Scales, Stop};
use crate::parse::scan::Scanner;
use crate::record::{candle, data_type, funding, Kind};
use crate::reject::Reason;

/// Longer names of streams belong to no symbol.
const MAX_SYMBOL_BYTES: usize = 64;

/// The newest of each slow kind. While one connection takes over from another, both send the same events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Newest {
    /// Open time of the last closed candle of a minute, five minutes, an hour; ms.
    candle_open_ms: [u64; 3],
    /// Event time of the last mark price, ms.
    mark_price_ms: u64,
    force_order: Option<ForceOrder>,
}

/// One event of a slow kind.
#[derive(Clone, Copy, Debug)]
pub enum SlowEvent {
    /// A candle of the venue.
    Kline(Kline),
    /// Mark price and funding.
    MarkPrice(MarkPrice),
    /// A forced order.
    ForceOrder(ForceOrder),
}

/// Read one event of a slow kind.
///
/// # Errors
/// See [`Stop`].
#[inline(never)]
pub fn read(
    event_type: EventType,
    scanner: &mut Scanner<'_>,
    resolve: impl FnMut(&[u8]) -> Option<Scales>,
) -> Result<SlowEvent, Stop> {
    match event_type {
        EventType::Kline => binance_slow::kline(scanner, resolve).map(SlowEvent::Kline),
        EventType::MarkPrice => binance_slow::mark_price(scanner, resolve).map(SlowEvent::MarkPrice),
        _ => binance_slow::force_order(scanner, resolve).map(SlowEvent::ForceOrder),
    }
}

/// Read a partial depth: futures send it as a `depthUpdate`, spot as a book whose symbol only the stream's name tells.
///
/// # Errors
/// See [`Stop`].
#[inline(never)]
pub fn partial_depth(
    scanner: &mut Scanner<'_>,
    stream: &[u8],
    bids: &mut Vec<Level>,
    asks: &mut Vec<Level>,
    mut resolve: impl FnMut(&[u8]) -> Option<Scales>,
) -> Result<Depth, Stop> {
    let mut probe = *scanner;
    if probe.take(b"{\"e\":") {
        return binance::depth(scanner, bids, asks, resolve);
    }
    let name = stream.split(|byte| *byte == b'@').next().unwrap_or_default();
    let mut upper = [0; MAX_SYMBOL_BYTES];
    let upper = upper.get_mut(..name.len()).ok_or(Stop::NotCollected)?;
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    let scales = resolve(upper).ok_or(Stop::NotCollected)?;
    binance::snapshot(scanner, scales, bids, asks)
}

/// Validate and publish one event of a slow kind.
#[inline(never)]
pub fn take(instrument: &mut Instrument, policy: &Policy, recv_ns: i64, event: SlowEvent) -> Outcome {
    match event {
        SlowEvent::Kline(kline) => take_kline(instrument, policy, recv_ns, &kline),
        SlowEvent::MarkPrice(mark) => take_mark_price(instrument, policy, recv_ns, &mark),
        SlowEvent::ForceOrder(order) => take_force_order(instrument, policy, recv_ns, &order),
    }
}

fn take_kline(instrument: &mut Instrument, policy: &Policy, recv_ns: i64, kline: &Kline) -> Outcome {
    instrument.last_seen.candle = recv_ns;
    let (place, data_type) = match kline.interval_s {
        60 => (0, data_type::CANDLES_1M),
        300 => (1, data_type::CANDLES_5M),
        3600 => (2, data_type::CANDLES_1H),
        _ => return instrument.ignore(),
    };
    // Only what the venue has closed is a candle; before that it changes with every trade.
    if !kline.closed {
        return instrument.ignore();
    }
    let exchange_ns = match (policy.time_ns(kline.event_ms, recv_ns), policy.time_ns(kline.open_ms, recv_ns)) {
        (Ok(exchange_ns), Ok(_)) => exchange_ns,
        (Err(reason), _) | (_, Err(reason)) => return instrument.reject(reason),
    };
    if kline.prices.contains(&0) {
        return instrument.reject(Reason::ZeroPrice);
    }
    if kline.open_ms <= instrument.newest.candle_open_ms[place] {
        return instrument.ignore_duplicate();
    }
    instrument.newest.candle_open_ms[place] = kline.open_ms;
    let mut words = [0; candle::WORDS];
    words[candle::OPEN_TIME_MS] = kline.open_ms;
    words[candle::OPEN] = kline.prices[0] as u64;
    words[candle::HIGH] = kline.prices[1] as u64;
    words[candle::LOW] = kline.prices[2] as u64;
    words[candle::CLOSE] = kline.prices[3] as u64;
    words[candle::VOLUME] = kline.volume as u64;
    words[candle::INTERVAL_S] = kline.interval_s;
    words[candle::TICKS] = kline.ticks;
    words[candle::BUY_VOLUME] = kline.buy_volume as u64;
    words[candle::CLOSED] = 1;
    let header = instrument.slow_header(Kind::Candle, recv_ns, exchange_ns, kline.open_ms);
    instrument.counters.candles += 1;
    instrument.publish_slow(data_type, &header, &words)
}

fn take_mark_price(instrument: &mut Instrument, policy: &Policy, recv_ns: i64, mark: &MarkPrice) -> Outcome {
    instrument.last_seen.funding = recv_ns;
    let exchange_ns = match policy.time_ns(mark.event_ms, recv_ns) {
        Ok(exchange_ns) => exchange_ns,
        Err(reason) => return instrument.reject(reason),
    };
    if mark.mark_price <= 0 {
        return instrument.reject(if mark.mark_price == 0 { Reason::ZeroPrice } else { Reason::NegativeValue });
    }
    if mark.event_ms <= instrument.newest.mark_price_ms {
        return instrument.ignore_duplicate();
    }
    instrument.newest.mark_price_ms = mark.event_ms;
    let mut words = [0; funding::WORDS];
    words[funding::MARK_PRICE] = mark.mark_price as u64;
    words[funding::INDEX_PRICE] = mark.index_price as u64;
    words[funding::RATE] = mark.rate as u64;
    words[funding::NEXT_FUNDING_MS] = mark.next_funding_ms;
    words[funding::SETTLE_PRICE] = mark.settle_price as u64;
    let header = instrument.slow_header(Kind::Funding, recv_ns, exchange_ns, mark.event_ms);
    instrument.counters.fundings += 1;
    instrument.publish_slow(data_type::FUNDING_RATES, &header, &words)
}

fn take_force_order(instrument: &mut Instrument, policy: &Policy, recv_ns: i64, order: &ForceOrder) -> Outcome {
    instrument.last_seen.liquidation = recv_ns;
    let exchange_ns = match policy.time_ns(order.trade_ms, recv_ns) {
        Ok(exchange_ns) => exchange_ns,
        Err(reason) => return instrument.reject(reason),
    };
    // They have no id; at most one a second comes per symbol, so the last one is enough to compare with.
    if instrument.newest.force_order.replace(*order) == Some(*order) {
        return instrument.ignore_duplicate();
    }
    let words = [order.price as u64, order.average_price as u64, order.quantity as u64, u64::from(order.is_sell)];
    let header = instrument.slow_header(Kind::Liquidation, recv_ns, exchange_ns, order.trade_ms);
    instrument.counters.liquidations += 1;
    instrument.publish_slow(data_type::LIQUIDATIONS, &header, &words)
}
