"""The streams that are read in this process: joining, attaching readers, and resetting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..conf import app_settings
from ..protocol import codes
from ..streams.feeds import Feed
from ..streams.history import Page
from ..streams.names import is_topic
from .connections import Connections
from .delivery.catching_up import CatchUp
from .delivery.ephemeral import Ephemeral
from .delivery.renewals import Renewals
from .delivery.repairs import Repairs
from .delivery.stream import LocalStream
from .layer.groups import Groups
from .loops import Loops
from .sockets.connection import Connection, Reader, Stream
from .sockets.grants import Grant


class LocalStreams:
    """Streams by name, and the parts that bring their readers up to date.

    Args:
        connections: the connections of this process.
        loops: report the failures of these parts.
        visit: called with a connection that owes a ping, when its socket has drained.
        suspect: called with the primary key of a user whose streams may have changed.
        check_soon: requests a position check.
        layer_changed: called when the channel layer has gone down or come back.
    """

    def __init__(
        self,
        connections: Connections,
        loops: Loops,
        *,
        visit: Callable[[Connection], None],
        suspect: Callable[[Any], None],
        check_soon: Callable[[], None],
        layer_changed: Callable[[], None],
    ) -> None:
        self.by_name: dict[str, LocalStream] = {}
        self.groups = Groups(self.by_name, layer_changed)
        self.renewals = Renewals(loops, self.reset, check_soon)
        self.catch_up = CatchUp(loops, visit, self.renewals.add)
        self.ephemeral = Ephemeral(self.by_name)
        self.repairs = Repairs(self.by_name, loops, self.catch_up.fall_behind, self.renewals.add)
        self._connections = connections
        self._loops = loops
        self._suspect = suspect

    async def stop(self) -> None:
        await self.renewals.stop()
        await self.repairs.stop()
        await self.ephemeral.stop()
        await self.groups.stop()

    async def join(self, name: str, until: float | None = None) -> LocalStream:
        """Join the layer group of a stream, and pin the stream in this process.

        Joining comes before reading, so that no publication in between is missed. The caller must
        call :meth:`~.delivery.stream.LocalStream.unpin` on the result.

        Args:
            name: name of the stream.
            until: the event loop's time, in seconds, at which to go on even if the group is not
                joined yet; None for ``LAYER_TIMEOUT`` seconds from now.
        """
        if until is None:
            until = asyncio.get_running_loop().time() + app_settings.LAYER_TIMEOUT
        stream = self.by_name.get(name)
        if stream is None:
            stream = self.by_name[name] = LocalStream(name)
        stream.pins += 1
        if stream.is_joined:
            return stream
        try:
            await self.groups.join(stream, until)
        except BaseException:
            stream.unpin()
            raise
        return stream

    def pin_joined(self, name: str, since: float) -> LocalStream | None:
        """Pin a stream whose group this process has been in for so long, without waiting.

        Whatever was announced since then has been heard, as if :meth:`join` had been called then.

        Args:
            name: name of the stream.
            since: the event loop's time, in seconds.

        Returns:
            The stream, for which the caller must call ``unpin``; None if it was not joined then.
        """
        stream = self.by_name.get(name)
        if stream is None or not stream.is_joined or stream.joined_at >= since:
            return None
        stream.pins += 1
        return stream

    def attach(
        self,
        connection: Connection,
        stream: LocalStream,
        feed: Feed,
        page: Page,
        acked: int,
        *,
        topic: bool = False,
        grant: Grant | None = None,
    ) -> None:
        """Add a reader for a connection, positioned at the end of ``page``.

        If the stream has another epoch than ``feed``, the connection is closed instead.

        Args:
            connection: the connection, to which ``page`` has been written.
            stream: the stream, pinned by the caller.
            feed: the user's subscription, read together with ``page``.
            page: publications that were written, the offset they reach, and whether more follow.
            acked: offset up to which the user has acknowledged.
            topic: whether the client has subscribed to a topic.
            grant: why the client may read a channel of a namespace; None for any other stream.
        """
        if connection.closing is not None:
            return
        stream.learn(feed.stream_id, feed.epoch, feed.top, feed.revision, feed.at)
        if self.by_name.get(stream.name) is not stream or stream.epoch != feed.epoch:
            # The stream has been reset, or is about to be.
            connection.close(codes.INSUFFICIENT_STATE)
            self._loops.wake("check")
            return
        if stream.tip.contradicts(feed.top, feed.at):
            self.renewals.add(stream)
        reader = Reader(connection, stream, page.offset, acked, topic, grant)
        connection.readers[stream.name] = reader
        stream.readers.add(reader)
        if page.more or reader.sent < stream.top:
            self.catch_up.fall_behind(reader)
        else:
            stream.add_live(reader)
        if stream.heard > stream.top:
            self.repairs.start(stream)

    def attach_ephemeral(self, connection: Connection, stream: LocalStream, grant: Grant) -> None:
        """Add a reader for a channel whose publications are not stored."""
        reader = Reader(connection, stream, 0, 0, topic=False, grant=grant)
        connection.readers[stream.name] = reader
        stream.readers.add(reader)
        stream.add_live(reader)

    def for_row(self, stream: LocalStream, stream_id: int) -> LocalStream:
        """Return the local stream for this row of a topic, which is usually ``stream`` itself.

        A topic's row is deleted with its last follower, and another row with the same name may be
        created at once. Rows with higher ids are newer.

        Args:
            stream: the stream that was joined.
            stream_id: primary key of the row that was read after joining.
        """
        current = self.by_name.get(stream.name)
        if current is not None and (not current.is_known or current.id >= stream_id):
            return current
        if current is not None:
            self._dissolve(current)
        fresh = self.by_name[stream.name] = LocalStream(stream.name)
        # Group names depend on the stream's name only, so the membership stays valid.
        fresh.is_joined, fresh.joined_at = stream.is_joined, stream.joined_at
        return fresh

    def row_deleted(self, stream: LocalStream) -> None:
        """Handle the deletion of a stream's row: dissolve a topic, reset any other stream."""
        if is_topic(stream.name):
            self._dissolve(stream)
        else:
            self.reset(stream)

    def reset(self, stream: Stream) -> None:
        """Forget a stream whose history is gone or replaced, and close its readers with 3010."""
        if self.by_name.get(stream.name) is not stream:
            return
        del self.by_name[stream.name]
        for reader in list(stream.readers):
            reader.connection.close(codes.INSUFFICIENT_STATE)
        # A user who muted the private stream does not read it, but holds it for hints about rights.
        user_id = self._connections.users.get(stream.name)
        for connection in list(self._connections.by_user.get(user_id, ())):
            if connection.private_stream is stream:
                connection.close(codes.INSUFFICIENT_STATE)

    def _dissolve(self, stream: LocalStream) -> None:
        """Forget a topic that was deleted with its last follower, and check its readers here.

        They have left it through another process. The check also finds whether the topic exists
        again.
        """
        del self.by_name[stream.name]
        for reader in list(stream.readers):
            self._suspect(reader.connection.user_id)
