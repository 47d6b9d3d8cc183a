"""Questions to the host's code that may take long: asked in threads of their own.

Whoever asks waits only briefly. An answer that comes later is kept for the next time, and until
then nobody else is held up: a question that hangs costs one thread, however often it is asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from typing import Generic, NamedTuple, TypeVar

from .lanes import Lane

T = TypeVar("T")

#: An answer that came too late is good for so long; seconds.
FRESH = 5.0


class Undecided(Exception):
    """There is no answer yet.

    Args:
        age: for how long it has been waited for, in seconds.
    """

    def __init__(self, age: float = 0.0) -> None:
        super().__init__(f"no answer for {age:.1f} s")
        self.age = age


class _Call(NamedTuple, Generic[T]):
    future: Future[T]
    began: float


class Asker(Generic[T]):
    """Asks one question at a time for each key.

    Args:
        lane: whose threads carry the questions.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._lock = threading.Lock()
        #: Under way, and somebody waits for the answer.
        self._asked: dict[Hashable, _Call[T]] = {}
        #: Nobody has waited for the end of these.
        self._late: dict[Hashable, _Call[T]] = {}
        #: When each of these has ended.
        self._ended: dict[Hashable, float] = {}

    def ask(self, key: Hashable, question: Callable[[], T], patience: float) -> T:
        """The answer to ``question``; one that came too late the last time counts.

        Args:
            key: whom it is about.
            patience: how long to wait; seconds.

        Raises:
            Undecided: it takes longer.
            Exception: what the question raises.
        """
        deadline = time.monotonic() + patience
        while True:
            with self._lock:
                late = self._take_late(key)
                other = self._asked.get(key) if late is None else None
                if late is None and other is None:
                    call = _Call(self._lane.submit(question), time.monotonic())
                    self._asked[key] = call
                    break
            if late is not None:
                return late.future.result()
            # Somebody else's answer may be of before what this one wants to know.
            if (
                other is not None
                and not wait({other.future}, max(0.0, deadline - time.monotonic())).done
            ):
                raise Undecided(time.monotonic() - other.began)
            time.sleep(0.0005)
        is_done = bool(wait({call.future}, max(0.0, deadline - time.monotonic())).done)
        with self._lock:
            del self._asked[key]
            # With all threads hanging it has not even begun, and need not.
            if not is_done and not call.future.cancel():
                self._late[key] = call
                call.future.add_done_callback(lambda _: self._end(key))
        if not is_done:
            raise Undecided(time.monotonic() - call.began)
        return call.future.result()

    def _take_late(self, key: Hashable) -> _Call[T] | None:
        """The late call of this key, if it has ended a moment ago."""
        now = time.monotonic()
        for other in [other for other, at in self._ended.items() if now - at > FRESH]:
            del self._ended[other]
            self._late.pop(other, None)
        call = self._late.get(key)
        if call is None:
            return None
        if not call.future.done():
            raise Undecided(now - call.began)
        self._ended.pop(key, None)
        return self._late.pop(key)

    def _end(self, key: Hashable) -> None:
        self._ended[key] = time.monotonic()
