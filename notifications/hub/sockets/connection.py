"""A connection of the hub: a socket, its protocol session and its position in each stream."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from ...conf import app_settings
from ...metrics import DISCONNECTS
from ...protocol import codes
from ...protocol.codec import Codec
from ...protocol.codes import Disconnect
from ...protocol.messages import Reply
from ...protocol.session import Session
from ...streams.evidence import Seen
from .grants import Grant
from .writing import Socket

logger = logging.getLogger(__name__)

#: Seconds that a close frame may wait for a blocked socket.
CLOSE_TIMEOUT = 1.0


class Stream(Protocol):
    """The part of :class:`~notifications.hub.delivery.stream.LocalStream` that is needed here.

    Readers and streams refer to each other. Importing the class would make this package and
    ``delivery``, which writes to sockets, import each other.
    """

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
    def leave_direct(self, reader: Reader) -> None: ...


class Direct(Protocol):
    """The part of :class:`~notifications.hub.delivery.direct.DirectReaders` that is needed here."""

    def sent_by(self, index: int) -> int: ...
    def remove(self, reader: Reader) -> bool: ...


class Reader:
    """The position of one connection in one stream."""

    __slots__ = (
        "_sent",
        "acked",
        "codec",
        "connection",
        "direct",
        "grant",
        "index",
        "is_live",
        "offer",
        "stream",
        "topic",
    )

    def __init__(
        self,
        connection: Connection,
        stream: Stream,
        sent: int,
        acked: int,
        topic: bool,
        grant: Grant | None = None,
    ) -> None:
        self.connection = connection
        #: The socket's bound method, which saves two calls per delivery.
        self.offer = connection.socket.offer
        #: The direct readers that it is one of, and its place among them.
        self.direct: Direct | None = None
        self.index = 0
        #: The form in which the connection's client wants messages.
        self.codec = connection.codec
        self.stream = stream
        self._sent = sent
        #: Offset up to which the client has acknowledged.
        self.acked = acked
        #: Whether it receives what is fanned out; otherwise it is behind or detached.
        self.is_live = False
        #: Whether the client has subscribed to a topic, rather than the server to a stream.
        self.topic = topic
        #: Why the client may read a channel of a namespace; None for any other stream.
        self.grant = grant

    @property
    def sent(self) -> int:
        """Offset up to which publications have been written or skipped."""
        return self._sent if self.direct is None else self.direct.sent_by(self.index)

    @sent.setter
    def sent(self, offset: int) -> None:
        assert self.direct is None, "its stream keeps its position"
        self._sent = offset

    def detach(self) -> None:
        """Remove the reader from its connection and its stream."""
        if self.grant is not None:
            self.grant.end()
        self.connection.readers.pop(self.stream.name, None)
        self.connection.behind.pop(self, None)
        self.stream.readers.discard(self)
        self.stream.remove_live(self)


class Connection:
    """A socket, its session and its readers.

    Writing never queues (P5): only the reader's position is kept, and publications that a blocked
    socket does not accept are read from history later.
    """

    #: Whether it gets all streams of its user, changes of the user's read state, and counts.
    follows_user = True

    __slots__ = (
        "_closing_task",
        "_loop",
        "_task",
        "address",
        "behind",
        "catch_up_task",
        "client",
        "closing",
        "connected_at",
        "counted",
        "credentials",
        "due",
        "emulated_as",
        "expire_at",
        "has_ended",
        "is_given_up",
        "is_ready",
        "private_stream",
        "readers",
        "rights_changes",
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
        #: See :class:`~notifications.connect.authentication.Identity`; None until it is known.
        self.credentials: str | None = None
        #: Digest of the session key that authenticated it, "" for a token.
        self.session_digest = ""
        #: The secret that names it in requests to ``/emulation``; "" for a socket of its own.
        self.emulated_as = ""
        #: When the backend has last asked it to expire: Unix time in seconds, 0 for never.
        self.expire_at = 0
        self.connected_at: Any = None
        #: The blocked socket did not accept the close frame in time: the consumer was cancelled.
        self.is_given_up = False
        #: The reply to ``connect`` has been written and the readers are attached.
        self.is_ready = False
        #: The user's private stream, pinned: it carries hints about rights even while it is muted.
        self.private_stream: Stream | None = None
        #: How often its user's rights may have changed. Data that was read before the last
        #: increase must be checked again.
        self.rights_changes = 0
        #: The unread count that the client knows; None if it may have missed a change.
        self.unread: int | None = 0
        #: Which streams that count covers, None if that is not known; see
        #: :func:`notifications.inbox.counts.streams_counted`.
        self.counted: int | None = None
        self.readers: dict[str, Reader] = {}
        #: Readers that are served from history, in the order in which it is their turn.
        self.behind: dict[Reader, None] = {}
        self.catch_up_task: asyncio.Task[None] | None = None
        self.closing: Disconnect | None = None
        #: The monotonic second in which the wheel visits it.
        self.due = 0
        self.socket = socket
        self.has_ended = False
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._closing_task: asyncio.Task[None] | None = None

    @property
    def is_blocked(self) -> bool:
        """Is the socket full, so that :meth:`write` would refuse?"""
        return self.socket.is_blocked

    @property
    def codec(self) -> Codec:
        """The form of the protocol that its client speaks."""
        return self.session.codec

    def write(self, reply: Reply) -> bool:
        """Write without waiting; if the socket is blocked, write nothing and return False."""
        return self.socket.offer(self.codec.encode(reply))

    async def send(self, reply: Reply) -> None:
        """Wait until the socket accepts the reply; return without writing if it closes first."""
        message = self.codec.encode(reply)
        while self.closing is None and not self.has_ended:
            await self.drained()
            if self.socket.offer(message):
                return

    async def drained(self) -> None:
        """Wait until the socket is not blocked; close it after ``SLOW_TIMEOUT`` seconds."""
        if not self.socket.is_blocked:
            return
        try:
            async with asyncio.timeout(app_settings.SLOW_TIMEOUT):
                await self.socket.drained()
        except TimeoutError:
            self.close(codes.SLOW)

    async def drains_within(self, seconds: float) -> bool:
        """Wait so long, at most, until the socket is not blocked; False if it still is."""
        try:
            async with asyncio.timeout(seconds):
                await self.socket.drained()
        except TimeoutError:
            return False
        return not self.has_ended

    def close(self, disconnect: Disconnect) -> None:
        """Close the connection; the close frame is sent if the socket accepts it in time."""
        if self.closing is not None:
            return
        self.closing = disconnect
        self.session.close(disconnect)
        for reader in self.readers.values():
            reader.stream.remove_live(reader)
        DISCONNECTS.labels(disconnect.code).inc()
        self._closing_task = self._loop.create_task(self._close(disconnect))

    async def closed(self) -> None:
        """Wait until the close frame is written; return at once if nobody has closed it."""
        if self._closing_task is not None:
            await asyncio.shield(self._closing_task)

    def leave_direct(self) -> None:
        """Have nothing more sent past the socket's transport, to which something is written."""
        for reader in self.readers.values():
            if reader.direct is not None:
                reader.stream.leave_direct(reader)

    def end(self) -> None:
        """Mark the socket as gone, and wake all tasks that wait for it."""
        self.has_ended = True
        self.socket.release()

    def positions(self) -> dict[str, int]:
        """Written offsets by channel, where the client has not acknowledged all of them."""
        return {name: one.sent for name, one in self.readers.items() if one.sent > one.acked}

    async def _close(self, disconnect: Disconnect) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.socket.close(disconnect)
        except TimeoutError:
            self._give_up()
        except Exception as error:  # the peer is gone: the error depends on the server
            logger.debug("%s on closing %s", type(error).__name__, self.client)
            self.end()

    def _give_up(self) -> None:
        """Drop a blocked socket: abort it and cancel the consumer."""
        self.end()
        self.is_given_up = True
        self.socket.abort()
        if self._task is not None:
            self._task.cancel()
