"""Logging of what repeats: once in a while and in a line, whatever a stranger has put into it.

A site that has these in its ``LOGGING`` gets one line for a kind of bad request a minute::

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
SILENCE = 60.0

#: Characters of a stranger's text that a line may quote.
QUOTED = 200

#: And all of a line about a refused request.
LONGEST = 400

#: What a terminal or a reader of lines obeys instead of showing it: control characters (C0, DEL,
#: C1), other ends of lines, and marks that turn the direction of writing.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Pace:
    """Tells when something of a kind may be logged again, and counts what was left out.

    Args:
        seconds: between two of one kind.
    """

    def __init__(self, seconds: float = SILENCE) -> None:
        self._seconds = seconds
        #: By kind: when the next one may be logged, and how many have been left out.
        self._kinds: dict[Hashable, tuple[float, int]] = {}

    def left_out(self, kind: Hashable) -> int | None:
        """Ask before logging.

        Args:
            kind: one of few, because all are kept. Nothing that a stranger can choose.

        Returns:
            How many of this kind were left out since the last line; None if this one is, too.
        """
        now = time.monotonic()
        due, count = self._kinds.get(kind, (now, 0))
        if now < due:
            self._kinds[kind] = (due, count + 1)
            return None
        self._kinds[kind] = (now + self._seconds, 0)
        return count


class Seldom(logging.Filter):
    """Lets a record pass once a minute, without its traceback.

    For ``channels_redis.pubsub``, which logs a traceback every second while Redis is away, for
    each process::

        "filters": {"seldom": {"()": "notifications.logs.Seldom"}},
        "loggers": {"channels_redis.pubsub": {"filters": ["seldom"]}},
    """

    def __init__(self, seconds: float = SILENCE) -> None:
        super().__init__()
        self._pace = Pace(seconds)

    def filter(self, record: logging.LogRecord) -> bool:
        return _pass_on(record, self._pace.left_out(None))


class Strangers(logging.Filter):
    """Lets one record of a kind pass a minute, without its traceback, if a stranger can cause it.

    These are refused requests: 4xx of ``django.request``, all of ``django.security``, warnings of
    uvicorn. Everything else passes as it is. It belongs to a handler, because a filter of a logger
    does not see the records of its children.

    Args:
        seconds: between two of one kind.
        also: the first parts of names of more loggers that strangers make warn.
    """

    def __init__(self, seconds: float = SILENCE, also: Iterable[str] = ()) -> None:
        super().__init__()
        self._pace = Pace(seconds)
        self._warning = {"uvicorn", *also}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = self._refusal(record)
        return kind is None or _pass_on(record, self._pace.left_out(kind))

    def _refusal(self, record: logging.LogRecord) -> Hashable | None:
        """The kind of refused request that a record tells of; None for any other record."""
        if record.name.startswith("django.security"):
            return record.name
        if record.name == "django.request" and record.levelno < logging.ERROR:
            return (record.name, getattr(record, "status_code", None))
        first = record.name.partition(".")[0]
        if first in self._warning and record.levelno == logging.WARNING:
            return (record.name, record.msg)
        return None


class Line(logging.Formatter):
    """Writes one line a record, in which nothing is obeyed by a terminal or looks like another.

    A traceback follows in lines of its own, indented, so that none of them looks like a record.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        head, *traceback = super().format(record).split("\n")
        return "\n".join([head, *(f"    {printable(line)}" for line in traceback)])


def printable(text: str) -> str:
    """The text with escapes (``\\n``, ``\\x1b``) for what is no plain character of one line."""
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def since(left_out: int) -> str:
    """What a line says of those like it that were left out; see :meth:`Pace.left_out`."""
    return f"{left_out} more since the last such line"


def quoted(text: str) -> str:
    """What a stranger has sent, in quotes, in ASCII and no longer than a line has room for."""
    return ascii(text if len(text) <= QUOTED else f"{text[:QUOTED]}…")


def _pass_on(record: logging.LogRecord, left_out: int | None) -> bool:
    """Make a line of a record, unless it is left out itself."""
    if left_out is None:
        return False
    more = []
    if record.exc_info and record.exc_info[1] is not None:
        more.append(type(record.exc_info[1]).__name__)
    if left_out:
        more.append(since(left_out))
    text = record.getMessage()
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}…"
    record.msg, record.args = f"{text} ({', '.join(more)})" if more else text, ()
    record.exc_info = record.exc_text = record.stack_info = None
    return True
