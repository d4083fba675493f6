"""A crash cuts the tail and nothing else; a flipped bit, a hole or a swap costs the frames it hit, each told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raven.journal.segment import Damage, Frame, SegmentWriter, cut_torn_tail, frames_of

PAYLOADS = [bytes([number]) * (50 + number * 7) for number in range(1, 8)]


def written(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    writer = SegmentWriter(folder, 1)
    for payload in PAYLOADS:
        writer.commit([(1, payload)])
    writer.close()
    return writer.path


def whole(path: Path) -> list[bytes]:
    return [frame.payload for frame in frames_of(path) if isinstance(frame, Frame)]


def damage(path: Path) -> list[Damage]:
    return [one for one in frames_of(path) if isinstance(one, Damage)]


def test_frames_come_back_in_order(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert whole(path) == PAYLOADS
    assert damage(path) == []
    assert cut_torn_tail(path) is None


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("whole")).read_bytes()


@pytest.mark.fault("D4")
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_file_cut_anywhere_keeps_every_frame_before_the_cut(
    segment: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "0000000001.segment"
    at = data.draw(st.integers(0, len(segment)))
    path.write_bytes(segment[:at])
    ends = [sum(20 + len(one) for one in PAYLOADS[: count + 1]) for count in range(len(PAYLOADS))]
    kept = sum(end <= at for end in ends)

    tail = cut_torn_tail(path)

    assert whole(path) == PAYLOADS[:kept]
    assert (tail is None) == (at in (0, *ends))
    assert damage(path) == []


@pytest.mark.fault("D4")
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_flipped_bit_costs_one_frame_and_is_told(
    segment: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("flip") / "0000000001.segment"
    at, bit = data.draw(st.integers(0, len(segment) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(segment)
    changed[at] ^= 1 << bit
    path.write_bytes(changed)
    begins = [sum(20 + len(one) for one in PAYLOADS[:count]) for count in range(len(PAYLOADS) + 1)]
    hit = next(count for count in range(len(PAYLOADS)) if begins[count] <= at < begins[count + 1])

    assert whole(path) == PAYLOADS[:hit] + PAYLOADS[hit + 1 :]
    (told,) = damage(path)
    assert told.offset == begins[hit]
    assert told.is_tail == (hit == len(PAYLOADS) - 1)
    assert told.frames == (None if told.is_tail else 1)


@pytest.mark.fault("D4")
def test_rubbish_between_frames_and_a_missing_frame_are_told(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    second, third = 20 + len(PAYLOADS[0]), 40 + len(PAYLOADS[0]) + len(PAYLOADS[1])
    path.write_bytes(content[:second] + b"RVNF rubbish" + content[third:])

    assert whole(path) == PAYLOADS[:1] + PAYLOADS[2:]
    assert [(one.offset, one.size, one.frames) for one in damage(path)] == [(second, 12, 1)]
    assert "1 frame(s) lost" in str(damage(path)[0])


@pytest.mark.fault("D4")
def test_frames_that_were_swapped_or_taken_out_cleanly_are_told_too(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    second, third = 20 + len(PAYLOADS[0]), 40 + len(PAYLOADS[0]) + len(PAYLOADS[1])
    path.write_bytes(content[:second] + content[third:])

    assert whole(path) == PAYLOADS[:1] + PAYLOADS[2:]
    assert [(one.offset, one.size, one.frames) for one in damage(path)] == [(second, 0, 1)]
