"""Captures of `raven --record`: several files are one, in the order of what happened, whatever a crash has left."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from raven.errors import DataValidation
from raven.recording import Damage, capture_heads, note_of, read_recording, recording_files


def head(connection: int, part: int = 1, run: str = "a", venue: str = "binance_spot") -> str:
    return (
        f'{{"raven":"capture","format":1,"version":"0","run":"{run}","venue":"{venue}","rule":"spot",'
        f'"connection":{connection},"category":"all","url":"ws://x","part":{part}}}'
    )


def write(path: Path, *members: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(gzip.compress("".join(f"{line}\n" for line in lines).encode()) for lines in members))
    return path


def frames(files: list[Path]) -> list[tuple[int, bytes]]:
    return [(line.recv_ns, line.raw) for line in read_recording(files)]


def test_connections_and_hours_are_merged_by_time_and_the_recorders_lines_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "v" / "a-2.gz", [f"10 {head(0, part=2)}", '10 {"e":6}'])
    write(tmp_path / "v" / "a-1.gz", [f"1 {head(0)}", '1 {"raven":"sent","message":"hi"}'], ['2 {"e":1}', '6 {"e":4}'])
    write(tmp_path / "v" / "b-1.gz", [f"3 {head(1)}", '3 {"e":2}', '5 {"e":3}', '7 {"e":5}', '9 {"raven":"closed"}'])

    files = recording_files([tmp_path])

    assert [raw for _, raw in frames(files)] == [b'{"e":%d}' % number for number in range(1, 7)]
    assert [note.raven for line in read_recording(files, notes=True) if (note := note_of(line.raw))] == [
        "capture", "sent", "capture", "closed", "capture",
    ]  # fmt: skip
    assert {head.connection for head in capture_heads(files)} == {0, 1}


def test_what_was_held_back_stands_where_it_was_handed_over(tmp_path: Path) -> None:
    old = write(tmp_path / "old.gz", [f"1 {head(0)}", '1 {"e":1}', '5 {"e":2}', '6 {"raven":"closed"}'])
    new = write(
        tmp_path / "new.gz", [f"2 {head(1)}", '7 {"raven":"changeover"}', '4 {"e":3}', '6 {"e":4}', '8 {"e":5}']
    )

    assert frames([new, old]) == [
        (1, b'{"e":1}'), (5, b'{"e":2}'), (4, b'{"e":3}'), (6, b'{"e":4}'), (8, b'{"e":5}'),
    ]  # fmt: skip


def test_a_torn_tail_costs_its_last_line_and_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gz", [f"1 {head(0)}", '1 {"e":1}'], [f'{n} {{"e":{n * 7919}}}' for n in range(2, 2_000)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-400])
    told: list[Damage] = []

    lines = list(read_recording([path], on_damage=told.append))

    assert [line.raw for line in lines[:2]] == [b'{"e":1}', b'{"e":15838}']
    assert 1_000 < len(lines) < 2_000
    assert [line.recv_ns for line in lines] == list(range(1, len(lines) + 1))
    assert [(damage.is_tail, damage.line) for damage in told] == [(True, len(lines) + 1)]


def test_a_file_with_nothing_whole_in_it_spoils_no_capture(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.gz", [f"1 {head(0)}", '1 {"e":1}'])
    (tmp_path / "b.gz").write_bytes(b"")
    (tmp_path / "c.gz").write_bytes(whole.read_bytes()[:12])

    told: list[Damage] = []
    lines = list(read_recording(recording_files([tmp_path]), on_damage=told.append))

    assert [line.raw for line in lines] == [b'{"e":1}']
    assert told == [], "nothing of them can be missed"


@pytest.mark.parametrize("spoiled", range(12, 600, 49))
def test_a_flipped_bit_costs_one_block_and_no_line_is_wrong(tmp_path: Path, spoiled: int) -> None:
    blocks = [[f'{n} {{"e":{n**5}}}' for n in range(start, start + 40)] for start in range(2, 122, 40)]
    path = write(tmp_path / "a.gz", [f"1 {head(0)}"], *blocks)
    content = bytearray(path.read_bytes())
    first = len(gzip.compress(f"1 {head(0)}\n".encode()))
    content[first + spoiled] ^= 0x10
    path.write_bytes(bytes(content))
    told: list[Damage] = []

    lines = list(read_recording([path], on_damage=told.append))

    assert all(line.raw == b'{"e":%d}' % line.recv_ns**5 for line in lines)
    if told:
        assert 40 <= len(lines) < 120, "another block than the damaged one was read"
    else:
        # Bits in the head of a block that say nothing about its content.
        assert len(lines) == 120


def test_frames_in_hexadecimal_come_back_as_they_were(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.gz", [f"1 {head(0)}", '2 {"raven":"frame","hex":"7b0a7d"}', '3 {"raven":"frame","hex":""}']
    )
    assert frames([path]) == [(2, b"{\n}"), (3, b"")]


def test_a_capture_of_a_later_version_and_a_mixture_are_refused(tmp_path: Path) -> None:
    later = write(tmp_path / "later.gz", ["1 " + head(0).replace('"format":1', '"format":2')])
    with pytest.raises(DataValidation, match="format 2, this version reads 1"):
        frames([later])
    capture, other = write(tmp_path / "a.gz", [f"1 {head(0)}"]), write(tmp_path / "b.gz", ['1 {"e":1}'])
    with pytest.raises(DataValidation, match=r"b\.gz: no capture, but others"):
        frames([capture, other])
    with pytest.raises(DataValidation, match=r"no recording in it"):
        recording_files([_empty(tmp_path)])


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"
