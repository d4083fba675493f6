"""Faults of streams and REST, on a market without sockets."""

import json

import pytest

from raven.exchange import Fault
from raven.exchange.faults.chaos import ChaosScript
from raven.exchange.faults.malformed import MALFORMED_KINDS, spoil
from raven.exchange.reference import OutOfSync, ReferenceBook


def diffs(venue, *faults, seconds=5.0, name="btcusdt@depth@100ms"):
    """Return the diffs of a market with faults and of the same market without."""
    heard = []
    for with_faults in (True, False):
        one = venue("usdm")
        ear = one.listen(name)
        one.advance(1)
        for fault in faults if with_faults else ():
            one.faults.add(fault)
        one.advance(seconds)
        heard.append(ear.payloads())
    return heard


def test_dropped_events_are_missing_and_the_rest_is_unchanged(venue):
    faulty, clean = diffs(venue, Fault("drop", count=2))

    assert [payload for payload in clean if payload not in faulty] == clean[10:12]
    assert len(faulty) == len(clean) - 2


def test_a_gap_is_noticed_by_a_client_that_follows_the_rules(venue):
    faulty, _ = diffs(venue, Fault("gap", count=3))
    reference = ReferenceBook("BTCUSDT", is_futures=True)
    first = json.loads(faulty[0])
    reference.on_snapshot(json.dumps({"lastUpdateId": first["pu"], "bids": [], "asks": []}))

    for payload in faulty[:10]:
        reference.on_event(json.loads(payload))
    with pytest.raises(OutOfSync):
        reference.on_event(json.loads(faulty[10]))


def test_duplicated_and_reordered_events_are_the_same_events(venue):
    twice, clean = diffs(venue, Fault("duplicate"))
    assert twice[10] == twice[11] == clean[10]
    assert len(twice) == len(clean) + 1

    swapped, clean = diffs(venue, Fault("reorder"))
    assert swapped[10:12] == [clean[11], clean[10]]
    assert sorted(swapped) == sorted(clean)


def test_silence_lasts_its_time_and_strikes_only_its_target(venue):
    one = venue("usdm")
    muted, other = one.listen("btcusdt@depth@100ms"), one.listen("ethusdt@depth@100ms")
    one.faults.add(Fault("silence", target="btcusdt@*", count=0, seconds=2.0))

    one.advance(1.9)
    assert muted.out == []
    assert other.out
    one.advance(1)
    assert muted.out
    assert one.faults.active() == []


def test_a_delayed_event_arrives_later_whole(venue):
    delayed, clean = diffs(venue, Fault("delay", seconds=0.25))

    assert delayed[12] == clean[10]
    assert sorted(delayed) == sorted(clean)


def test_a_fault_of_another_market_strikes_nothing(venue):
    faulty, clean = diffs(venue, Fault("drop", market="spot", count=0))

    assert faulty == clean


@pytest.mark.parametrize("how", MALFORMED_KINDS)
def test_every_malformation_changes_the_frame(venue, how):
    faulty, clean = diffs(venue, Fault("malformed", how=how), name="btcusdt@bookTicker")

    changed = [index for index, (one, other) in enumerate(zip(faulty, clean, strict=True)) if one != other]
    assert len(changed) == 1


def test_a_spoiled_price_is_the_first_of_a_diff():
    assert spoil(b'{"b":[["1.5","2"]],"a":[]}', "not_a_number") == b'{"b":[["NaN","2"]],"a":[]}'


def test_faults_can_be_listed_and_called_off(venue):
    one = venue("usdm")
    number = one.faults.add(Fault("drop", count=0))
    assert [listed for listed, _ in one.faults.active()] == [number]

    assert one.faults.remove(number)
    assert not one.faults.remove(number)
    assert not one.faults.armed


def test_calling_a_reordering_off_sends_what_it_holds(venue):
    one = venue("usdm")
    ear = one.listen("btcusdt@depth@100ms")
    number = one.faults.add(Fault("reorder", count=1))
    one.advance(0.15)
    held = len(ear.out)
    one.faults.remove(number)

    assert (held, len(ear.out)) == (0, 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "explode"}, "is not one of drop"),
        ({"kind": "drop", "market": "nyse"}, "market 'nyse'"),
        ({"kind": "malformed", "how": "odd"}, "how 'odd'"),
        ({"kind": "drop", "probability": 0}, "probability"),
        ({"kind": "silence"}, "needs seconds"),
        ({"kind": "drop", "colour": "red"}, "not known"),
        ({}, "give at least a kind"),
    ],
)
def test_faults_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Fault.from_json(fields)


def test_a_rest_fault_strikes_its_endpoint_and_symbol_so_often(venue):
    faults = venue("usdm").faults
    faults.add(Fault("http_500", target="BTCUSDT", count=2))

    assert faults.take_rest("usdm", "depth", "ETHUSDT") is None
    assert faults.take_rest("usdm", "trades", "BTCUSDT") is None
    assert [faults.take_rest("usdm", "depth", "BTCUSDT") is not None for _ in range(3)] == [True, True, False]


def test_a_stale_snapshot_is_the_first_one_again(venue):
    faults = venue("usdm").faults
    params = {"symbol": "BTCUSDT", "limit": "5"}

    assert faults.keep_snapshot("usdm", params, "old", stale=False) == "old"
    assert faults.keep_snapshot("usdm", params, "new", stale=True) == "old"
    assert faults.keep_snapshot("usdm", params, "new", stale=False) == "new"


def test_chance_with_a_seed_draws_the_same_faults(venue):
    draws = [[ChaosScript(venue("usdm"), seed, 10.0).draw() for _ in range(1)] for seed in (5, 5)]
    many = ChaosScript(venue("usdm"), 5, 10.0)

    assert draws[0] == draws[1]
    assert len({many.draw().kind for _ in range(200)}) == 15
