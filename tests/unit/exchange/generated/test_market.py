"""The generated market: streams, book and REST agree by construction, and the same seed gives the same bytes."""

from decimal import Decimal
from itertools import pairwise

import pytest

from raven.exchange.reference import ReferenceBook

MARKETS = [("spot", "BTCUSDT"), ("usdm", "BTCUSDT"), ("coinm", "BTCUSD_PERP")]
EVERYTHING = ["@trade", "@aggTrade", "@depth@100ms", "@depth5@100ms", "@bookTicker", "@kline_1m"]


def snapshot(feed, limit=5000):
    book = feed.book
    levels = book.bids.levels(limit), book.asks.levels(limit)
    return feed.writer.depth_snapshot(feed.timeline.now_ns, feed.last_change_ns, feed.update_id, *levels)


@pytest.mark.parametrize(("market", "symbol"), MARKETS)
def test_the_same_seed_gives_the_same_bytes(venue, market, symbol):
    names = [symbol.lower() + kind for kind in EVERYTHING]
    frames = []
    for seed in (7, 7, 8):
        one = venue(market, seed=seed)
        ear = one.listen(*names)
        one.advance(5)
        frames.append(ear.out)

    assert frames[0] == frames[1]
    assert len(frames[0]) > 200
    assert frames[0] != frames[2]


@pytest.mark.parametrize(("market", "symbol"), MARKETS)
@pytest.mark.parametrize("speed", ["", "@100ms"])
def test_snapshot_and_diffs_give_the_true_book(venue, market, symbol, speed):
    one = venue(market)
    ear = one.listen(f"{symbol.lower()}@depth{speed}")
    one.advance(2.345)
    body = snapshot(one.source.feeds[symbol])
    one.advance(10)
    one.source.pause()
    one.advance(2)

    reference = ReferenceBook(symbol, is_futures=market != "spot")
    for message in ear.messages()[: len(ear.out) // 2]:
        reference.on_event(message)
    reference.on_snapshot(body)
    for message in ear.messages()[len(ear.out) // 2 :]:
        reference.on_event(message)

    assert reference.book() == one.source.book(symbol)
    assert len(reference.book().bids) > 40


@pytest.mark.parametrize(("market", "symbol"), MARKETS)
def test_best_prices_agree_with_the_depth_at_the_same_id(venue, market, symbol):
    one = venue(market)
    reference = ReferenceBook(symbol, is_futures=market != "spot")
    reference.on_snapshot(snapshot(one.source.feeds[symbol]))
    ear = one.listen(f"{symbol.lower()}@depth@100ms", f"{symbol.lower()}@bookTicker")
    one.advance(8)

    tickers, compared = {}, 0
    for message in ear.messages():
        if "pu" in message or message.get("e") == "depthUpdate":
            reference.on_event(message)
            upto = [ticker for update_id, ticker in tickers.items() if update_id <= message["u"]]
            if upto:
                ticker = upto[-1]
                assert tuple(Decimal(ticker[key]) for key in "bBaA") == reference.top()
                compared += 1
        else:
            tickers[message["u"]] = message
    assert compared > 20


@pytest.mark.parametrize(("market", "symbol"), MARKETS)
def test_every_trade_is_part_of_exactly_one_aggregate(venue, market, symbol):
    one = venue(market, rate=1000.0)
    trades, aggregates = one.listen(f"{symbol.lower()}@trade"), one.listen(f"{symbol.lower()}@aggTrade")
    one.advance(10)
    one.source.pause()
    one.advance(1)

    by_id = {message["t"]: message for message in trades.messages()}
    covered = []
    for aggregate in aggregates.messages():
        parts = [by_id[number] for number in range(aggregate["f"], aggregate["l"] + 1)]
        covered += [part["t"] for part in parts]
        assert sum(Decimal(part["q"]) for part in parts) == Decimal(aggregate["q"])
        assert {(part["p"], part["m"]) for part in parts} == {(aggregate["p"], aggregate["m"])}
    assert covered == list(by_id)
    ids = [aggregate["a"] for aggregate in aggregates.messages()]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) > 50


def test_the_book_is_never_crossed_and_keeps_its_depth(venue):
    one = venue("usdm", rate=3000.0, levels=200)
    feed = one.source.feeds["BTCUSDT"]

    for _ in range(200):
        one.advance(0.1)
        assert feed.book.spread_ticks >= 1

    assert 150 < len(feed.book.bids.ranks) < 250
    assert 150 < len(feed.book.asks.ranks) < 250


def test_arrivals_come_in_bursts(venue):
    one = venue("usdm", rate=200.0, symbols=("BTCUSDT",))
    counts = []
    for _ in range(400):
        before = one.source.events
        one.advance(0.25)
        counts.append(one.source.events - before)

    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)

    assert 150 < mean * 4 < 260
    # Independent arrivals would have a variance equal to the mean.
    assert variance > 3 * mean


