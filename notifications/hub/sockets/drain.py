"""Closes the sockets of a stopping process in waves, so that other workers are not flooded.

A client that is closed with 3001 reconnects to another worker within its backoff. Closing all at
once would cause a thundering herd; waves spread the reconnects over some seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from math import ceil

from ...conf import app_settings
from ...protocol import codes
from ..connections import Connections
from .connection import CLOSE_TIMEOUT, Connection

#: Sockets closed per second if ``DRAIN_SECONDS`` suffices: few enough for one worker to accept
#: beside its other work (a connect costs 1 ms of CPU, see docs/benchmarks.md).
PACE = 100

#: Seconds between two waves.
WAVE = 0.1


async def drain(connections: Connections, hurry: asyncio.Event) -> None:
    """Close all sockets with 3001, in waves over at most ``DRAIN_SECONDS``.

    Connections that have not been closed yet are served as before; new ones are not admitted.
    Returns when all sockets are gone, or when blocked ones have had time to accept a close frame.

    Args:
        connections: the connections of this process.
        hurry: cuts all waits short once it is set.
    """
    connections.is_draining = True
    for wave in waves(list(connections.all), app_settings.DRAIN_SECONDS):
        for connection in wave:
            connection.close(codes.SHUTDOWN)
        await pause(hurry, WAVE)
    # A blocked socket is given up after CLOSE_TIMEOUT.
    for _ in range(ceil(2 * CLOSE_TIMEOUT / WAVE)):
        if not connections.all or hurry.is_set():
            return
        await pause(hurry, WAVE)


def waves(connections: Sequence[Connection], seconds: float) -> Iterator[Sequence[Connection]]:
    """Split connections into waves of equal size, :data:`WAVE` seconds apart.

    They are closed at :data:`PACE`, or faster if ``seconds`` would not suffice.

    Args:
        connections: the connections to split.
        seconds: time for all waves; 0 makes one wave.
    """
    count = len(connections)
    size = max(ceil(PACE * WAVE), ceil(count / max(1, round(seconds / WAVE))))
    for start in range(0, count, size):
        yield connections[start : start + size]


async def pause(hurry: asyncio.Event, seconds: float) -> None:
    """Wait for this many seconds, or until ``hurry`` is set."""
    try:
        async with asyncio.timeout(seconds):
            await hurry.wait()
    except TimeoutError:
        return
