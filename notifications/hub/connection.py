"""A connection as the hub sees it: a socket that takes frames, and its place in each stream."""

from __future__ import annotations

import asyncio
import logging
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from ..metrics import DISCONNECTS
from ..protocol.codes import Disconnect
from ..session import Session

if TYPE_CHECKING:
    from .stream import LocalStream

logger = logging.getLogger(__name__)

ASGISend = Callable[[dict[str, Any]], Awaitable[None]]

#: How long a close frame may wait for a socket that takes nothing.
CLOSE_TIMEOUT = 1.0


class Reader:
    """One connection's place in one stream."""

    __slots__ = ("acked", "connection", "sent", "stream", "topic")

    def __init__(
        self, connection: Connection, stream: LocalStream, sent: int, acked: int, topic: bool
    ) -> None:
        self.connection = connection
        self.stream = stream
        #: Offset of the last publication written, or moved over.
        self.sent = sent
        #: Offset up to which the client is known to have everything.
        self.acked = acked
        #: Subscribed by the client itself, not by the server at connect.
        self.topic = topic


class Connection:
    """A socket, its session and its readers.

    Writing never queues (P5): while one frame waits for the socket, further publications are
    not written but left to history, and the reader's position is all that is kept.
    """

    __slots__ = (
        "_ended",
        "_loop",
        "_pending",
        "_send",
        "_task",
        "address",
        "behind",
        "client",
        "closing",
        "connected_at",
        "credentials",
        "due",
        "is_given_up",
        "pump",
        "readers",
        "session",
        "session_digest",
        "session_key",
        "unread",
        "user_agent",
        "user_id",
    )

    def __init__(
        self,
        client: str,
        session: Session,
        send: ASGISend,
        *,
        address: str = "",
        user_agent: str = "",
        session_key: str = "",
    ) -> None:
        self.client = client
        self.session = session
        self.address = address
        self.user_agent = user_agent
        self.session_key = session_key
        self.user_id: Any = None
        #: See :class:`~notifications.authentication.Identity`.
        self.credentials = ""
        #: Digest of the session key it was authenticated by, "" for a token.
        self.session_digest = ""
        self.connected_at: Any = None
        #: The socket takes nothing, not even a close frame: the consumer has been cancelled.
        self.is_given_up = False
        #: The unread count the client was told last.
        self.unread = 0
        self.readers: dict[str, Reader] = {}
        self.behind: set[Reader] = set()
        self.pump: asyncio.Task[None] | None = None
        self.closing: Disconnect | None = None
        #: The second in which the wheel looks at it.
        self.due = 0
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._pending: asyncio.Task[None] | None = None
        self._ended = self._loop.create_future()

    @property
    def is_blocked(self) -> bool:
        """Does a frame wait for the socket?"""
        return self._pending is not None and not self._pending.done()

    def write(self, text: str) -> None:
        """Write a frame without waiting. The caller has seen that it is not blocked.

        The ASGI ``send`` is run up to its first wait. Where the socket has room it is then done,
        without a task; else it becomes the one task that waits.
        """
        self._run(self._send({"type": "websocket.send", "text": text}))

    async def send(self, text: str) -> None:
        """Write a frame, waiting until the socket takes it."""
        await self.drained()
        if self.closing is None:
            self.write(text)
            await self.drained()

    async def drained(self) -> None:
        """Wait until no frame waits for the socket, or the connection has ended."""
        while self.is_blocked and not self._ended.done():
            assert self._pending is not None
            await asyncio.wait({self._pending, self._ended}, return_when=asyncio.FIRST_COMPLETED)

    def close(self, disconnect: Disconnect) -> None:
        """End the connection: the close frame goes out if the socket takes it in time."""
        if self.closing is not None:
            return
        self.closing = disconnect
        self.session.close(disconnect)
        DISCONNECTS.labels(disconnect.code).inc()
        self._loop.create_task(self._close(disconnect))

    def end(self) -> None:
        """The socket is gone, or given up. Releases everybody who waits for it."""
        if not self._ended.done():
            self._ended.set_result(None)
        if self.is_blocked and self._pending is not None:
            self._pending.cancel()

    def positions(self) -> dict[str, int]:
        """What has been written, by channel, where the client has not acknowledged it yet."""
        return {
            name: reader.sent for name, reader in self.readers.items() if reader.sent > reader.acked
        }

    async def _close(self, disconnect: Disconnect) -> None:
        message = {
            "type": "websocket.close",
            "code": disconnect.code,
            "reason": disconnect.reason,
        }
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.drained()
                await self._send(message)
        except TimeoutError:
            self._give_up()
        except Exception as error:  # the peer is gone: servers raise what they like
            logger.debug("%s on closing %s", type(error).__name__, self.client)
            self.end()

    def _give_up(self) -> None:
        """Let the server drop a socket that is blocked, by ending the consumer."""
        self.end()
        self.is_given_up = True
        if self._task is not None:
            self._task.cancel()

    def _run(self, sending: Awaitable[None]) -> None:
        if not isinstance(sending, types.CoroutineType):
            self._pending = asyncio.ensure_future(_wait_for(sending, self))
            return
        try:
            waiting = sending.send(None)
        except StopIteration:
            return
        except Exception as error:
            self.failed(error)
            return
        self._pending = self._loop.create_task(_go_on(sending, waiting, self))

    def failed(self, error: Exception) -> None:
        """A write failed: the peer is gone, and the server will say so by a disconnect event."""
        logger.debug("%s on writing to %s", type(error).__name__, self.client)


async def _wait_for(sending: Awaitable[None], connection: Connection) -> None:
    try:
        await sending
    except Exception as error:
        connection.failed(error)


async def _go_on(sending: Coroutine[Any, Any, None], waiting: Any, connection: Connection) -> None:
    try:
        await _resume(sending, waiting)
    except Exception as error:
        connection.failed(error)


@types.coroutine
def _resume(sending: Coroutine[Any, Any, None], waiting: Any) -> Generator[Any, Any, None]:
    """Drive a coroutine on that has already been run up to its first wait."""
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
