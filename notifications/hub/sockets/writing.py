"""Two ways to the same socket: plain ASGI, and the server's extension for framed messages.

Neither queues (P5). A socket either takes a message now or is *blocked*, and what it does not take
stays in history.
"""

from __future__ import annotations

import asyncio
import logging
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol

from ...protocol import codes
from ...protocol.codes import Disconnect
from ...protocol.prepared import Prepared

logger = logging.getLogger(__name__)

ASGISend = Callable[[dict[str, Any]], Awaitable[None]]

EXTENSION = "notifications.frames"


class FrameWriter(Protocol):
    """What the ASGI extension ``notifications.frames`` offers: see :mod:`notifications.server`."""

    def offer(self, message: Prepared) -> bool: ...
    @property
    def is_blocked(self) -> bool: ...
    async def drained(self) -> None: ...
    def charge_to(self, charge: Callable[[float], None]) -> None: ...
    def when_gone(self, callback: Callable[[], None]) -> None: ...
    def abort(self) -> None: ...


class Socket(Protocol):
    """What a connection needs of its socket."""

    def offer(self, message: Prepared) -> bool:
        """Write ``message`` without waiting; False, and nothing written, if it is blocked."""

    @property
    def is_blocked(self) -> bool: ...

    @property
    def has_failed(self) -> bool:
        """Was there a message that could not be written? Then nothing is known to have arrived."""

    async def drained(self) -> None:
        """Wait until it is not blocked, or is released."""

    async def close(self, disconnect: Disconnect) -> None:
        """Write the close frame, on plain ASGI as soon as the socket takes it."""

    def charge_to(self, charge: Callable[[float], None]) -> None:
        """Have frames counted that bring no message, as far as the server tells of them."""

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Call this when the server holds nothing of the socket any more, as far as it tells."""

    def release(self) -> None:
        """The consumer has ended: end what still waits for the socket."""

    def abort(self) -> None:
        """Drop it with whatever it holds, as far as the server lets us."""


def open_socket(scope: dict[str, Any], send: ASGISend) -> Socket:
    """The best way to the socket that the server offers."""
    writer: FrameWriter | None = scope.get("extensions", {}).get(EXTENSION)
    return ASGISocket(send) if writer is None else FrameSocket(send, writer)


class FrameSocket:
    """A socket of a server with the extension: one built frame goes to all of them."""

    __slots__ = ("_send", "_writer", "offer")

    def __init__(self, send: ASGISend, writer: FrameWriter) -> None:
        self._send = send
        self._writer = writer
        #: The writer's own method: a call less for each delivery.
        self.offer = writer.offer

    @property
    def is_blocked(self) -> bool:
        return self._writer.is_blocked

    @property
    def has_failed(self) -> bool:
        return False  # a transport takes everything until it is lost

    async def drained(self) -> None:
        await self._writer.drained()

    async def close(self, disconnect: Disconnect) -> None:
        await _send_close(self._send, disconnect)

    def charge_to(self, charge: Callable[[float], None]) -> None:
        self._writer.charge_to(charge)

    def when_gone(self, callback: Callable[[], None]) -> None:
        self._writer.when_gone(callback)

    def release(self) -> None:
        return

    def abort(self) -> None:
        self._writer.abort()


class ASGISocket:
    """A socket behind the ordinary ASGI ``send``, which waits exactly when the server is full.

    ``send`` is run up to its first wait. Where the socket has room it is then done, without a
    task; else it becomes the one task that waits, and the socket counts as blocked until then.
    """

    __slots__ = ("_loop", "_pending", "_released", "_send", "has_failed")

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
        self._run(self._send({"type": "websocket.send", "text": message.text}))
        return True

    async def drained(self) -> None:
        while self.is_blocked and not self._released.done():
            assert self._pending is not None
            await asyncio.wait({self._pending, self._released}, return_when=asyncio.FIRST_COMPLETED)

    async def close(self, disconnect: Disconnect) -> None:
        await self.drained()
        # Daphne lets an application close with 1000 or 3000 to 4999 only.
        if disconnect == codes.MESSAGE_TOO_BIG:
            disconnect = codes.BAD_FRAME._replace(reason=disconnect.reason)
        await _send_close(self._send, disconnect)

    def charge_to(self, charge: Callable[[float], None]) -> None:
        """Plain ASGI tells of messages only."""

    def when_gone(self, callback: Callable[[], None]) -> None:
        callback()  # plain ASGI tells nothing after the disconnect

    def release(self) -> None:
        if not self._released.done():
            self._released.set_result(None)
        if self._pending is not None:
            self._pending.cancel()

    def abort(self) -> None:
        """Plain ASGI has no such thing; the server drops the socket when the consumer ends."""

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
            # As a task does, so that others may await the same future before ours begins.
            waiting._asyncio_future_blocking = False
        self._pending = self._loop.create_task(self._finish(_resume(sending, waiting)))

    async def _finish(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """The peer is gone, and the server will say so; or the server refuses the message."""
        self.has_failed = True
        logger.debug("%s on writing to a socket", type(error).__name__)


async def _send_close(send: ASGISend, disconnect: Disconnect) -> None:
    await send({"type": "websocket.close", "code": disconnect.code, "reason": disconnect.reason})


@types.coroutine
def _resume(sending: Coroutine[Any, Any, None], waiting: Any) -> Generator[Any, Any, None]:
    """Drive a coroutine on that has already been run up to its first wait."""
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
