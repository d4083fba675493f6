//! Trades and quotes of an instrument.

use super::{Instrument, Notice, Outcome, ID_RESTART_NS};
use crate::citadel::{Policy, TradeOrder};
use crate::parse::event::{BookTicker, Trade};
use crate::record::{data_type, flags, GapReason, Kind};
use crate::reject::Reason;

impl Instrument {
    /// Take one trade or aggregate.
    #[inline]
    pub fn take_trade(
        &mut self,
        policy: &Policy,
        recv_ns: i64,
        trade: &Trade,
        aggregate: bool,
    ) -> (Outcome, Option<Notice>) {
        if *self.takes_aggregates.get_or_insert(aggregate) != aggregate {
            self.counters.ignored += 1;
            return (Outcome::Ignored, None);
        }
        let mut notice = None;
        let mut flags = 0;
        match self.trade_ids.judge(trade.id) {
            TradeOrder::Next => {}
            TradeOrder::AfterGap { first, missing } => {
                self.counters.sequence_errors += 1;
                self.counters.missing_trades += missing;
                let reason = if self.was_reconnected { GapReason::Reconnect } else { GapReason::VenueGap };
                self.report_gap(recv_ns, data_type::TRADES, missing, first, trade.id - 1, reason, false);
                flags = flags::AFTER_GAP;
                notice = Some(Notice::Gap(missing));
            }
            TradeOrder::Duplicate | TradeOrder::Late if self.trades_have_restarted(policy, recv_ns, trade) => {
                self.trade_ids.restart(trade.id);
                self.counters.sequence_errors += 1;
                // Nobody can know how many came before it.
                self.report_gap(recv_ns, data_type::TRADES, 0, 0, trade.id, GapReason::VenueGap, false);
                flags = flags::AFTER_GAP;
                notice = Some(Notice::Gap(0));
            }
            TradeOrder::Duplicate => {
                self.counters.ignored += 1;
                self.counters.duplicates += 1;
                return (Outcome::Ignored, None);
            }
            TradeOrder::Late => {
                self.counters.late_trades += 1;
                if policy.enabled && policy.strict {
                    return (self.reject(Reason::OutOfOrderTrade), None);
                }
                self.counters.missing_trades -= 1;
                flags = flags::BACKFILLED;
            }
        }
        self.was_reconnected = false;
        match self.check_trade(policy, recv_ns, trade) {
            Ok(exchange_ns) => {
                self.trade_clock.note(exchange_ns);
                let header = self.header(Kind::Trade, flags, recv_ns, exchange_ns, trade.id);
                let sells = u64::from(trade.taker_sells);
                let (price, quantity) = (trade.price as u64, trade.quantity as u64);
                self.topics.trades.publish(&header, &[price, quantity, sells, trade.first_fill, trade.last_fill]);
                self.latest.trade.write(&[trade.id, price, quantity, sells, exchange_ns as u64, self.scales_word()]);
                self.counters.trades += 1;
                self.counters.published += 1;
                (Outcome::Published, notice)
            }
            Err(reason) => {
                self.report_gap(recv_ns, data_type::TRADES, 1, trade.id, trade.id, GapReason::Rejected, false);
                (self.reject(reason), notice)
            }
        }
    }

    #[cold]
    fn trades_have_restarted(&self, policy: &Policy, recv_ns: i64, trade: &Trade) -> bool {
        let time_ns = policy.time_ns(trade.trade_ms, recv_ns);
        time_ns.is_ok_and(|ns| self.trade_clock.has_restarted(ns, ID_RESTART_NS))
    }

    #[cold]
    fn quotes_have_restarted(&self, policy: &Policy, recv_ns: i64, ticker: &BookTicker) -> bool {
        // Spot sends no time with its quotes; a second connection may be late by some seconds, but not by so many.
        const TIMELESS_RESTART_NS: i64 = 30_000_000_000;
        if ticker.time_ms == 0 {
            return self.quote_clock.has_restarted(recv_ns, TIMELESS_RESTART_NS);
        }
        let time_ns = policy.time_ns(ticker.time_ms, recv_ns);
        time_ns.is_ok_and(|ns| self.quote_clock.has_restarted(ns, ID_RESTART_NS))
    }

    #[inline(always)]
    fn check_trade(&mut self, policy: &Policy, recv_ns: i64, trade: &Trade) -> Result<i64, Reason> {
        if trade.price == 0 {
            return Err(Reason::ZeroPrice);
        }
        if trade.quantity == 0 {
            return Err(Reason::ZeroQuantity);
        }
        let exchange_ns = policy.time_ns(trade.trade_ms, recv_ns)?;
        if policy.enabled {
            self.guard.check(policy, trade.price)?;
        }
        Ok(exchange_ns)
    }

    /// Take one best bid and ask.
    #[inline]
    pub fn take_quote(&mut self, policy: &Policy, recv_ns: i64, ticker: &BookTicker) -> Outcome {
        if ticker.update_id <= self.last_quote_id && !self.quotes_have_restarted(policy, recv_ns, ticker) {
            self.counters.ignored += 1;
            self.counters.duplicates += 1;
            return Outcome::Ignored;
        }
        let exchange_ns = match self.check_quote(policy, recv_ns, ticker) {
            Ok(exchange_ns) => exchange_ns,
            Err(reason) => return self.reject(reason),
        };
        self.last_quote_id = ticker.update_id;
        self.quote_clock.note(exchange_ns);
        let header = self.header(Kind::Quote, 0, recv_ns, exchange_ns, ticker.update_id);
        let words = [ticker.bid_price, ticker.bid_quantity, ticker.ask_price, ticker.ask_quantity].map(|v| v as u64);
        self.topics.quotes.publish(&header, &words);
        let [bid, bid_quantity, ask, ask_quantity] = words;
        let scales = self.scales_word();
        self.latest.quote.write(&[ticker.update_id, bid, bid_quantity, ask, ask_quantity, scales]);
        self.counters.quotes += 1;
        self.counters.published += 1;
        Outcome::Published
    }

    #[inline(always)]
    fn check_quote(&mut self, policy: &Policy, recv_ns: i64, ticker: &BookTicker) -> Result<i64, Reason> {
        // Spot sends no time with its quotes; the moment of arrival is the best there is.
        let exchange_ns = if ticker.time_ms == 0 { recv_ns } else { policy.time_ns(ticker.time_ms, recv_ns)? };
        let one_sided = ticker.bid_quantity == 0 || ticker.ask_quantity == 0;
        if one_sided || !policy.enabled {
            return Ok(exchange_ns);
        }
        if ticker.bid_price == 0 || ticker.ask_price == 0 {
            return Err(Reason::ZeroPrice);
        }
        if ticker.bid_price >= ticker.ask_price {
            return Err(Reason::CrossedQuote);
        }
        self.guard.check(policy, ticker.bid_price)?;
        Ok(exchange_ns)
    }
}
