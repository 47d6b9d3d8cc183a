"""Time and chance as the app sees them: both come from the seed.

There is one virtual time, that of the running loop, and a wall clock for each simulated process,
which may be wrong. :func:`install` puts them in the place of Python's own. It has to be called
before Django is loaded, because models take ``timezone.now`` as a default of their fields.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, tzinfo
from typing import Any

import jwt.api_jwt
from django.utils import timezone

#: What the clock of the world says when a run begins, as Unix time.
BEGINNING = 1_800_000_000.0

#: What the virtual monotonic clock says then.
START = 1000.0


class WallClock:
    """A clock on the wall of one process.

    Args:
        offset: seconds by which it is ahead of the world's.
        drift: seconds that it gains in each second.
    """

    def __init__(self, offset: float = 0.0, drift: float = 0.0) -> None:
        self.offset = offset
        self.drift = drift

    def time(self) -> float:
        now = virtual.now()
        return BEGINNING + now - START + self.offset + self.drift * (now - START)


TRUE_CLOCK = WallClock()

#: The clock of whoever is running.
wall: ContextVar[WallClock] = ContextVar("wall", default=TRUE_CLOCK)


class _Virtual:
    """Where the time comes from while a simulation runs."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = time.monotonic
        self.is_running = False
        self.chance = random.Random(0)


virtual = _Virtual()

_real_time, _real_monotonic, _real_sleep = time.time, time.monotonic, time.sleep
_real_urandom = os.urandom


def begin(now: Callable[[], float], seed: int) -> None:
    """From now on the time is that of ``now``, and all chance follows from the seed."""
    virtual.now = now
    virtual.is_running = True
    virtual.chance = random.Random(seed)
    random.seed(seed)


def end() -> None:
    """Give back the real time and real chance."""
    virtual.is_running = False


def _time() -> float:
    return wall.get().time() if virtual.is_running else _real_time()


def _monotonic() -> float:
    return virtual.now() if virtual.is_running else _real_monotonic()


def _sleep(seconds: Any) -> None:
    """Nobody else runs meanwhile, so nothing would change."""
    if not virtual.is_running:
        _real_sleep(seconds)


def _urandom(count: int) -> bytes:
    return virtual.chance.randbytes(count) if virtual.is_running else _real_urandom(count)


def _now() -> datetime:
    return datetime.fromtimestamp(_time(), UTC)


class _AnyDatetime(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, datetime)


class _Datetime(datetime, metaclass=_AnyDatetime):
    """The class as a library sees it that asks it for the present."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return datetime.fromtimestamp(_time(), tz)


class DatabaseTime:
    """What ``timezone`` is for code that asks the clock of the database.

    SQLite has none of its own; PostgreSQL, which is meant here, has.

    Args:
        clock: of the database.
    """

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)

    def __getattr__(self, name: str) -> Any:
        return getattr(timezone, name)


def install() -> None:
    """Take the place of Python's clocks and sources of chance, for good."""
    time.time = _time
    time.monotonic = _monotonic
    time.perf_counter = _monotonic
    time.thread_time = _monotonic  # nothing takes any time
    time.sleep = _sleep
    os.urandom = _urandom
    random._urandom = _urandom  # type: ignore[attr-defined]  # what ``secrets`` draws from
    timezone.now = _now
    jwt.api_jwt.datetime = _Datetime  # type: ignore[attr-defined]
