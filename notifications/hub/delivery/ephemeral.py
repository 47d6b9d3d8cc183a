"""Writes publications that are not stored to the readers of their channels.

Nothing can repair a loss, so nothing is promised: a reader whose socket is blocked misses them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping

from ...metrics import EPHEMERAL_DROPPED, WRITTEN
from ...protocol.codec import Encodings
from ...streams.encoding import Publication, announced
from ..sockets.connection import Reader
from .encoding import encodings
from .repairs import SLICE
from .stream import LocalStream

#: Publications that wait while others are written to thousands of readers; older ones are dropped.
MAX_WAITING = 1000


class Ephemeral:
    """Writes publications in the order in which they arrive.

    Args:
        streams: the streams of this process, by name.
    """

    def __init__(self, streams: Mapping[str, LocalStream]) -> None:
        self._streams = streams
        self._waiting: deque[tuple[LocalStream, Publication]] = deque(maxlen=MAX_WAITING)
        self._task: asyncio.Task[None] | None = None

    def deliver(self, channel: str, content: bytes, at: int) -> None:
        """Write a publication to the readers of a channel.

        Args:
            channel: name of the channel.
            content: see :func:`notifications.streams.encoding.announced`.
            at: when it was published, in microseconds since 1970.
        """
        stream = self._streams.get(channel)
        if stream is None or not stream.apart:
            return
        publication = announced(channel, 0, content, at)
        is_idle = self._task is None or self._task.done()
        if is_idle and len(stream.apart) <= SLICE:
            write(stream.apart, encodings(channel, publication))
            return
        if len(self._waiting) == MAX_WAITING:
            EPHEMERAL_DROPPED.inc(len(self._waiting[0][0].apart))
        self._waiting.append((stream, publication))
        if is_idle:
            self._task = asyncio.create_task(self._write_waiting())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write_waiting(self) -> None:
        while self._waiting:
            stream, publication = self._waiting.popleft()
            forms = encodings(stream.name, publication)
            readers = list(stream.apart)
            for start in range(0, len(readers), SLICE):
                write(readers[start : start + SLICE], forms)
                await asyncio.sleep(0)


def write(readers: Iterable[Reader], forms: Encodings) -> None:
    """Write a publication to these readers, except where the socket is blocked."""
    written = dropped = 0
    for reader in readers:
        if not reader.is_live:
            continue
        if reader.offer(forms[reader.codec]):
            written += 1
        else:
            dropped += 1
    WRITTEN.inc(written)
    EPHEMERAL_DROPPED.inc(dropped)
