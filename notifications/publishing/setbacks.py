"""What keeps failing is set aside for a while, so that it holds up nobody else."""

import logging
import time
from collections.abc import Callable, Iterable
from threading import Lock
from typing import NamedTuple

from django.db import Error as DatabaseError

from ..metrics import SET_ASIDE

logger = logging.getLogger(__name__)

#: Seconds until what has failed is tried again: the first time, and at most.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class _Pause(NamedTuple):
    until: float
    seconds: float


class Setbacks:
    """Streams of this process that fail by themselves, each with a pause that grows.

    Safe in several threads. A stream is known by its primary key, or by its name while it has none.

    Args:
        clock: tells monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._pauses: dict[int | str, _Pause] = {}

    def resting(self) -> set[int | str]:
        """Those that are not to be tried yet."""
        if not self._pauses:
            return set()
        now = self._clock()
        with self._lock:
            # Nothing waits any more in those that nobody has tried for so long.
            self._pauses = {
                stream: pause
                for stream, pause in self._pauses.items()
                if pause.until + LONGEST_PAUSE > now
            }
            SET_ASIDE.set(len(self._pauses))
            return {stream for stream, pause in self._pauses.items() if pause.until > now}

    def failed(self, stream: int | str, error: BaseException) -> None:
        """It has failed alone. The first time is told."""
        with self._lock:
            before = self._pauses.get(stream)
            seconds = FIRST_PAUSE if before is None else min(2 * before.seconds, LONGEST_PAUSE)
            self._pauses[stream] = _Pause(self._clock() + seconds, seconds)
            SET_ASIDE.set(len(self._pauses))
        if before is None:
            logger.error(
                "Stream %s cannot publish (%s); it is set aside and tried again.",
                stream,
                type(error).__name__,
                # A bug keeps its traceback.
                exc_info=None if isinstance(error, DatabaseError) else error,
            )

    def succeeded(self, streams: Iterable[int | str]) -> None:
        """These work."""
        if not self._pauses:
            return
        with self._lock:
            back = [stream for stream in streams if self._pauses.pop(stream, None)]
            SET_ASIDE.set(len(self._pauses))
        for stream in back:
            logger.info("Stream %s publishes again.", stream)

    def forget(self) -> None:
        """Begin anew, as a new process does."""
        with self._lock:
            self._pauses.clear()
            SET_ASIDE.set(0)
