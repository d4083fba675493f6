"""The engine through its Python face: bulk and single calls agree, snapshots, events, deeper books, removal."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest

from raven._core import BUFFERED, EVENTS_PENDING, IGNORED, PUBLISHED, Engine, Hub, Record
from raven.recording import read_recording

NOW_MS = 1_723_161_256_313
NOW_NS = NOW_MS * 1_000_000
SNAPSHOT = b'{"lastUpdateId":10,"bids":[["100.5","1.5"],["100.4","2"]],"asks":[["100.6","1"],["100.7","0.25"]]}'


def diff(first: int, last: int, previous: int, bids: str = "", asks: str = "") -> bytes:
    return (
        f'{{"e":"depthUpdate","E":{NOW_MS},"T":{NOW_MS},"s":"BTCUSDT","U":{first},"u":{last},"pu":{previous},'
        f'"b":[{bids}],"a":[{asks}]}}'
    ).encode()


def trade(trade_id: int) -> bytes:
    return (
        f'{{"e":"trade","E":{NOW_MS},"T":{NOW_MS},"s":"BTCUSDT","t":{trade_id},"p":"100.5","q":"2","m":false}}'
    ).encode()


class Rig:
    def __init__(self, rule: str = "futures", symbol: str = "BTCUSDT", ring_bytes: int = 1 << 24) -> None:
        self.hub = Hub()
        self.engine = Engine(self.hub)
        self.venue = self.engine.add_venue("test", rule)
        self.instrument = self.engine.add_instrument(self.venue, symbol, ring_bytes=ring_bytes)
        self.connection = self.engine.open_connection(self.venue)
        self.readers = [self.hub.reader(topic[0]) for topic in self.hub.topics()]

    def frame(self, raw: bytes) -> int:
        return self.engine.on_frame(self.connection, NOW_NS, raw)

    def events(self) -> list[tuple[str, str, int]]:
        return [(name, reason, number) for name, _, _, reason, number, _ in self.engine.take_events()]

    def records(self) -> list[tuple[object, ...]]:
        return [words(record) for reader in self.readers for record in reader.drain(1_000_000)]


def words(record: Record) -> tuple[object, ...]:
    return (record.kind, record.flags, record.sequence, record.recv_ns, record.exchange_ns, record.id, *record.body)


@pytest.fixture
def synced() -> Rig:
    rig = Rig()
    rig.frame(diff(9, 12, 8))
    rig.engine.on_snapshot(rig.instrument, NOW_NS, SNAPSHOT)
    rig.events()
    return rig


def test_a_book_goes_from_waiting_to_synced_and_says_so() -> None:
    rig = Rig()

    assert rig.engine.state(rig.instrument) == "waiting"
    assert rig.frame(diff(9, 12, 8)) == BUFFERED | EVENTS_PENDING
    assert rig.events() == [("resync", "start", 0)]
    assert rig.engine.on_snapshot(rig.instrument, NOW_NS, SNAPSHOT) == PUBLISHED | EVENTS_PENDING
    assert rig.events() == [("synced", "", 12)]
    assert rig.engine.state(rig.instrument) == "synced"
    assert rig.engine.canonical(rig.instrument) == b"100.4:2,100.5:1.5|100.6:1,100.7:0.25"
    assert rig.engine.canonical(rig.instrument, 1) == b"100.5:1.5|100.6:1"


def test_a_gap_shows_the_old_book_flagged_until_a_snapshot_comes(synced: Rig) -> None:
    synced.records()

    assert synced.frame(diff(20, 25, 19, '["100.5","9"]')) == BUFFERED | EVENTS_PENDING

    assert synced.events() == [("resync", "sequence_gap", 0)]
    assert synced.engine.state(synced.instrument) == "resyncing"
    (flagged,) = synced.records()
    assert flagged[:2] == (1, 2 | 16)
    assert flagged[7:9] == (1005, 150)
    fresh = SNAPSHOT.replace(b'"lastUpdateId":10', b'"lastUpdateId":22')
    assert synced.engine.on_snapshot(synced.instrument, NOW_NS, fresh) & PUBLISHED
    assert synced.engine.canonical(synced.instrument, 1) == b"100.5:9|100.6:1"


def test_a_crossing_diff_is_never_published(synced: Rig) -> None:
    synced.records()

    synced.frame(diff(13, 14, 12, '["100.6","1"]'))

    assert [record[1] for record in synced.records()] == [2 | 16]
    assert synced.engine.counters(synced.instrument)["crossed"] == 1
    assert synced.engine.rejects()["crossed_book"] == 1


def test_the_snapshot_buffer_is_the_documented_layout(synced: Rig) -> None:
    numbers = struct.unpack("=13q", synced.engine.snapshot(synced.instrument))

    assert numbers[:5] == (12, 1, 2, 2, 2)
    assert numbers[5:] == (1005, 150, 1004, 200, 1006, 100, 1007, 25)


def test_a_snapshot_before_the_first_book_is_empty() -> None:
    rig = Rig()

    assert struct.unpack("=5q", rig.engine.snapshot(rig.instrument)) == (0, 0, 0, 0, 0)


def test_bytes_and_memoryviews_are_the_same(synced: Rig) -> None:
    assert synced.frame(diff(13, 14, 12)) & PUBLISHED
    raw = bytearray(diff(15, 16, 14))
    assert synced.engine.on_frame(synced.connection, NOW_NS, memoryview(raw)) & PUBLISHED
    with pytest.raises(ValueError, match="contiguous"):
        synced.engine.on_frame(synced.connection, NOW_NS, memoryview(raw)[::2])


def test_deeper_books_start_with_the_present_state_and_cost_nothing_unread(synced: Rig) -> None:
    topic = synced.engine.enable_depth(synced.instrument, 50)
    assert synced.hub.find("test", "BTCUSDT", 0, 50) == topic

    reader = synced.hub.reader(topic, from_latest=True)
    assert [record.flags for record in reader.drain()] == [1]
    synced.frame(diff(13, 14, 12, '["99","1"]'))
    assert [record.bids() for record in reader.drain()] == [[(1005, 150), (1004, 200), (990, 100)]]

    head = synced.hub.head(topic)
    del reader
    synced.frame(diff(15, 16, 14))
    assert synced.hub.head(topic) == head


def test_a_removed_symbol_is_no_longer_collected(synced: Rig) -> None:
    synced.engine.remove_instrument(synced.instrument)

    assert synced.frame(diff(13, 14, 12)) == IGNORED
    assert synced.engine.totals()["not_collected"] == 1
    with pytest.raises(KeyError, match="no instrument"):
        synced.engine.state(synced.instrument)
    assert synced.engine.add_instrument(synced.venue, "BTCUSDT") != synced.instrument


def test_a_symbol_whose_book_is_no_longer_wanted_resyncs_when_it_is(synced: Rig) -> None:
    synced.engine.want_book(synced.instrument, False)
    synced.engine.desync(synced.instrument, "resubscribed")
    assert synced.frame(diff(13, 14, 12)) == IGNORED
    assert synced.engine.state(synced.instrument) == "resyncing"

    synced.engine.want_book(synced.instrument, True)
    assert synced.frame(diff(15, 16, 14)) & BUFFERED
    assert synced.events() == [("resync", "resubscribed", 0)]


def test_a_hole_in_trades_is_marked_and_told(synced: Rig) -> None:
    synced.records()
    for trade_id in (1, 5):
        synced.frame(trade(trade_id))

    kinds = [(record[0], record[5]) for record in synced.records()]
    assert kinds == [(2, 1), (7, 4), (2, 5)]
    assert synced.events() == [("gap", "venue_gap", 3)]
    assert synced.engine.counters(synced.instrument)["missing_trades"] == 3


def test_answers_and_notices_are_handed_over_whole(synced: Rig) -> None:
    reply, notice = b'{"result":null,"id":3}', b'{"e":"serverShutdown","E":1723161256313}'

    for raw in (reply, notice):
        synced.frame(raw)

    events = [(name, reason, raw) for name, _, _, reason, _, raw in synced.engine.take_events()]
    assert events == [("control", "reply", reply), ("control", "serverShutdown", notice)]


def test_frames_of_a_closed_connection_are_ignored(synced: Rig) -> None:
    synced.engine.close_connection(synced.connection)

    assert synced.frame(diff(13, 14, 12)) == IGNORED
    assert synced.engine.state(synced.instrument) == "synced"


def test_bulk_needs_as_many_times_as_frames(synced: Rig) -> None:
    with pytest.raises(ValueError, match="1 receive times for 2 frames"):
        synced.engine.on_frames(synced.connection, [1], [b"{}", b"{}"])


@pytest.mark.recordings
@pytest.mark.parametrize(
    ("file", "symbol", "rule"),
    [("spot/ethusdt_20240808", "ETHUSDT", "spot"), ("cm/btcusd_perp_20240808", "BTCUSD_PERP", "futures")],
)
def test_frame_by_frame_and_in_bulk_give_the_same_records_and_the_expected_hash(
    recordings: Path, file: str, symbol: str, rule: str
) -> None:
    lines = [(line.recv_ns, line.raw) for line in read_recording([recordings / f"{file}.gz"])]
    at = next(number for number, (_, raw) in enumerate(lines) if raw.startswith(b'{"lastUpdateId"'))
    expected = json.loads((recordings / "expected" / f"{file.replace('/', '_')}.json").read_text())

    single, bulk = Rig(rule, symbol, 1 << 25), Rig(rule, symbol, 1 << 25)
    for number, (recv_ns, raw) in enumerate(lines):
        if number == at:
            single.engine.on_snapshot(single.instrument, recv_ns, raw)
        else:
            single.engine.on_frame(single.connection, recv_ns, raw)
    for part, snapshot in ((lines[:at], lines[at]), (lines[at + 1 :], None)):
        for start in range(0, len(part), 777):
            chunk = part[start : start + 777]
            bulk.engine.on_frames(bulk.connection, [recv_ns for recv_ns, _ in chunk], [raw for _, raw in chunk])
        if snapshot:
            bulk.engine.on_snapshot(bulk.instrument, *snapshot)

    assert single.engine.counters(single.instrument) == bulk.engine.counters(bulk.instrument)
    assert single.records() == bulk.records()
    final = next(iter(expected["symbols"].values()))["book"]["final"]
    for rig in (single, bulk):
        assert hashlib.sha256(rig.engine.canonical(rig.instrument)).hexdigest() == final["sha256"]
        assert hashlib.sha256(rig.engine.canonical(rig.instrument, 20)).hexdigest() == final["top20_sha256"]
