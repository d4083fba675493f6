"""What a recording holds, symbol by symbol: counts, continuity, the book after every diff, and proofs of it.

Everything about books comes from the engine, read from its rings as a subscriber would. Everything about the stream
itself (which ids were sent, when) is read from the messages a second time, with a general JSON decoder, so that the two
check each other.
"""

from __future__ import annotations

import hashlib
import zlib
from bisect import bisect_right
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from raven._core import Engine, Hub
from raven.records import Flags, Kind
from raven.topics import DataType

__all__ = ["SymbolAudit", "plain"]

CHECKPOINT_EVERY = 500
"""Applied diffs between two hashes of the whole book."""
_TOP_LEVELS = 20
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


def plain(value: Decimal | str) -> str:
    """Return a decimal without exponent, trailing zeros or a bare point: the canonical form of a number."""
    text = format(Decimal(value), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(slots=True)
class _Diff:
    """Ids of one diff and where it stands."""

    file: int
    line: int
    first: int
    last: int
    previous: int | None

    def ids(self) -> dict[str, int | None]:
        return {"U": self.first, "u": self.last, "pu": self.previous}


@dataclass(slots=True)
class _Trades:
    """Single trades of one symbol."""

    count: int = 0
    first_id: int = 0
    last_id: int = 0
    id_gaps: list[list[int]] = field(default_factory=list)
    ids_not_increasing: int = 0
    times_going_back: int = 0
    first_ms: int = 0
    last_ms: int = 0
    prices: list[Decimal] = field(default_factory=lambda: [Decimal(0)] * 4)
    volume: list[Decimal] = field(default_factory=lambda: [Decimal(0)] * 2)
    quote_volume: Decimal = Decimal(0)
    ticks: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, data: dict[str, Any]) -> None:
        trade_id, time_ms = data["t"], data["T"]
        price, quantity, sells = Decimal(data["p"]), Decimal(data["q"]), bool(data["m"])
        if not self.count:
            self.first_id, self.first_ms, self.prices = trade_id, time_ms, [price] * 4
        else:
            if trade_id <= self.last_id:
                self.ids_not_increasing += 1
            elif trade_id != self.last_id + 1:
                self.id_gaps.append([self.last_id, trade_id])
            self.times_going_back += time_ms < self.last_ms
        self.count += 1
        self.last_id, self.last_ms = trade_id, time_ms
        open_, high, low, _ = self.prices
        self.prices = [open_, max(high, price), min(low, price), price]
        self.volume[sells] += quantity
        self.ticks[sells] += 1
        self.quote_volume = _EXACT.fma(price, quantity, self.quote_volume)

    def report(self) -> dict[str, Any]:
        if not self.count:
            return {"count": 0}
        volume = self.volume[0] + self.volume[1]
        # The documented rounding: half-even at 12 decimals.
        vwap = _EXACT.divide(self.quote_volume, volume).quantize(Decimal("1e-12"), context=_EXACT)
        names = ("open", "high", "low", "close")
        return {
            "count": self.count, "first_id": self.first_id, "last_id": self.last_id, "id_gaps": self.id_gaps,
            "ids_not_increasing": self.ids_not_increasing, "times_going_back": self.times_going_back,
            "first_ms": self.first_ms, "last_ms": self.last_ms,
            "total": {
                **{name: plain(price) for name, price in zip(names, self.prices, strict=True)},
                "volume": plain(volume), "quote_volume": plain(self.quote_volume),
                "buy_volume": plain(self.volume[0]), "sell_volume": plain(self.volume[1]),
                "trades": self.count, "buy_trades": self.ticks[0], "sell_trades": self.ticks[1], "vwap": plain(vwap),
            },
        }  # fmt: skip


