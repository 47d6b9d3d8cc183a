"""Two ways of writing to a socket: plain ASGI, and the extension of our server for built frames.

Neither queues (P5). A socket either accepts a message now or is *blocked*, and then the publication
is read from history later.
"""

from __future__ import annotations

import asyncio
import logging
import types
from array import array
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol

from ...protocol import codes
from ...protocol.codes import Disconnect
from ...protocol.prepared import Prepared

logger = logging.getLogger(__name__)

ASGISend = Callable[[dict[str, Any]], Awaitable[None]]

EXTENSION = "notifications.frames"


class FrameWriter(Protocol):
    """The ASGI extension ``notifications.frames``; see :mod:`notifications.server`."""

    def offer(self, message: Prepared) -> bool: ...
    def direct(self, ended: Callable[[], None]) -> int: ...
    def send_to_all(self, descriptors: array[int], data: bytes) -> list[int]: ...
    def take_rest(self, rest: bytes) -> None: ...
    @property
    def is_blocked(self) -> bool: ...
    async def drained(self) -> None: ...
    def charge_to(self, charge: Callable[[float], None]) -> None: ...
    def offer_short_to(self, take: Callable[[str | bytes], bool]) -> None: ...
    def when_gone(self, callback: Callable[[], None]) -> None: ...
    def abort(self) -> None: ...


class Socket(Protocol):
    """The operations of a socket that a connection needs."""

    @property
    def writer(self) -> FrameWriter | None:
        """The server's extension; None if the server has none or this is no websocket."""

    def offer(self, message: Prepared) -> bool:
        """Write ``message`` without waiting; if blocked, write nothing and return False."""

    @property
    def is_blocked(self) -> bool: ...

    @property
    def has_failed(self) -> bool:
        """Has a write failed? If so, nothing may be considered as arrived."""

    async def drained(self) -> None:
        """Wait until the socket is not blocked, or is released."""

    async def close(self, disconnect: Disconnect) -> None:
        """Write the close frame; on plain ASGI, wait until the socket is not blocked."""

    def charge_to(self, charge: Callable[[float], None]) -> None:
        """Set the callback that counts control frames and fragments, if the server reports them."""

    def offer_short_to(self, take: Callable[[str | bytes], bool]) -> None:
        """Set what may take very short messages before the consumer, if the server offers them."""

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once the server has released the socket; at once if it cannot tell."""

    def release(self) -> None:
        """Cancel pending writes and waits, because the consumer has ended."""

    def abort(self) -> None:
        """Drop the socket and its buffered data, if the server supports that."""


def open_socket(scope: dict[str, Any], send: ASGISend) -> Socket:
    """Return a socket that uses the server's extension if there is one, else plain ASGI."""
    writer: FrameWriter | None = scope.get("extensions", {}).get(EXTENSION)
    return ASGISocket(send) if writer is None else FrameSocket(send, writer)


class FrameSocket:
    """A socket on a server with the extension, where all sockets share each built frame."""

    __slots__ = ("_send", "offer", "writer")

    def __init__(self, send: ASGISend, writer: FrameWriter) -> None:
        self._send = send
        self.writer = writer
        #: The writer's bound method, which saves a call per delivery.
        self.offer = writer.offer

    @property
    def is_blocked(self) -> bool:
        return self.writer.is_blocked

    @property
    def has_failed(self) -> bool:
        return False  # a transport accepts all writes until the connection is lost

    async def drained(self) -> None:
        await self.writer.drained()

    async def close(self, disconnect: Disconnect) -> None:
        await _send_close(self._send, disconnect)

    def charge_to(self, charge: Callable[[float], None]) -> None:
        self.writer.charge_to(charge)

    def offer_short_to(self, take: Callable[[str | bytes], bool]) -> None:
        self.writer.offer_short_to(take)

    def when_gone(self, callback: Callable[[], None]) -> None:
        self.writer.when_gone(callback)

    def release(self) -> None:
        return

    def abort(self) -> None:
        self.writer.abort()


class ASGISocket:
    """A socket behind the plain ASGI ``send``, which suspends when the server's buffer is full.

    ``send`` is run up to its first suspension. If the buffer has room, it has finished by then,
    without a task. Otherwise a single task completes it, and the socket is blocked until then.
    """

    __slots__ = ("_loop", "_pending", "_released", "_send", "has_failed")

    writer = None

    def __init__(self, send: ASGISend) -> None:
        self.has_failed = False
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._pending: asyncio.Task[None] | None = None
        self._released = self._loop.create_future()

    @property
    def is_blocked(self) -> bool:
        return self._pending is not None and not self._pending.done()

    def offer(self, message: Prepared) -> bool:
        if self.is_blocked:
            return False
        self._run(self._send(_event(message)))
        return True

    async def drained(self) -> None:
        while self.is_blocked and not self._released.done():
            assert self._pending is not None
            await asyncio.wait({self._pending, self._released}, return_when=asyncio.FIRST_COMPLETED)

    async def close(self, disconnect: Disconnect) -> None:
        await self.drained()
        # Daphne allows an application to close with 1000 or 3000 to 4999 only.
        if disconnect == codes.MESSAGE_TOO_BIG:
            disconnect = codes.BAD_FRAME._replace(reason=disconnect.reason)
        await _send_close(self._send, disconnect)

    def charge_to(self, charge: Callable[[float], None]) -> None:
        """Do nothing: plain ASGI reports only messages."""

    def offer_short_to(self, take: Callable[[str | bytes], bool]) -> None:
        """Do nothing: on plain ASGI all messages go to the consumer."""

    def when_gone(self, callback: Callable[[], None]) -> None:
        callback()  # plain ASGI reports nothing after the disconnect

    def release(self) -> None:
        if not self._released.done():
            self._released.set_result(None)
        if self._pending is not None:
            self._pending.cancel()

    def abort(self) -> None:
        """Do nothing: without an abort in ASGI, the server drops the socket after the consumer."""

    def _run(self, sending: Awaitable[None]) -> None:
        if not isinstance(sending, types.CoroutineType):
            self._pending = asyncio.ensure_future(self._finish(sending))
            return
        try:
            waiting = sending.send(None)
        except StopIteration:
            return
        except Exception as error:
            self._failed(error)
            return
        if asyncio.isfuture(waiting):
            # Reset it as asyncio.Task does, so that others can await the same future meanwhile.
            waiting._asyncio_future_blocking = False
        self._pending = self._loop.create_task(self._finish(_resume(sending, waiting)))

    async def _finish(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Record a failed write: the peer is gone, or the server has rejected the message."""
        self.has_failed = True
        logger.debug("%s on writing to a socket", type(error).__name__)


def _event(message: Prepared) -> dict[str, Any]:
    payload = message.payload
    kind = "bytes" if isinstance(payload, bytes) else "text"
    return {"type": "websocket.send", kind: payload}


async def _send_close(send: ASGISend, disconnect: Disconnect) -> None:
    await send({"type": "websocket.close", "code": disconnect.code, "reason": disconnect.reason})


@types.coroutine
def _resume(sending: Coroutine[Any, Any, None], waiting: Any) -> Generator[Any, Any, None]:
    """Continue a coroutine that has been run up to its first suspension."""
    if asyncio.isfuture(waiting):
        waiting._asyncio_future_blocking = True
    try:
        while True:
            try:
                value = yield waiting
            except BaseException as error:
                waiting = sending.throw(error)
            else:
                waiting = sending.send(value)
    except StopIteration:
        return
