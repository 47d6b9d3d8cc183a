"""Simulated clocks and randomness, both determined by the seed.

There is one virtual monotonic time, that of the running loop. Each simulated process has a wall
clock of its own, which may be wrong. :func:`install` replaces Python's clocks and sources of
randomness. Call it before Django is loaded, because model fields take ``timezone.now`` as their
default.
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

#: True time at the start of a run, as a Unix timestamp in seconds.
BEGINNING = 1_800_000_000.0

#: Virtual monotonic time at the start of a run, in seconds.
START = 1000.0


class WallClock:
    """The wall clock of one process.

    Args:
        offset: seconds by which it is ahead of true time.
        drift: seconds that it gains per second.
    """

    def __init__(self, offset: float = 0.0, drift: float = 0.0) -> None:
        self.offset = offset
        self.drift = drift

    def time(self) -> float:
        now = virtual.now()
        return BEGINNING + now - START + self.offset + self.drift * (now - START)


TRUE_CLOCK = WallClock()

#: The wall clock of the code that is running.
wall: ContextVar[WallClock] = ContextVar("wall", default=TRUE_CLOCK)


class _Virtual:
    """The sources of time and randomness while a simulation runs."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = time.monotonic
        self.is_running = False
        self.chance = random.Random(0)


virtual = _Virtual()

_real_time, _real_monotonic, _real_sleep = time.time, time.monotonic, time.sleep
_real_urandom = os.urandom


def begin(now: Callable[[], float], seed: int) -> None:
    """Take the time from ``now``, in seconds, and all randomness from ``seed``."""
    virtual.now = now
    virtual.is_running = True
    virtual.chance = random.Random(seed)
    random.seed(seed)


def end() -> None:
    """Return to real time and real randomness."""
    virtual.is_running = False


def _time() -> float:
    return wall.get().time() if virtual.is_running else _real_time()


def _monotonic() -> float:
    return virtual.now() if virtual.is_running else _real_monotonic()


def _sleep(seconds: Any) -> None:
    """Return at once: everything runs in one thread, so nothing would change meanwhile."""
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
    """Stand-in for ``datetime`` in a library that calls ``datetime.now()``."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return datetime.fromtimestamp(_time(), tz)


class DatabaseTime:
    """Stand-in for ``timezone`` in modules whose ``now()`` stands for the database's clock.

    SQLite runs in the process and has no clock of its own. PostgreSQL, which the simulation
    stands for, has the clock of its host.

    Args:
        clock: the clock of the database host.
    """

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)

    def __getattr__(self, name: str) -> Any:
        return getattr(timezone, name)


def install() -> None:
    """Replace Python's clocks and sources of randomness, for the rest of the process."""
    time.time = _time
    time.monotonic = _monotonic
    time.perf_counter = _monotonic
    time.thread_time = _monotonic  # no code takes any CPU time
    time.sleep = _sleep
    os.urandom = _urandom
    random._urandom = _urandom  # type: ignore[attr-defined]  # what ``secrets`` draws from
    timezone.now = _now
    jwt.api_jwt.datetime = _Datetime  # type: ignore[attr-defined]
