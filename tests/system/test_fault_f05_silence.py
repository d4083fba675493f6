"""F5 and F6: streams say nothing while the socket answers pings. Found, told, healed; and only where it is silent."""

from __future__ import annotations

import pytest

from raven.exchange.timeline import MS
from raven.venues import binance

pytestmark = pytest.mark.fault("F5", "F6")

QUICK = {"silence_s": 1.0, "first_frame_s": 1.5}
OTHERS = 99


@pytest.mark.parametrize("ping_interval_ms", [180_000, 50], ids=["pings as usual", "ping flood"])
async def test_a_socket_that_only_answers_pings_is_replaced(collecting, ping_interval_ms: int) -> None:
    # The flood must stay below the venue's message limit, or it is the venue that ends the connection.
    rules = {"ping_interval_ns": ping_interval_ms * MS, "messages_per_second": 100}
    async with collecting(rules=rules, **QUICK) as bench:
        bench.inject("silence", count=0)

        found_s = await bench.until(lambda: any(one["reconnects"] for one in bench.connections), "found", 10)
        await bench.until(lambda: "synced" not in bench.states().values(), "nothing is shown as good", 5)
        bench.clear_faults()
        await bench.until(lambda: bench.all_synced(2), "in sync", 15)

        # Three times the limit of a second, and the second between two looks.
        assert found_s <= 4.0
        await bench.assert_book_is_true()


async def test_one_silent_symbol_of_a_hundred_touches_only_itself(collecting) -> None:
    async with collecting(symbol_count=OTHERS + 1, rate=3000.0, skewed_rates=False, **QUICK) as bench:
        mute, *others = sorted(bench.states())
        before = {symbol: bench.counters(symbol) for symbol in others}

        bench.inject("silence", count=0, target=f"{mute.lower()}@depth*")
        await bench.until(lambda: bench.state(mute) != "synced", "found", 10)

        assert {bench.state(symbol) for symbol in others} == {"synced"}
        assert [one["reconnects"] for one in bench.connections] == [0] * len(bench.connections)
        assert any(f"{mute.lower()}@depth@100ms" in one["silent"] for one in bench.connections)
        bench.clear_faults()
        await bench.until(lambda: bench.state(mute) == "synced", "in sync", 15)
        await bench.assert_book_is_true(mute)
        for symbol in others:
            assert bench.counters(symbol)["resyncs"] == before[symbol]["resyncs"], symbol


async def test_a_stream_on_the_wrong_route_is_called_by_name(collecting, caplog: pytest.LogCaptureFixture) -> None:
    # The venue accepts what is asked for on this route and never says a word: what happened on 2026-04-23.
    async with collecting(wait=False, plan={"options": {"routes": dict.fromkeys(("public", "market"), "/public")}},
                          first_frame_s=0.5, silence_s=0.5, max_silence_s=2.0) as bench:  # fmt: skip
        await bench.until(lambda: any("btcusdt@aggTrade" in one["silent"] for one in bench.connections), "called", 15)

        silent = [one for one in bench.connections if one["silent"]]
        assert {one["category"] for one in silent} == {binance.MARKET}
        await bench.until(lambda: bench.all_synced(2), "books are well", 10)
