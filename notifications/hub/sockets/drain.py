"""The end of a process under load: its sockets are closed in waves, so that nobody is stormed.

A client that is closed with 3001 comes back within its backoff, somewhere else. All at once they
would be a herd for whoever is left; spread over some seconds they are a day like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from math import ceil

from ...conf import app_settings
from ...protocol import codes
from ..connections import Connections
from .connection import CLOSE_TIMEOUT, Connection

#: Sockets closed per second while there is time for it: few enough for one worker to take up
#: beside its other work (a connect costs it 1 ms of CPU, see docs/benchmarks.md).
PACE = 100

#: Seconds between two waves.
WAVE = 0.1


async def drain(connections: Connections, hurry: asyncio.Event) -> None:
    """Close all sockets with 3001, in waves over ``DRAIN_SECONDS`` at most.

    Who is not closed yet is served as before; nobody new is admitted. Returns when the sockets
    are gone, or have had the time in which a close frame must be taken.

    Args:
        hurry: ends all waiting when it is set.
    """
    connections.is_draining = True
    for wave in waves(list(connections.all), app_settings.DRAIN_SECONDS):
        for connection in wave:
            connection.close(codes.SHUTDOWN)
        await _pause(hurry, WAVE)
    # A socket that is blocked is given up after CLOSE_TIMEOUT.
    for _ in range(ceil(2 * CLOSE_TIMEOUT / WAVE)):
        if not connections.all or hurry.is_set():
            return
        await _pause(hurry, WAVE)


def waves(connections: Sequence[Connection], seconds: float) -> Iterator[Sequence[Connection]]:
    """Cut into equal parts, one for each :data:`WAVE`: at :data:`PACE`, or faster to be in time.

    Args:
        seconds: that all of them may take; 0 makes one wave.
    """
    count = len(connections)
    size = max(ceil(PACE * WAVE), ceil(count / max(1, round(seconds / WAVE))))
    for start in range(0, count, size):
        yield connections[start : start + size]


async def _pause(hurry: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await hurry.wait()
    except TimeoutError:
        return
