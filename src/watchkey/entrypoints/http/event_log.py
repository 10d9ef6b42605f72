"""What the service tells its operator while it runs: one JSON object a line, fixed event names, allow-listed fields."""

import logging
import re
import traceback
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Final, TextIO

import msgspec

from watchkey.entrypoints.http.limits import TokenBucket

FIELDS: Final = (
    "request_id",
    "caller",
    "peer",
    "route",
    "resource",
    "source",
    "outcome",
    "state",
    "code",
    "address",
    "seconds",
    "count",
    "seq",
    "revision",
    "version",
    "error",
    "why",
)
"""The fields an event may have. Bodies, headers, queries and tokens are not among them, so nothing can log them."""

_EVENT: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
_TEXT_MAX: Final = 300
_RATE: Final = 5.0
_BURST: Final = 50.0


class JsonLines(logging.Handler):
    """Writes records as JSON lines. An event that comes in masses is thinned out and says how many it stands for."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(logging.INFO)
        self._stream = stream
        self._buckets: dict[str, TokenBucket] = {}
        self._suppressed: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, or count it."""
        event = event_of(record)
        bucket = self._buckets.setdefault(event, TokenBucket(rate=_RATE, burst=_BURST, now=record.created))
        if not bucket.take(record.created):
            self._suppressed[event] = self._suppressed.get(event, 0) + 1
            return
        line = line_of(record, event)
        suppressed = self._suppressed.pop(event, 0)
        if suppressed:
            line["suppressed"] = suppressed
        try:
            self._stream.write(msgspec.json.encode(line).decode() + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # Nobody reads the log any more; the audit log does not depend on it, and neither do decisions.
            return


def event_of(record: logging.LogRecord) -> str:
    """The event's name; a message that is not a name (from a library) is replaced by the name of its logger."""
    message = record.msg
    if isinstance(message, str) and not record.args and _EVENT.fullmatch(message):
        return message
    return f"log.{record.name}"


def line_of(record: logging.LogRecord, event: str) -> dict[str, object]:
    """The JSON object of a record. Of an exception it has the type and the place; its text may quote a secret."""
    line: dict[str, object] = {
        "at": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "level": record.levelname.lower(),
        "event": event,
    }
    for name in FIELDS:
        value = record.__dict__.get(name)
        if isinstance(value, str):
            line[name] = value[:_TEXT_MAX]
        elif isinstance(value, bool | int | float):
            line[name] = value
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        line["error"] = type(error).__name__
        line["where"] = " < ".join(f"{PurePath(each.filename).name}:{each.lineno}" for each in reversed(frames))
    return line


def install(stream: TextIO) -> JsonLines:
    """Send everything that is logged in this process to `stream`, in this form only."""
    handler = JsonLines(stream)
    root = logging.getLogger()
    for other in list(root.handlers):
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("watchkey").setLevel(logging.INFO)
    return handler
