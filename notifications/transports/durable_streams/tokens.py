"""The opaque texts of Durable Streams: offsets and cursors.

An offset is ``<16 hexadecimal digits>_<epoch>``. The digits come first and have a fixed width, so
that the offsets of one epoch sort as texts. With another epoch, the history is another one.

Source: sections 8 and 10 of
https://github.com/durable-streams/durable-streams/blob/main/PROTOCOL.md.
"""

import random
import re
from collections.abc import Callable

from ...connect.reading import BEGINNING, TAIL
from ...streams.positions import Position

#: Special offsets: before the first message that the reader may see, and after the last one.
SENTINELS = {"-1": BEGINNING, "now": TAIL}

OFFSET = re.compile(r"([0-9a-f]{16})_([0-9A-Za-z_-]{1,16})\Z")

#: Seconds of one cursor, and the Unix time at which they are counted from (9 October 2024, UTC).
INTERVAL = 20
FIRST_INTERVAL_AT = 1_728_432_000

#: A cursor that a client may send back. Longer ones are ignored.
CURSOR = re.compile(r"[0-9]{1,15}\Z")

#: Longest jump of a cursor, in seconds.
MAX_JITTER = 3600


class InvalidOffset(ValueError):
    """A text that is no offset of this server."""


def offset_token(epoch: str, offset: int) -> str:
    """The offset of a reader that has got everything up to ``offset``."""
    return f"{offset:016x}_{epoch}"


def parse_offset(token: str) -> Position:
    """Read an offset that a client sends.

    Returns:
        A position, which may belong to another epoch or never have been given;
        :data:`~notifications.connect.reading.BEGINNING` for ``-1`` and
        :data:`~notifications.connect.reading.TAIL` for ``now``.

    Raises:
        InvalidOffset: it cannot have come from this server.
    """
    if token in SENTINELS:
        return SENTINELS[token]
    match = OFFSET.match(token)
    if match is None:
        raise InvalidOffset
    return Position(match[2], int(match[1], 16))


def next_cursor(
    sent: str, now: float, randrange: Callable[[int, int], int] = random.randrange
) -> int:
    """The cursor of a live response: which interval it is, but always more than what was sent.

    Args:
        sent: the cursor of the request; "" for none.
        now: Unix time in seconds.
        randrange: returns a random number from the first one up to below the second.
    """
    current = current_interval(now)
    known = int(sent) if CURSOR.match(sent) else -1
    if known < current:
        return current
    return known + max(1, randrange(1, MAX_JITTER + 1) // INTERVAL)


def current_interval(now: float) -> int:
    return int(now - FIRST_INTERVAL_AT) // INTERVAL
