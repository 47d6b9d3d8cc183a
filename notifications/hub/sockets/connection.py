"""A connection as the hub sees it: a socket that takes frames, and its place in each stream."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from ...conf import app_settings
from ...metrics import DISCONNECTS
from ...protocol import codes
from ...protocol.codes import Disconnect
from ...protocol.prepared import Prepared
from ...protocol.session import Session
from ...streams.evidence import Seen
from .writing import Socket

logger = logging.getLogger(__name__)

#: How long a close frame may wait for a socket that takes nothing.
CLOSE_TIMEOUT = 1.0


class Stream(Protocol):
    """What a reader knows of its stream; see :class:`~..delivery.stream.LocalStream`."""

    id: int
    name: str
    epoch: str
    top: int
    is_suspect: bool
    tip: Any
    readers: set[Reader]

    def unpin(self) -> None: ...
    def seen(self) -> Seen: ...
    def add_live(self, reader: Reader) -> None: ...
    def remove_live(self, reader: Reader) -> None: ...


class Reader:
    """One connection's place in one stream."""

    __slots__ = ("acked", "connection", "is_live", "offer", "sent", "stream", "topic")

    def __init__(
        self, connection: Connection, stream: Stream, sent: int, acked: int, topic: bool
    ) -> None:
        self.connection = connection
        #: The socket's own method: two calls less for each delivery.
        self.offer = connection.socket.offer
        self.stream = stream
        #: Offset of the last publication written, or moved over.
        self.sent = sent
        #: Offset up to which the client is known to have everything.
        self.acked = acked
        #: Gets what is fanned out; else it is behind, or detached.
        self.is_live = False
        #: Subscribed by the client itself, not by the server at connect.
        self.topic = topic

    def detach(self) -> None:
        """Read no more."""
        self.connection.readers.pop(self.stream.name, None)
        self.connection.behind.discard(self)
        self.stream.readers.discard(self)
        self.stream.remove_live(self)


class Connection:
    """A socket, its session and its readers.

    Writing never queues (P5): what a blocked socket does not take is left to history, and the
    reader's position is all that is kept.
    """

    __slots__ = (
        "_loop",
        "_task",
        "address",
        "behind",
        "client",
        "closing",
        "connected_at",
        "counted",
        "credentials",
        "doubts",
        "due",
        "has_ended",
        "is_given_up",
        "is_ready",
        "own",
        "pump",
        "readers",
        "session",
        "session_digest",
        "session_key",
        "socket",
        "unread",
        "user_agent",
        "user_id",
    )

    def __init__(
        self,
        client: str,
        session: Session,
        socket: Socket,
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
        #: See :class:`~notifications.connect.authentication.Identity`.
        self.credentials = ""
        #: Digest of the session key it was authenticated by, "" for a token.
        self.session_digest = ""
        self.connected_at: Any = None
        #: The socket takes nothing, not even a close frame: the consumer has been cancelled.
        self.is_given_up = False
        #: The reply to ``connect`` has been written and the readers are there.
        self.is_ready = False
        #: The user's own stream, pinned: hints about rights come by it even while it is muted.
        self.own: Stream | None = None
        #: How often something about its user may have changed: what was read before it rose is
        #: to be looked at again.
        self.doubts = 0
        #: The unread count the client was told last; None where it may have missed a change.
        self.unread: int | None = 0
        #: Which streams are in that count, None where that is not known; see
        #: :func:`notifications.inbox.counts.streams_counted`.
        self.counted: int | None = None
        self.readers: dict[str, Reader] = {}
        self.behind: set[Reader] = set()
        self.pump: asyncio.Task[None] | None = None
        self.closing: Disconnect | None = None
        #: The second in which the wheel looks at it.
        self.due = 0
        self.socket = socket
        self.has_ended = False
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()

    @property
    def is_blocked(self) -> bool:
        """Does the socket take nothing for now?"""
        return self.socket.is_blocked

    def write(self, text: str) -> bool:
        """Write without waiting; False, and nothing written, while the socket is blocked."""
        return self.socket.offer(Prepared(text))

    async def send(self, message: Prepared) -> None:
        """Write, waiting until the socket takes it."""
        while self.closing is None and not self.has_ended:
            await self.drained()
            if self.socket.offer(message):
                return

    async def drained(self) -> None:
        """Wait until the socket takes something. One that does not for too long is closed."""
        if not self.socket.is_blocked:
            return
        try:
            async with asyncio.timeout(app_settings.SLOW_TIMEOUT):
                await self.socket.drained()
        except TimeoutError:
            self.close(codes.SLOW)

    def close(self, disconnect: Disconnect) -> None:
        """End the connection: the close frame goes out if the socket takes it in time."""
        if self.closing is not None:
            return
        self.closing = disconnect
        self.session.close(disconnect)
        for reader in self.readers.values():
            reader.stream.remove_live(reader)
        DISCONNECTS.labels(disconnect.code).inc()
        self._loop.create_task(self._close(disconnect))

    def end(self) -> None:
        """The socket is gone. Releases everybody who waits for it."""
        self.has_ended = True
        self.socket.release()

    def positions(self) -> dict[str, int]:
        """What has been written, by channel, where the client has not acknowledged it yet."""
        return {
            name: reader.sent for name, reader in self.readers.items() if reader.sent > reader.acked
        }

    async def _close(self, disconnect: Disconnect) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.socket.close(disconnect)
        except TimeoutError:
            self._give_up()
        except Exception as error:  # the peer is gone: servers raise what they like
            logger.debug("%s on closing %s", type(error).__name__, self.client)
            self.end()

    def _give_up(self) -> None:
        """Let the server drop a socket that is blocked, by ending the consumer."""
        self.end()
        self.is_given_up = True
        self.socket.abort()
        if self._task is not None:
            self._task.cancel()
