"""Logging that strangers cannot flood or forge: rate limits, and one printable line per record.

With these in its ``LOGGING``, a site gets one line per minute for each kind of bad request::

    "formatters": {"line": {"()": "notifications.logs.Line", "format": "…"}},
    "filters": {"strangers": {"()": "notifications.logs.Strangers"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler", "formatter": "line", "filters": ["strangers"],
        },
    },
    "loggers": {"django": {"handlers": []}},  # or Django's own handler prints it once more
"""

import logging
import re
import time
from collections.abc import Hashable, Iterable

#: Seconds between two lines of one kind.
INTERVAL = 60.0

#: Characters of a stranger's text that a line may quote.
MAX_QUOTED = 200

#: Characters of the message about a refused request.
MAX_MESSAGE = 400

#: What a terminal or a line reader interprets instead of showing: control characters (C0, DEL,
#: C1), other line separators, and marks that change the direction of writing.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class RateLimit:
    """Limits the rate of log lines of each kind, and counts those that are left out.

    Args:
        seconds: seconds between two lines of one kind.
    """

    def __init__(self, seconds: float = INTERVAL) -> None:
        self._seconds = seconds
        #: By kind: monotonic seconds at which the next line may be logged, and lines left out.
        self._kinds: dict[Hashable, tuple[float, int]] = {}

    def suppressed(self, kind: Hashable) -> int | None:
        """Decide whether a line may be logged now.

        Args:
            kind: the kind of the line. Kinds are kept forever, so strangers must not choose them.

        Returns:
            The number of lines of this kind that were left out since the last one; None if this
            one has to be left out, too.
        """
        now = time.monotonic()
        due, count = self._kinds.get(kind, (now, 0))
        if now < due:
            self._kinds[kind] = (due, count + 1)
            return None
        self._kinds[kind] = (now + self._seconds, 0)
        return count


class Seldom(logging.Filter):
    """Lets one record pass per minute, without its traceback.

    It is meant for ``channels_redis.pubsub``, which logs a traceback every second in each process
    while Redis is down::

        "filters": {"seldom": {"()": "notifications.logs.Seldom"}},
        "loggers": {"channels_redis.pubsub": {"filters": ["seldom"]}},

    Args:
        seconds: seconds between two records.
    """

    def __init__(self, seconds: float = INTERVAL) -> None:
        super().__init__()
        self._rate_limit = RateLimit(seconds)

    def filter(self, record: logging.LogRecord) -> bool:
        return _condense(record, self._rate_limit.suppressed(None))


class Strangers(logging.Filter):
    """Lets one record of a kind pass per minute, without its traceback, if strangers can cause it.

    These records are about refused requests: 4xx of ``django.request``, all of ``django.security``,
    and warnings of uvicorn. All others pass unchanged. Add it to a handler, because a filter of a
    logger does not see the records of its children.

    Args:
        seconds: seconds between two records of one kind.
        also: top-level names of other loggers whose warnings strangers can cause.
    """

    def __init__(self, seconds: float = INTERVAL, also: Iterable[str] = ()) -> None:
        super().__init__()
        self._rate_limit = RateLimit(seconds)
        self._warning = {"uvicorn", *also}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = self._refusal(record)
        return kind is None or _condense(record, self._rate_limit.suppressed(kind))

    def _refusal(self, record: logging.LogRecord) -> Hashable | None:
        """The kind of refused request that a record is about; None for other records."""
        if record.name.startswith("django.security"):
            return record.name
        if record.name == "django.request" and record.levelno < logging.ERROR:
            return (record.name, getattr(record, "status_code", None))
        first = record.name.partition(".")[0]
        if first in self._warning and record.levelno == logging.WARNING:
            return (record.name, record.msg)
        return None


class Line(logging.Formatter):
    """Formats a record as one line, with unprintable characters escaped.

    A traceback follows in indented lines, so that none of them looks like a record.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        head, *traceback = super().format(record).split("\n")
        return "\n".join([head, *(f"    {printable(line)}" for line in traceback)])


def printable(text: str) -> str:
    """Escape (``\\n``, ``\\x1b``) the characters that do not belong into one plain line."""
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def more_since_last(suppressed: int) -> str:
    """The note about lines that were left out; see :meth:`RateLimit.suppressed`."""
    return f"{suppressed} more since the last such line"


def quoted(text: str) -> str:
    """Quote a stranger's text as ASCII, cut to ``MAX_QUOTED`` characters."""
    return ascii(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}…")


def _condense(record: logging.LogRecord, suppressed: int | None) -> bool:
    """Return whether a record passes; if so, shorten it and add the note about omitted ones."""
    if suppressed is None:
        return False
    more = []
    if record.exc_info and record.exc_info[1] is not None:
        more.append(type(record.exc_info[1]).__name__)
    if suppressed:
        more.append(more_since_last(suppressed))
    text = record.getMessage()
    if len(text) > MAX_MESSAGE:
        text = f"{text[:MAX_MESSAGE]}…"
    record.msg, record.args = f"{text} ({', '.join(more)})" if more else text, ()
    record.exc_info = record.exc_text = record.stack_info = None
    return True
