"""What the hub writes to: the answer to a long-poll, or the open body of an SSE response.

Both are a :class:`~notifications.hub.sockets.writing.Socket`. Neither queues: a reader that does
not read holds a position only (P5).
"""

import asyncio
from collections.abc import Callable

from ...conf import app_settings
from ...hub.sockets.writing import ASGISend, ASGISocket
from ...protocol.codes import Disconnect
from ...protocol.prepared import Prepared
from ...streams.recovery import MAX_REPLY_SIZE


class PollSocket:
    """Takes the publications that answer a long-poll, up to a page; then it stays blocked."""

    __slots__ = ("_released", "_size", "ended", "has_failed", "taken")

    writer = None

    def __init__(self) -> None:
        self.has_failed = False
        self.taken: list[bytes] = []
        self._size = 0
        #: Set when there is something to answer, or nothing to wait for.
        self.ended = asyncio.Event()
        self._released = asyncio.Event()

    @property
    def is_blocked(self) -> bool:
        is_full = len(self.taken) >= app_settings.PAGE_SIZE or self._size >= MAX_REPLY_SIZE
        return is_full or self._released.is_set()

    def offer(self, message: Prepared) -> bool:
        data = message.payload
        assert isinstance(data, bytes)
        if not data:
            return True
        if self.is_blocked:
            return False
        self.taken.append(data)
        self._size += len(data)
        self.ended.set()
        return True

    async def drained(self) -> None:
        if self.is_blocked:
            await self._released.wait()

    async def close(self, disconnect: Disconnect) -> None:
        self.ended.set()

    def charge_to(self, charge: Callable[[float], None]) -> None:
        """Do nothing: a request has only one message."""

    def offer_short_to(self, take: Callable[[str | bytes], bool]) -> None:
        """Do nothing, for the same reason."""

    def when_gone(self, callback: Callable[[], None]) -> None:
        callback()

    def release(self) -> None:
        self._released.set()
        self.ended.set()

    def abort(self) -> None:
        """Do nothing: there is nothing buffered."""


class EventSocket(ASGISocket):
    """Writes events into the body of a response that has been started.

    Args:
        send: sends an event to the client.
        abort: drops the request's connection; None if the server cannot.
    """

    __slots__ = ("_abort", "ended")

    def __init__(self, send: ASGISend, abort: Callable[[], None] | None) -> None:
        super().__init__(send)
        self._abort = abort
        #: Set when the response has to end.
        self.ended = asyncio.Event()

    def offer(self, message: Prepared) -> bool:
        if not message.payload:
            return True
        if self.is_blocked:
            return False
        self._run(
            self._send({"type": "http.response.body", "body": message.payload, "more_body": True})
        )
        return True

    async def close(self, disconnect: Disconnect) -> None:
        """End the response once the socket is not blocked, because its end could not leave."""
        await self.drained()
        self.ended.set()

    def release(self) -> None:
        super().release()
        self.ended.set()

    def abort(self) -> None:
        if self._abort is not None:
            self._abort()