def test_a_closed_candle_is_told_once_and_agrees_with_the_trades(venue):
    one = venue("usdm", rate=300.0)
    klines, trades = one.listen("btcusdt@kline_1m"), one.listen("btcusdt@trade")
    one.advance(185)

    closed = [message["k"] for message in klines.messages() if message["k"]["x"]]
    assert [candle["t"] for candle in closed] == [closed[0]["t"] + 60_000 * step for step in range(3)]
    minute = [m for m in trades.messages() if closed[1]["t"] <= m["T"] <= closed[1]["T"]]
    prices = [Decimal(message["p"]) for message in minute]
    assert closed[1]["n"] == len(minute)
    assert (Decimal(closed[1]["o"]), Decimal(closed[1]["c"])) == (prices[0], prices[-1])
    assert (Decimal(closed[1]["h"]), Decimal(closed[1]["l"])) == (max(prices), min(prices))
    assert Decimal(closed[1]["v"]) == sum(Decimal(message["q"]) for message in minute)
    assert Decimal(closed[1]["q"]) == sum(Decimal(message["q"]) * Decimal(message["p"]) for message in minute)
    taker_buys = [message for message in minute if not message["m"]]
    assert Decimal(closed[1]["V"]) == sum(Decimal(message["q"]) for message in taker_buys)


def test_candles_without_trades_are_told_too(venue):
    one = venue("spot")
    klines = one.listen("btcusdt@kline_1s")
    one.advance(2)
    one.source.pause()
    one.advance(3)

    last = klines.messages()[-1]["k"]
    assert (last["x"], last["n"], last["f"], last["v"]) == (True, 0, -1, "0.00000000")
    assert last["o"] == last["c"] == last["h"] == last["l"]


def test_mark_prices_come_at_their_period_for_one_and_for_all_symbols(venue):
    one = venue("usdm")
    slow, fast, every = (
        one.listen(name) for name in ("btcusdt@markPrice", "btcusdt@markPrice@1s", "!markPrice@arr@1s")
    )
    one.advance(9)

    assert (len(slow.out), len(fast.out), len(every.out)) == (3, 9, 9)
    assert [row["s"] for row in every.messages()[0]] == ["BTCUSDT", "ETHUSDT"]
    assert abs(Decimal(fast.messages()[0]["p"]) / Decimal("61800") - 1) < Decimal("0.01")
    assert fast.messages()[0]["T"] % (8 * 3600 * 1000) == 0


def test_liquidations_are_sampled_to_one_per_symbol_and_second(venue):
    one = venue("usdm", rate=4000.0)
    single, every = one.listen("btcusdt@forceOrder"), one.listen("!forceOrder@arr")
    one.advance(40)

    times = [message["E"] for message in single.messages()]
    assert len(times) > 2
    assert all(later - earlier >= 1000 for earlier, later in pairwise(times))
    assert len(every.out) >= len(single.out)
    assert every.messages()[0]["st"] == 1


def test_all_symbol_streams_carry_both_futures_markets(venue):
    usdm, coinm = venue("usdm"), venue("coinm")
    usdm.source.merge_with([coinm.source])
    ear = usdm.listen("!bookTicker")

    usdm.advance(5)

    assert {(message["s"], message["st"]) for message in ear.messages()} == {
        ("BTCUSDT", 1),
        ("ETHUSDT", 1),
        ("BTCUSD_PERP", 2),
        ("ETHUSD_PERP", 2),
    }


def test_many_symbols_share_the_rate(venue):
    one = venue("usdm", symbol_count=50, rate=2000.0, levels=30)
    one.advance(5)
    events = [feed.events for feed in one.source.feeds.values()]

    assert 7_000 < sum(events) < 13_000
    assert events[0] > 5 * events[-1] > 0
