"""Market data of a Raven on this machine, straight from its memory: no socket, no copy on its side, nobody woken.

    from raven import shm
    from raven.topics import DataType

    with shm.Reader() as reader:                       # Raven runs with [shm] enabled
        trades = reader.open("binance_futures", "BTCUSDT", DataType.TRADES)
        for batch in trades.batches():
            print(batch.arrow())

Raven never waits for a reader. Who is too slow is overtaken, learns how many records it lost, exactly, and reads on.
"""

from raven.shm.batch import Batch
from raven.shm.reader import Reader, TopicName, TopicReader

__all__ = ["Batch", "Reader", "TopicName", "TopicReader"]
