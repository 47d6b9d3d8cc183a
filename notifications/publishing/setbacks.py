"""Setting aside streams that keep failing, so that they do not delay others."""

import logging
import time
from collections.abc import Callable, Iterable
from threading import Lock
from typing import NamedTuple

from django.db import Error as DatabaseError

from ..metrics import SET_ASIDE

logger = logging.getLogger(__name__)

#: Seconds until a failed stream is retried: after the first failure, and at most.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class _Pause(NamedTuple):
    until: float
    seconds: float


class Setbacks:
    """The streams that fail by themselves in this process, each with a pause that doubles.

    A stream is identified by its primary key, or by its name before it has been created.
    Thread-safe.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._pauses: dict[int | str, _Pause] = {}

    def paused(self) -> set[int | str]:
        """The streams whose pause has not ended yet."""
        if not self._pauses:
            return set()
        now = self._clock()
        with self._lock:
            # A stream that was not retried long after its pause has nothing waiting any more.
            self._pauses = {
                stream: pause
                for stream, pause in self._pauses.items()
                if pause.until + LONGEST_PAUSE > now
            }
            SET_ASIDE.set(len(self._pauses))
            return {stream for stream, pause in self._pauses.items() if pause.until > now}

    def failed(self, stream: int | str, error: BaseException) -> None:
        """Record that a stream has failed by itself; the first failure is logged."""
        with self._lock:
            before = self._pauses.get(stream)
            seconds = FIRST_PAUSE if before is None else min(2 * before.seconds, LONGEST_PAUSE)
            self._pauses[stream] = _Pause(self._clock() + seconds, seconds)
            SET_ASIDE.set(len(self._pauses))
        if before is None:
            logger.error(
                "Publishing to stream %s failed (%s); it will be retried with growing pauses.",
                stream,
                type(error).__name__,
                # An error that is not of the database is a bug, so its traceback is logged.
                exc_info=None if isinstance(error, DatabaseError) else error,
            )

    def succeeded(self, streams: Iterable[int | str]) -> None:
        """Record that these streams work, and log those that had failed before."""
        if not self._pauses:
            return
        with self._lock:
            back = [stream for stream in streams if self._pauses.pop(stream, None)]
            SET_ASIDE.set(len(self._pauses))
        for stream in back:
            logger.info("Publishing to stream %s works again.", stream)

    def clear(self) -> None:
        """Forget all failures, as in a new process."""
        with self._lock:
            self._pauses.clear()
            SET_ASIDE.set(0)
