"""What REST answers, endpoint by endpoint, for a generated market. Pure: parameters in, text out."""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from raven.exchange.generated.candles import CandleSeries
from raven.exchange.generated.market import GeneratedMarket
from raven.exchange.generated.symbol_feed import SymbolFeed
from raven.exchange.instruments import decimal_text
from raven.exchange.markets import INTERVALS_NS, Market, MarketRules
from raven.exchange.timeline import MS
from raven.exchange.wire.exchange_info import exchange_info
from raven.exchange.wire.frames import AggTrade, Trade
from raven.exchange.wire.rest_server import BadRequest

_HOUR_MS = 3_600_000
_HISTORY_MS = 48 * _HOUR_MS


def _bool(value: bool) -> str:
    return "true" if value else "false"


class GeneratedAnswers:
    """Answers REST requests from the feeds of a generated market."""

    def __init__(self, source: GeneratedMarket, rules: MarketRules) -> None:
        self._source = source
        self._rules = rules
        self._market = source.market
        self._endpoints = {
            "ping": lambda params: "{}",
            "time": lambda params: f'{{"serverTime":{self._now_ms()}}}',
            "exchangeInfo": self._exchange_info,
            "depth": self._depth,
            "aggTrades": self._agg_trades,
            "trades": self._trades,
            "historicalTrades": self._trades,
            "klines": self._klines,
            "ticker/bookTicker": self._book_ticker,
            "ticker/price": self._price,
        }
        if self._market.is_futures:
            self._endpoints["openInterest"] = self._open_interest
            self._endpoints["premiumIndex"] = self._premium_index

    async def answer(self, endpoint: str, params: Mapping[str, str]) -> str | None:
        """Return the body for an endpoint, or None if this market has none of that name. Raises: BadRequest."""
        handler = self._endpoints.get(endpoint)
        return handler(params) if handler is not None else None

    # --- parameters --------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return self._source.timeline.sent_ns() // MS

    def _feed(self, params: Mapping[str, str]) -> SymbolFeed:
        symbol = params.get("symbol", "")
        if not symbol:
            raise BadRequest(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        feed = self._source.feeds.get(symbol)
        if feed is None:
            raise BadRequest(-1121, "Invalid symbol.")
        return feed

    def _number(self, params: Mapping[str, str], name: str) -> int | None:
        text = params.get(name)
        if text is None or text == "":
            return None
        if not text.lstrip("-").isdecimal():
            raise BadRequest(
                -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
            )
        return int(text)

    def _limit(self, params: Mapping[str, str], default: int, largest: int) -> int:
        limit = self._number(params, "limit")
        if limit is None:
            return default
        if limit < 1:
            raise BadRequest(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(limit, largest)

    # --- endpoints ---------------------------------------------------------------------------------------

    def _exchange_info(self, params: Mapping[str, str]) -> str:
        feeds = list(self._source.feeds.values())
        if self._market is Market.SPOT and ("symbol" in params or "symbols" in params):
            wanted = [params["symbol"]] if "symbol" in params else json.loads(params["symbols"])
            feeds = [self._feed({"symbol": symbol}) for symbol in wanted]
        info = exchange_info(self._market, self._rules, [feed.instrument for feed in feeds], self._now_ms())
        return json.dumps(info, separators=(",", ":"))

    def _depth(self, params: Mapping[str, str]) -> str:
        feed = self._feed(params)
        limit = self._number(params, "limit")
        if limit is None:
            limit = self._rules.default_depth_limit
        largest = self._rules.depth_weights[-1][0]
        if self._rules.exact_depth_limits:
            if limit not in [upto for upto, _ in self._rules.depth_weights]:
                raise BadRequest(-4021, "Invalid depth limit.")
        elif limit < 1:
            raise BadRequest(-1130, "Data sent for parameter 'limit' is not valid.")
        limit = min(limit, largest)
        return feed.writer.depth_snapshot(
            feed.timeline.sent_ns(),
            feed.last_change_ns,
            feed.update_id,
            feed.book.bids.levels(limit),
            feed.book.asks.levels(limit),
        )

    def _agg_trades(self, params: Mapping[str, str]) -> str:
        feed = self._feed(params)
        limit = self._limit(params, 500, 1000)
        start, end, first = (self._number(params, name) for name in ("startTime", "endTime", "fromId"))
        futures = self._market.is_futures
        if first is not None and (start is not None or end is not None):
            raise BadRequest(-1128, "Combination of optional parameters invalid.")
        if start is not None and end is not None:
            if end < start:
                raise BadRequest(-1023, "Start time is greater than end time.")
            if futures and end - start >= _HOUR_MS:
                raise BadRequest(-1127, "More than 1 hours between startTime and endTime.")
        trades: Sequence[AggTrade] = feed.agg_trades
        if futures:
            oldest = (self._now_ms() - _HISTORY_MS) * MS
            trades = [trade for trade in trades if trade.time_ns >= oldest]
        if first is not None:
            at = bisect_left(trades, first, key=attrgetter("agg_id"))
            chosen = list(trades)[at : at + limit]
        elif start is not None or end is not None:
            low, high = (start or 0) * MS, ((end + 1) if end is not None else 1 << 62) * (MS if end is not None else 1)
            inside = [trade for trade in trades if low <= trade.time_ns < high]
            chosen = inside[:limit] if start is not None else inside[-limit:]
        else:
            chosen = list(trades)[-limit:]
        price, quantity = feed.instrument.price_text, feed.instrument.quantity_text
        tail = "" if futures else ',"M":true'
        rows = [
            f'{{"a":{t.agg_id},"p":"{price(t.price)}","q":"{quantity(t.quantity)}","f":{t.first_id},"l":{t.last_id},'
            f'"T":{t.time_ns // MS},"m":{_bool(t.taker_sells)}{tail}}}'
            for t in chosen
        ]
        return "[" + ",".join(rows) + "]"

    def _trades(self, params: Mapping[str, str]) -> str:
        feed = self._feed(params)
        limit = self._limit(params, 500, 1000)
        first = self._number(params, "fromId")
        trades = list(feed.trades)
        if first is not None:
            at = bisect_left(trades, first, key=attrgetter("trade_id"))
            trades = trades[at : at + limit]
        else:
            trades = trades[-limit:]
        return "[" + ",".join([self._trade_row(feed, trade) for trade in trades]) + "]"

    def _trade_row(self, feed: SymbolFeed, trade: Trade) -> str:
        instrument = feed.instrument
        quote_name = "baseQty" if self._market is Market.COINM else "quoteQty"
        series = feed.candles["1m"]
        tail = ',"isBestMatch":true' if self._market is Market.SPOT else ""
        return (
            f'{{"id":{trade.trade_id},"price":"{instrument.price_text(trade.price)}","qty":"{instrument.quantity_text(trade.quantity)}",'
            f'"{quote_name}":"{series.quote_text(series.quote_of(trade.price, trade.quantity))}",'
            f'"time":{trade.time_ns // MS},'
            f'"isBuyerMaker":{_bool(trade.taker_sells)}{tail}}}'
        )

    def _klines(self, params: Mapping[str, str]) -> str:
        feed = self._feed(params)
        interval = params.get("interval", "")
        if not interval:
            raise BadRequest(-1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")
        if interval not in INTERVALS_NS or (interval == "1s" and self._market.is_futures):
            raise BadRequest(-1120, "Invalid interval.")
        limit = self._limit(params, 500, 1000 if self._market is Market.SPOT else 1500)
        start, end = self._number(params, "startTime"), self._number(params, "endTime")
        series: CandleSeries = feed.series(interval)
        series.roll(self._source.timeline.now_ns)
        rows = [
            candle
            for candle in (*series.closed, series.open)
            if (start is None or candle.open_ns >= start * MS) and (end is None or candle.open_ns <= end * MS)
        ]
        rows = rows[:limit] if start is not None else rows[-limit:]
        price = feed.instrument.price_text
        texts = []
        for candle in rows:
            view = series.view(candle, True)
            texts.append(
                f'[{view.open_ns // MS},"{price(view.open)}","{price(view.high)}","{price(view.low)}",'
                f'"{price(view.close)}",'
                f'"{view.volume}",{view.close_ns // MS - 1},"{view.quote_volume}",{view.trades},"{view.taker_volume}",'
                f'"{view.taker_quote_volume}","0"]'
            )
        return "[" + ",".join(texts) + "]"

    def _book_ticker(self, params: Mapping[str, str]) -> str:
        def row(feed: SymbolFeed) -> str:
            bid, bid_quantity, ask, ask_quantity = feed.best()
            price, quantity = feed.instrument.price_text, feed.instrument.quantity_text
            head = f'"lastUpdateId":{feed.update_id},' if self._market.is_futures else ""
            tail = f',"time":{feed.last_change_ns // MS}' if self._market.is_futures else ""
            return (
                f'{{{head}"symbol":"{feed.instrument.symbol}","bidPrice":"{price(bid)}","bidQty":"{quantity(bid_quantity)}",'
                f'"askPrice":"{price(ask)}","askQty":"{quantity(ask_quantity)}"{tail}}}'
            )

        return self._one_or_all(params, row)

    def _price(self, params: Mapping[str, str]) -> str:
        def row(feed: SymbolFeed) -> str:
            pair = f',"ps":"{feed.instrument.pair}"' if self._market is Market.COINM else ""
            tail = f',"time":{feed.last_change_ns // MS}' if self._market.is_futures else ""
            price = feed.instrument.price_text(feed.last_price)
            return f'{{"symbol":"{feed.instrument.symbol}"{pair},"price":"{price}"{tail}}}'

        return self._one_or_all(params, row)

    def _open_interest(self, params: Mapping[str, str]) -> str:
        feed = self._feed(params)
        instrument = feed.instrument
        # Nothing in the generated market needs open interest; it moves slowly with the number of trades.
        lots = instrument.order_lots * (10_000 + len(feed.trades) // 10)
        coinm = f'"pair":"{instrument.pair}",' if self._market is Market.COINM else ""
        contract = ',"contractType":"PERPETUAL"' if self._market is Market.COINM else ""
        return (
            f'{{"symbol":"{instrument.symbol}",{coinm}"openInterest":"{instrument.quantity_text(lots)}"{contract},'
            f'"time":{self._now_ms()}}}'
        )

    def _premium_index(self, params: Mapping[str, str]) -> str:
        def row(feed: SymbolFeed) -> str:
            view = feed.mark()
            pair = f',"pair":"{feed.instrument.pair}"' if self._market is Market.COINM else ""
            return (
                f'{{"symbol":"{feed.instrument.symbol}"{pair},"markPrice":"{view.mark}","indexPrice":"{view.index_price}",'
                f'"estimatedSettlePrice":"{view.settle}","lastFundingRate":"{view.funding_rate}",'
                f'"interestRate":"{decimal_text(10_000, 8)}","nextFundingTime":{view.next_funding_ns // MS},'
                f'"time":{self._now_ms()}}}'
            )

        return self._one_or_all(params, row)

    def _one_or_all(self, params: Mapping[str, str], row: Any) -> str:
        # COIN-M always answers with a list; the others with one object when one symbol is asked for.
        if "symbol" in params and self._market is not Market.COINM:
            return str(row(self._feed(params)))
        feeds = [self._feed(params)] if "symbol" in params else self._source.feeds.values()
        return "[" + ",".join(row(feed) for feed in feeds) + "]"
