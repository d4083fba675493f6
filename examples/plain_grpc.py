"""Without our client: stubs made from proto/ and nothing else. `python examples/plain_grpc.py [host:port]`.

Any language can do this; here the stubs are those that come with the package.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator

import grpc

from raven.proto.market_data_pb2 import ORDERBOOK, TRADES
from raven.proto.subscription_pb2 import SubscribeRequest, SubscriptionRequest
from raven.proto.subscription_pb2_grpc import MarketDataServiceStub

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "localhost:50051"
# Up to 64 messages that are ready together come in one frame: far fewer wake-ups for a language that is slow at them.
FILTERS = {"depth": "5", "batch": "64"}


def requests() -> Iterator[SubscriptionRequest]:
    symbols, data_types = ["BTCUSDT"], [ORDERBOOK, TRADES]
    yield SubscriptionRequest(subscribe=SubscribeRequest(symbols=symbols, data_types=data_types, filters=FILTERS))
    # The request side stays open: later this generator could yield an unsubscribe or a heartbeat.
    threading.Event().wait()


with contextlib.suppress(KeyboardInterrupt), grpc.insecure_channel(ADDRESS) as channel:
    for frame in MarketDataServiceStub(channel).StreamMarketData(requests()):
        for message in frame.batch or [frame]:
            print(message.WhichOneof("data"), message.sequence, message.flags)
