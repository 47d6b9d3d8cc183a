"""Readers that wait: connections of the hub that read one stream for an open response.

They are fanned out to as WebSockets are, served from history when they fall behind, ended when
rights change or the process stops, and counted against the same limits. But nothing is sent to them
besides the one stream. And nothing counts as delivered to their user: they keep their positions
themselves.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ...connect.authentication import Identity
from ...connect.reading import Found
from ...hub import Connection, Hub, LocalStream
from ...hub.client_ids import new_client_id
from ...hub.sockets.connection import Reader
from ...hub.sockets.grants import Grant
from ...protocol import codes
from ...protocol.codec import Codec
from ...protocol.effects import Limits
from ...protocol.messages import Reply
from ...protocol.session import Session
from ...streams.feeds import Feed
from ...streams.names import is_topic, user_stream
from .codecs import Part
from .exchange import Exchange
from .reading import Reading
from .sockets import EventSocket, PollSocket

#: Of a session that nobody visits: its transport watches the time.
NO_LIMITS = Limits(0, 0, 0, 0, 0, 0, 0)


class LiveConnection(Connection):
    """A connection that reads one stream for one response."""

    follows_user = False

    __slots__ = ()

    def __init__(self, exchange: Exchange, socket: PollSocket | EventSocket, codec: Codec) -> None:
        super().__init__(
            new_client_id(),
            Session(codec, time.monotonic(), NO_LIMITS),
            socket,
            address=exchange.address,
            session_key=exchange.session_key,
        )

    def write(self, reply: Reply) -> bool:
        """End the response if its stream is unsubscribed; write nothing in any case."""
        if reply.push is not None and reply.push.unsubscribe is not None:
            self.close(codes.FORCE_RECONNECT)
        return True

    async def send_part(self, part: Part) -> None:
        """Wait until the socket accepts the part; return without writing if it closes first."""
        while self.closing is None and not self.has_ended:
            await self.drained()
            if self.socket.offer(part):
                return


@asynccontextmanager
async def admitted(hub: Hub, connection: LiveConnection, identity: Identity) -> AsyncIterator[None]:
    """Register a connection with the hub for the time of its response.

    Raises:
        Disconnected: its user or its address has too many, or the process is shutting down.
    """
    connection.user_id = identity.user.pk
    connection.credentials = identity.credentials
    connection.session_digest = identity.session
    if not hub.connections.addresses.add(connection):
        raise codes.Disconnected(codes.CONNECTION_LIMIT)
    try:
        hub.connections.admit(connection)
        yield
    finally:
        hub.connections.leave(connection, codes.NORMAL.code)


@asynccontextmanager
async def joined(hub: Hub, connection: LiveConnection, name: str) -> AsyncIterator[LocalStream]:
    """Join a stream before it is read, and the private stream for hints about rights."""
    own = user_stream(connection.user_id)
    connection.private_stream = await hub.streams.join(own)
    stream = await hub.streams.join(name)
    try:
        yield stream
    finally:
        stream.unpin()


def attach(
    reading: Reading, connection: LiveConnection, stream: LocalStream, found: Found
) -> Reader | None:
    """Let a connection get what follows a page.

    Args:
        reading: who reads which stream.
        connection: an admitted connection.
        stream: the stream, joined before ``found`` was read.
        found: the page that the client has got, or gets.

    Returns:
        The reader; None if nothing is to be read, because the stream is muted or has been reset.
    """
    hub = reading.hub
    _learn_private(hub, connection, found.own)
    feed, page = found.feed, found.page
    if page is not None and not feed.muted:
        topic = is_topic(feed.name)
        grant = Grant(by_token=reading.claims is not None) if reading.is_channel else None
        current = stream
        if topic or grant is not None:
            current = hub.streams.for_row(stream, feed.stream_id)
        if current is not stream:
            # What was announced of this row meanwhile was ignored: read history again.
            page = page._replace(more=True)
        hub.streams.attach(connection, current, feed, page, page.offset, topic=topic, grant=grant)
    connection.is_ready = True
    if connection.rights_changes:  # since the stream was joined
        hub.rights.check_user(connection.user_id)
    return connection.readers.get(feed.name)


def _learn_private(hub: Hub, connection: LiveConnection, own: Feed | None) -> None:
    """Have changes of rights noticed by the revision too, in case the hints are lost."""
    name = user_stream(connection.user_id)
    private = hub.streams.by_name.get(name)
    was_reset = private is not connection.private_stream
    if private is None or was_reset:
        connection.close(codes.INSUFFICIENT_STATE)
        return
    if own is not None:
        private.learn(own.stream_id, own.epoch, own.top, own.revision, own.at)
        if private.revision != own.revision:  # rights have changed since they were read
            hub.rights.suspect(name)
