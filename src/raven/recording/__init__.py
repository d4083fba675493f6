"""Reading recordings: gzip or plain text, one message per line, `<local receive time, ns since 1970> <raw JSON>`.

The JSON is a WebSocket frame as received, or the answer to a REST depth request: bare (`{"lastUpdateId":…}`, when one
file holds one symbol) or wrapped with its request (`{"rest": "<path and query>", "body": <answer>}`).

What `raven --record` writes is the same and more: `{"raven": …}` lines say what else happened, so that everything can
be derived from it again. docs/how-to/record-and-replay.md lists them.
"""

from raven.recording.events import DepthAnswer, depth_answer, market_of, stream_name
from raven.recording.lines import RecordedLine, capture_heads, read_recording, recording_files
from raven.recording.notes import CAPTURE_FORMAT, CaptureHead, Note, capture_head, note_line, note_of
from raven.recording.texts import Damage

__all__ = [
    "CAPTURE_FORMAT",
    "CaptureHead",
    "Damage",
    "DepthAnswer",
    "Note",
    "RecordedLine",
    "capture_head",
    "capture_heads",
    "depth_answer",
    "market_of",
    "note_line",
    "note_of",
    "read_recording",
    "recording_files",
    "stream_name",
]
