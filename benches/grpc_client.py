"""A plain grpcio client that counts what it gets: `grpc_client.py PORT`. Prints one JSON line. Run by `grpc_native.py`.

The stubs are generated into a temporary directory, as a stranger would do from the proto files alone.
"""

import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

import grpc
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent


def stubs(directory: str) -> tuple[object, object]:
    """Generate and import the modules of messages and services."""
    code = protoc.main(
        [
            "protoc",
            f"-I{ROOT / 'proto'}",
            f"--python_out={directory}",
            f"--grpc_python_out={directory}",
            "market_data.proto",
            "subscription.proto",
        ]
    )
    if code != 0:
        raise SystemExit("protoc failed on proto/*.proto")
    sys.path.insert(0, directory)
    return importlib.import_module("subscription_pb2"), importlib.import_module("subscription_pb2_grpc")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        _, services = stubs(directory)
        channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}")
        frames = messages = holes = reached = 0
        start = 0.0
        never = iter(lambda: time.sleep(3600), None)
        try:
            for message in services.MarketDataServiceStub(channel).StreamMarketData(never):
                start = start or time.perf_counter()
                frames += 1
                if count := len(message.batch):
                    messages += count
                    # First, last and count show every hole without building an object per message.
                    holes += message.batch[0].sequence - reached - 1
                    reached = message.batch[-1].sequence
                    holes += reached - message.batch[0].sequence + 1 - count
                else:
                    messages += 1
                    holes += message.sequence - reached - 1
                    reached = message.sequence
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
        seconds = time.perf_counter() - start
        print(json.dumps({"messages": messages, "frames": frames, "holes": holes, "seconds": seconds}))


main()
