"""What iceoryx2 does with samples of 88 bytes from Python, one by one; `shm.py --iceoryx2` calls it.

    python benches/shm_iceoryx2.py SECONDS

Prints a line of JSON: samples per second of one core that sends and receives in turns, and the age of samples that a
second process sends at 10,000 a second.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time

import iceoryx2  # type: ignore[import-not-found, unused-ignore]

RATE, BURST = 10_000, 64


class Sample(ctypes.Structure):
    """As long as a trade on a ring."""

    _fields_ = [("words", ctypes.c_int64 * 11)]


def service(name: str) -> iceoryx2.PortFactoryPublishSubscribe:
    """Open or make a service that keeps as much as we send at once."""
    iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
    node = iceoryx2.NodeBuilder.new().create(iceoryx2.ServiceType.Ipc)
    builder = node.service_builder(iceoryx2.ServiceName.new(name)).publish_subscribe(Sample)
    return builder.subscriber_max_buffer_size(2 * BURST).open_or_create()


def throughput(seconds: float) -> float:
    """Send a burst, receive it, and so on; return samples per second of the receiving alone."""
    made = service(f"raven-bench-{os.getpid()}")
    publisher, subscriber = made.publisher_builder().create(), made.subscriber_builder().create()
    received, spent, end = 0, 0.0, time.perf_counter() + seconds
    sample = Sample()
    while time.perf_counter() < end:
        for _ in range(BURST):
            publisher.loan_uninit().write_payload(sample).send()
        started = time.perf_counter()
        while (one := subscriber.receive()) is not None:
            received += one.payload().contents.words[0] == 0
        spent += time.perf_counter() - started
    return received / spent


def write(name: str, seconds: float) -> None:
    """Send at a rate, with the time in the first word."""
    publisher = service(name).publisher_builder().create()
    print("ready", flush=True)
    started, sample = time.perf_counter(), Sample()
    for at in range(int(RATE * seconds)):
        while time.perf_counter() < started + at / RATE:
            pass
        loaned = publisher.loan_uninit()
        sample.words[0] = time.monotonic_ns()
        loaned.write_payload(sample).send()


def ages(name: str, seconds: float) -> list[int]:
    """Poll; return how old samples were when they were there."""
    subscriber = service(name).subscriber_builder().create()
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        if (one := subscriber.receive()) is not None:
            found.append(time.monotonic_ns() - one.payload().contents.words[0])
    return sorted(found)


def main() -> None:
    """Measure both, or be the writer."""
    seconds = float(sys.argv[1])
    if len(sys.argv) > 2:
        write(sys.argv[2], seconds)
        return
    rate = throughput(min(seconds, 1.0))
    name = f"raven-bench-age-{os.getpid()}"
    command = ["taskset", "-c", "0", sys.executable, __file__, str(seconds + 20), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        found = ages(name, seconds)
        writer.terminate()
    figures = {key: found[int(share * len(found))] for key, share in (("p50_ns", 0.5), ("p99_ns", 0.99))}
    print(json.dumps({"one_by_one_per_second": round(rate), "records": len(found)} | figures))


if __name__ == "__main__":
    main()