class SymbolAudit:
    """Follows one symbol through a recording."""

    def __init__(self, hub: Hub, engine: Engine, instrument: int, topic: tuple[str, str]) -> None:
        self.instrument = instrument
        self._engine = engine
        topic_id = hub.find(*topic, DataType.ORDERBOOK)
        assert topic_id is not None, "the engine creates a book topic with every instrument"
        self._books = hub.reader(topic_id)
        self._diffs: list[_Diff] = []
        self._older_levels: list[tuple[int, list[list[str]], list[list[str]]]] = []
        self._diff_gaps: list[list[int | None]] = []
        self._prices_twice = 0
        self._tickers: list[tuple[int, tuple[str, str, str, str]]] = []
        self._tickers_not_increasing = 0
        self._other: dict[str, int] = {}
        self._trades = _Trades()
        self._snapshot: dict[str, Any] | None = None
        self._snapshot_sides: tuple[list[list[str]], list[list[str]]] = [], []
        self._tops: list[tuple[int, tuple[str, str, str, str]]] = []
        self._tops_hash = hashlib.sha256()
        self._checkpoints: list[list[Any]] = []
        self.applied = 0

    # --- the stream, message by message ------------------------------------------------------------------------

    def diff(self, file: int, line: int, data: dict[str, Any]) -> None:
        """Note the ids of a diff."""
        diff = _Diff(file, line, data["U"], data["u"], data.get("pu"))
        if self._diffs:
            before = self._diffs[-1].last
            follows = diff.first == before + 1 if diff.previous is None else diff.previous == before
            if not follows:
                self._diff_gaps.append([file, line, before, diff.first, diff.previous])
        self._diffs.append(diff)
        sides = data["b"], data["a"]
        self._prices_twice += any(len({level[0] for level in side}) != len(side) for side in sides)
        # Not by order of arrival: a recorder that was busy with its request read these diffs after the answer.
        if self._snapshot is None or diff.last <= self._snapshot["lastUpdateId"]:
            self._older_levels.append((diff.last, *sides))

    def ticker(self, data: dict[str, Any]) -> None:
        """Note a best bid and ask."""
        if self._tickers and data["u"] <= self._tickers[-1][0]:
            self._tickers_not_increasing += 1
        self._tickers.append((data["u"], (data["b"], data["B"], data["a"], data["A"])))

    def trade(self, data: dict[str, Any]) -> None:
        """Note a single trade."""
        self._trades.add(data)

    def other(self, kind: str) -> None:
        """Count a message of another kind."""
        self._other[kind] = self._other.get(kind, 0) + 1

    def snapshot(self, file: int, line: int, recv_ns: int, body: dict[str, Any], limit: int) -> None:
        """Note the snapshot that the book starts from."""
        if self._snapshot is not None:
            return
        bids, asks = body["bids"], body["asks"]
        levels = [f"{plain(p)}:{plain(q)}" for p, q in reversed(bids)], [f"{plain(p)}:{plain(q)}" for p, q in asks]
        canonical = "|".join(",".join(side) for side in levels)
        self._snapshot = {
            "file": file, "line": line, "local_ns": recv_ns, "lastUpdateId": body["lastUpdateId"],
            "bids": len(bids), "asks": len(asks), "E": body.get("E"), "T": body.get("T"),
            "lowest_bid": plain(bids[-1][0]) if bids else None, "highest_ask": plain(asks[-1][0]) if asks else None,
            "limit_reached": [len(bids) >= limit, len(asks) >= limit],
            "sha256": hashlib.sha256(canonical.encode()).hexdigest(),
        }  # fmt: skip
        self._snapshot_sides = bids, asks

    def _agreement(self, snapshot_id: int) -> dict[str, Any]:
        """Compare what the diffs up to the snapshot said of its levels with the snapshot itself."""
        same, different = 0, []
        bids, asks = self._snapshot_sides
        older = [levels for levels in self._older_levels if levels[0] <= snapshot_id]
        for name, levels in (("bid", bids), ("ask", asks)):
            known = {level[0]: level[1] for level in levels}
            changes = (change for diff in older for change in (diff[1] if name == "bid" else diff[2]))
            latest = {change[0]: change[1] for change in changes}
            edge = Decimal(levels[-1][0]) if levels else Decimal(0)
            for price, quantity in latest.items():
                is_inside = Decimal(price) >= edge if name == "bid" else Decimal(price) <= edge
                if is_inside and Decimal(known.get(price, "0")) == Decimal(quantity):
                    same += 1
                elif is_inside:
                    different.append([name, plain(price), plain(quantity), plain(known.get(price, "0"))])
        different.sort(key=lambda row: (row[0] == "ask", Decimal(row[1])))
        return {
            "a_diff_ends_at_lastUpdateId": any(levels[0] == snapshot_id for levels in older),
            "levels_same": same, "levels_different": len(different), "different": different,
        }  # fmt: skip

    # --- the book, as the engine published it -------------------------------------------------------------------

    def drain(self) -> None:
        """Take the book states that the engine published since the last call."""
        for record in self._books.drain(1_000_000):
            if record.kind != Kind.BOOK or record.flags & (Flags.SNAPSHOT | Flags.STALE):
                continue
            self.applied += 1
            top = self._side(record.bids(1), record) + self._side(record.asks(1), record)
            self._tops.append((record.id, top))
            self._tops_hash.update(f"{record.id},{','.join(top)}\n".encode())
            if self.applied % CHECKPOINT_EVERY == 0:
                self._checkpoint(record.id)

    @staticmethod
    def _side(levels: list[tuple[int, int]], record: Any) -> tuple[str, str]:
        if not levels:
            return "", ""
        price, quantity = levels[0]
        scaled = Decimal(price).scaleb(-record.price_scale), Decimal(quantity).scaleb(-record.quantity_scale)
        return plain(scaled[0]), plain(scaled[1])

    def _checkpoint(self, update_id: int) -> None:
        book = self._engine.book(self.instrument)
        if book["update_id"] != update_id:
            # Several diffs were applied in one step (they had waited for a snapshot): that state has passed.
            return
        text = self._engine.canonical(self.instrument)
        row = [self.applied, update_id, book["bids"], book["asks"]]
        self._checkpoints.append([*row, hashlib.sha256(text).hexdigest(), f"{zlib.crc32(text):08x}"])

    # --- the result ---------------------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """Return everything about the symbol."""
        return {
            "diffs": len(self._diffs), "book_tickers": len(self._tickers), "trades_recorded": self._trades.count,
            "other": self._other, "diff_gaps": self._diff_gaps,
            "first_diff": self._diffs[0].ids() if self._diffs else None,
            "last_diff": self._diffs[-1].ids() if self._diffs else None,
            "book_ticker_u_not_increasing": self._tickers_not_increasing,
            "book": self._book_report() if self._snapshot else None,
            "trades": self._trades.report(),
        }  # fmt: skip

    def _book_report(self) -> dict[str, Any]:
        assert self._snapshot is not None, "asked only with a snapshot"
        counters = self._engine.counters(self.instrument)
        check, mismatches = self._check_tickers()
        applied_ids = {self._tops[0][0]} if self._tops else set()
        first = next((diff for diff in self._diffs if diff.last in applied_ids), None)
        dropped = self._diffs.index(first) if first else counters["ignored"]
        snapshot_id = self._snapshot["lastUpdateId"]
        return {
            "snapshot": self._snapshot, "snapshot_agreement": self._agreement(snapshot_id),
            "dropped_before_snapshot": dropped, "applied": self.applied,
            "first_applied": None if first is None else {
                "file": first.file, "line": first.line, **first.ids(),
                "bridges_snapshot": first.first <= snapshot_id + (first.previous is None) <= first.last,
            },
            "last_u": self._tops[-1][0] if self._tops else None,
            "continuity_breaks": self._diff_gaps if counters["sequence_errors"] else [],
            "crossed_after_diff": counters["crossed"],
            "diffs_naming_a_price_twice": self._prices_twice,
            "removals_of_unknown_levels": counters["unknown_removals"],
            "book_ticker_check": check, "book_ticker_mismatches": mismatches,
            "tops_sha256": self._tops_hash.hexdigest(),
            "checkpoint_columns": ["applied", "u", "bid_levels", "ask_levels", "sha256", "crc32"],
            "checkpoints": self._checkpoints, "final": self._final(),
        }  # fmt: skip

    def _check_tickers(self) -> tuple[dict[str, int], list[list[Any]]]:
        """Compare the top after every diff with the last ticker whose id is not above the diff's."""
        assert self._snapshot is not None, "asked only with a snapshot"
        names = ("match_inside", "mismatch_inside", "match_beyond", "mismatch_beyond", "no_ticker_yet")
        counts = dict.fromkeys(names, 0)
        mismatches: list[list[Any]] = []
        tickers = sorted(self._tickers, key=lambda ticker: ticker[0])
        ids = [ticker[0] for ticker in tickers]
        low, high = (Decimal(self._snapshot[key] or 0) for key in ("lowest_bid", "highest_ask"))
        for update_id, top in self._tops:
            position = bisect_right(ids, update_id) - 1
            if position < 0:
                counts["no_ticker_yet"] += 1
                continue
            expected = tuple(plain(value) for value in tickers[position][1])
            is_inside = bool(top[0] and top[2]) and Decimal(top[0]) >= low and Decimal(top[2]) <= high
            verdict = "match" if expected == top else "mismatch"
            counts[f"{verdict}_{'inside' if is_inside else 'beyond'}"] += 1
            if verdict == "mismatch":
                mismatches.append([update_id, list(top), ids[position], list(expected)])
        return counts, mismatches

    def _final(self) -> dict[str, Any]:
        book = self._engine.book(self.instrument)
        text = self._engine.canonical(self.instrument)
        top = self._engine.canonical(self.instrument, _TOP_LEVELS)
        bids, asks = ([level.split(":") for level in side.split(",") if level] for side in top.decode().split("|"))
        return {
            "bid_levels": book["bids"], "ask_levels": book["asks"], "top_bids": bids[::-1], "top_asks": asks,
            "sha256": hashlib.sha256(text).hexdigest(), "crc32": f"{zlib.crc32(text):08x}",
            "canonical_bytes": len(text), "top20_sha256": hashlib.sha256(top).hexdigest(),
        }  # fmt: skip
