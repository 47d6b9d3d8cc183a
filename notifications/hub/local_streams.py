"""The streams that are read in this process: joined, attached to, and reset."""

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
from .delivery.renewals import Renewals
from .delivery.repairs import Repairs
from .delivery.stream import LocalStream
from .layer.groups import Groups
from .loops import Loops
from .sockets.connection import Connection, Reader, Stream


class LocalStreams:
    """Streams by name, and what brings their readers up to date.

    Args:
        visit: called with a connection that owes a ping, as soon as its socket has drained.
        suspect: told of users, by primary key, whose streams may have changed.
        check_soon: asks for a position check.
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
        self.repairs = Repairs(self.by_name, loops, self.catch_up.fall_behind, self.renewals.add)
        self._connections = connections
        self._loops = loops
        self._suspect = suspect

    async def stop(self) -> None:
        await self.renewals.stop()
        await self.repairs.stop()
        await self.groups.stop()

    async def join(self, name: str, until: float | None = None) -> LocalStream:
        """Make the process a member of the stream's layer group, and pin the stream here.

        Joining comes before reading: what is published from now on is heard. Whoever calls must
        :meth:`~.delivery.stream.LocalStream.unpin`.

        Args:
            name: of the stream.
            until: when to go on although the group is not joined yet, on the loop's clock;
                None for ``LAYER_TIMEOUT`` from now.
        """
        if until is None:
            until = asyncio.get_running_loop().time() + app_settings.LAYER_TIMEOUT
        stream = self.by_name.get(name)
        if stream is None:
            stream = self.by_name[name] = LocalStream(name)
        stream.pins += 1
        try:
            await self.groups.join(stream, until)
        except BaseException:
            stream.unpin()
            raise
        return stream

    def attach(
        self,
        connection: Connection,
        stream: LocalStream,
        feed: Feed,
        page: Page,
        acked: int,
        *,
        topic: bool,
    ) -> None:
        """Let a connection read on from the end of ``page``, which has been written to it.

        Args:
            feed: what was read for it before, together with the page.
            acked: what the user is known to have; the next acknowledgement covers the rest.
            topic: the client has subscribed by itself.
        """
        if connection.closing is not None:
            return
        stream.learn(feed.stream_id, feed.epoch, feed.top, feed.revision, feed.at)
        if self.by_name.get(stream.name) is not stream or stream.epoch != feed.epoch:
            # It was reset meanwhile, or is about to be.
            connection.close(codes.INSUFFICIENT_STATE)
            self._loops.hurry("check")
            return
        if stream.tip.contradicts(feed.top, feed.at):
            self.renewals.add(stream)
        reader = Reader(connection, stream, page.offset, acked, topic)
        connection.readers[stream.name] = reader
        stream.readers.add(reader)
        if page.more or reader.sent < stream.top:
            self.catch_up.fall_behind(reader)
        else:
            stream.add_live(reader)
        if stream.heard > stream.top:
            self.repairs.start(stream)

    def for_row(self, stream: LocalStream, stream_id: int) -> LocalStream:
        """The stream that stands for this row of a topic; mostly the one that was joined.

        A topic's row is deleted with its last follower, and another one may be made at once.
        """
        current = self.by_name.get(stream.name)
        if current is not None and (not current.is_known or current.id >= stream_id):
            return current
        if current is not None:
            self._dissolve(current)
        fresh = self.by_name[stream.name] = LocalStream(stream.name)
        # The process is in the group of this name.
        fresh.is_joined, fresh.joined_at = stream.is_joined, stream.joined_at
        return fresh

    def gone(self, stream: LocalStream) -> None:
        """The row of this stream is gone."""
        if is_topic(stream.name):
            self._dissolve(stream)
        else:
            self.reset(stream)

    def reset(self, stream: Stream) -> None:
        """The history is gone or another one: positions in it mean nothing any more."""
        if self.by_name.get(stream.name) is not stream:
            return
        del self.by_name[stream.name]
        for reader in list(stream.readers):
            reader.connection.close(codes.INSUFFICIENT_STATE)
        # A user who has muted their own stream only holds it, for what is told of them.
        user_id = self._connections.users.get(stream.name)
        for connection in list(self._connections.by_user.get(user_id, ())):
            if connection.own is stream:
                connection.close(codes.INSUFFICIENT_STATE)

    def _dissolve(self, stream: LocalStream) -> None:
        """A topic is gone with its last follower: all who read it here have left it elsewhere.

        Perhaps somebody has made it again since: the look at rights tells who reads what.
        """
        del self.by_name[stream.name]
        for reader in list(stream.readers):
            self._suspect(reader.connection.user_id)
