"""A subscriber learns how much of a book lies beyond what a snapshot proved."""

from raven import _core
from raven.client.decode import decode
from raven.proto.market_data_pb2 import MarketDataMessage
from raven.topics import DataType

SNAPSHOT = b'{"lastUpdateId":100,"bids":[["99.5","1"],["99.4","1"]],"asks":[["99.6","1"],["99.7","1"]]}'
DIFF = (
    b'{"e":"depthUpdate","E":1723075200000,"T":1723075200000,"s":"BTCUSDT","U":99,"u":101,"pu":98,'
    b'"b":[["90.1","3"],["80.2","3"]],"a":[["99.8","2"]]}'
)


def test_levels_beyond_a_full_snapshot_are_counted_as_unproven() -> None:
    hub = _core.Hub()
    engine = _core.Engine(hub)
    venue = engine.add_venue("v", "futures")
    handle = engine.add_instrument(venue, "BTCUSDT")
    connection = engine.open_connection(venue)
    topic = hub.find("v", "BTCUSDT", DataType.ORDERBOOK)
    assert topic is not None
    reader = hub.reader(topic)

    engine.on_snapshot(handle, 1, SNAPSHOT, limit=2)
    engine.on_frame(connection, 2, DIFF)

    books = []
    for record in reader.drain():
        message = MarketDataMessage()
        message.ParseFromString(record.encode("v", "BTCUSDT", DataType.ORDERBOOK))
        books.extend(decode(message))
    assert [(len(book.bids), book.unproven_bids, len(book.asks), book.unproven_asks) for book in books] == [
        (2, 0, 2, 0),
        (4, 2, 3, 1),
    ]
