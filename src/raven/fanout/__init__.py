"""Policy of distribution: who may ask for what, what they hear, and what is collected because of it.

The rings, the cursors and the sockets are native (`raven._core.GrpcServer`); this package decides which cursor
belongs where. Start reading at `subscriptions.Fanout`.
"""

from raven.fanout.dialect import Dialect
from raven.fanout.filters import FILTERS, Delivery
from raven.fanout.limits import Limits
from raven.fanout.past import NO_HISTORY
from raven.fanout.ports import CollectionRow, Collector, ControlPlane, History, Past, Streams
from raven.fanout.refusal import Refused, Status, Unobtainable
from raven.fanout.requests import Answer, Heartbeat, Question, Subscribe, Unsubscribe
from raven.fanout.subscriptions import Fanout

__all__ = [
    "FILTERS",
    "NO_HISTORY",
    "Answer",
    "CollectionRow",
    "Collector",
    "ControlPlane",
    "Delivery",
    "Dialect",
    "Fanout",
    "Heartbeat",
    "History",
    "Limits",
    "Past",
    "Question",
    "Refused",
    "Status",
    "Streams",
    "Subscribe",
    "Unobtainable",
    "Unsubscribe",
]
