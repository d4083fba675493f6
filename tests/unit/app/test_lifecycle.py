import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from raven.app.lifecycle import Lifecycle
from raven.errors import InternalError, NetworkTimeout
from raven.testing import ManualClock

SOURCE = Path(__file__).resolve().parents[3] / "src"


class Diary:
    """Parts that write down what happens to them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def part(self, lifecycle: Lifecycle, name: str) -> None:
        def note(what: str):  # type: ignore[no-untyped-def]
            async def act() -> None:
                self.lines.append(f"{what} {name}")

            return act

        lifecycle.add(name, start=note("start"), drain=note("drain"), stop=note("stop"))


async def until_started(lines: list[str], last: str) -> None:
    while f"start {last}" not in lines:  # noqa: ASYNC110 - no event to wait for
        await asyncio.sleep(0)


@pytest.mark.fault("P2")
async def test_parts_start_in_order_and_all_drain_before_any_stops_in_the_opposite_order(clock: ManualClock) -> None:
    lifecycle, diary = Lifecycle(clock), Diary()
    for name in ("engine", "feeds", "grpc"):
        diary.part(lifecycle, name)
    running = asyncio.create_task(lifecycle.run())
    await until_started(diary.lines, "grpc")

    lifecycle.stop()

    assert await running == 0
    assert diary.lines == [
        "start engine", "start feeds", "start grpc",
        "drain grpc", "drain feeds", "drain engine",
        "stop grpc", "stop feeds", "stop engine",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_program_with_code_0(clock: ManualClock, number: signal.Signals) -> None:
    lifecycle, diary = Lifecycle(clock), Diary()
    diary.part(lifecycle, "engine")
    running = asyncio.create_task(lifecycle.run())
    await until_started(diary.lines, "engine")

    os.kill(os.getpid(), number)

    assert await asyncio.wait_for(running, 5) == 0
    assert diary.lines[-1] == "stop engine"
    assert lifecycle.signal_received == number


@pytest.mark.fault("P2")
async def test_a_part_that_does_not_drain_is_abandoned_and_everything_is_closed_in_time(clock: ManualClock) -> None:
    lifecycle, diary = Lifecycle(clock, stop_budget_s=8.5), Diary()
    diary.part(lifecycle, "engine")

    async def for_ever() -> None:
        await asyncio.Event().wait()

    lifecycle.add("grpc", drain=for_ever, stop=for_ever)
    running = asyncio.create_task(lifecycle.run())
    await until_started(diary.lines, "engine")
    began = clock.monotonic()
    lifecycle.stop()
    while not running.done():
        await clock.advance(0.1)

    assert running.result() == 0
    assert diary.lines[-1] == "stop engine"
    assert clock.monotonic() - began < 10


@pytest.mark.fault("P2")
async def test_a_second_signal_skips_the_rest_of_the_draining(clock: ManualClock) -> None:
    lifecycle, diary = Lifecycle(clock), Diary()
    diary.part(lifecycle, "engine")
    draining = asyncio.Event()

    async def for_ever() -> None:
        draining.set()
        await asyncio.Event().wait()

    lifecycle.add("grpc", drain=for_ever)
    running = asyncio.create_task(lifecycle.run())
    await until_started(diary.lines, "engine")

    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(draining.wait(), 5)
    os.kill(os.getpid(), signal.SIGTERM)

    assert await asyncio.wait_for(running, 5) == 128 + signal.SIGTERM
    assert diary.lines == ["start engine", "stop engine"]


@pytest.mark.fault("P2")
async def test_after_a_second_signal_closing_takes_a_second_and_no_part_is_left_out(clock: ManualClock) -> None:
    lifecycle, diary = Lifecycle(clock), Diary()
    diary.part(lifecycle, "journal")
    closing = asyncio.Event()

    async def for_ever() -> None:
        closing.set()
        await asyncio.Event().wait()

    lifecycle.add("sinks", stop=for_ever)
    lifecycle.add("grpc", stop=for_ever)
    running = asyncio.create_task(lifecycle.run())
    await until_started(diary.lines, "journal")

    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(closing.wait(), 5)
    os.kill(os.getpid(), signal.SIGTERM)
    began = clock.monotonic()
    while not running.done():
        await clock.advance(0.1)

    assert running.result() == 128 + signal.SIGTERM
    assert diary.lines[-1] == "stop journal"
    assert clock.monotonic() - began < 3


async def test_what_started_is_stopped_when_a_later_part_cannot_start(clock: ManualClock) -> None:
    lifecycle, diary = Lifecycle(clock), Diary()
    diary.part(lifecycle, "engine")

    async def refuse() -> None:
        raise NetworkTimeout("port taken")

    lifecycle.add("grpc", start=refuse)
    diary.part(lifecycle, "never")

    with pytest.raises(NetworkTimeout, match="port taken"):
        await lifecycle.run()

    assert diary.lines == ["start engine", "drain engine", "stop engine"]


async def test_a_part_that_fails_to_stop_does_not_keep_the_others_from_stopping(clock: ManualClock) -> None:
    lifecycle, diary = Lifecycle(clock), Diary()
    diary.part(lifecycle, "engine")

    async def break_down() -> None:
        raise RuntimeError("no")

    lifecycle.add("grpc", stop=break_down)
    running = asyncio.create_task(lifecycle.run())
    await until_started(diary.lines, "engine")

    lifecycle.stop()

    assert await running == 0
    assert diary.lines[-1] == "stop engine"


async def test_a_task_that_should_run_for_ever_ends_the_program_when_it_fails(clock: ManualClock) -> None:
    lifecycle, diary = Lifecycle(clock), Diary()
    diary.part(lifecycle, "engine")

    async def fail() -> None:
        raise InternalError("broken")

    running = asyncio.create_task(lifecycle.run())
    await until_started(diary.lines, "engine")
    lifecycle.watch(asyncio.create_task(fail()))

    assert await running == 1
    assert diary.lines[-1] == "stop engine"


async def test_a_part_added_too_late_is_refused(clock: ManualClock) -> None:
    lifecycle, diary = Lifecycle(clock), Diary()
    diary.part(lifecycle, "engine")
    running = asyncio.create_task(lifecycle.run())
    await until_started(diary.lines, "engine")

    with pytest.raises(InternalError, match="added after the start"):
        lifecycle.add("late")

    lifecycle.stop()
    await running


def test_a_thread_that_does_not_come_back_does_not_keep_the_program() -> None:
    program = """
import asyncio, threading, time
from raven.app.lifecycle import exit_soon, run_program

async def main():
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
    return 7

run_program(main)
"""
    answer = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, check=False, timeout=120
    )

    assert answer.returncode == 7, answer.stderr.decode()
