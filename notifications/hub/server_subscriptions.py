"""Server-side subscriptions that begin and end while a client is connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..protocol import codes, messages
from ..streams.feeds import Feed
from ..streams.history import Page
from ..streams.positions import beginning
from .connections import Connections
from .local_streams import LocalStreams
from .sockets.connection import Connection, Reader
from .verdicts import LEFT


class ServerSubscriptions:
    """Subscribes and unsubscribes connections, and sends the matching pushes.

    Args:
        connections: the connections of this process.
        streams: the streams of this process.
        check_later: schedules another check of a user to whom a push could not be written.
    """

    def __init__(
        self, connections: Connections, streams: LocalStreams, check_later: Callable[[Any], None]
    ) -> None:
        self._connections = connections
        self._streams = streams
        self._check_later = check_later
        #: Tasks that wait for a blocked socket to send it a push.
        self._pending_pushes: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        tasks = list(self._pending_pushes)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def unsubscribe_left_topic(self, connection: Connection, name: str) -> None:
        """Unsubscribe a connection from a topic that its user has just left."""
        connection.counted = None  # the reply carries a count without this topic
        reader = connection.readers.get(name)
        if reader is not None and reader.topic:
            self.unsubscribe(reader, codes.UNSUBSCRIBED_BY_SERVER._replace(reason=LEFT))

    def unsubscribe(self, reader: Reader, why: codes.Unsubscribe) -> None:
        """Detach a reader, and send an ``unsubscribe`` push as soon as the socket accepts it.

        Args:
            why: the code and reason in the push.
        """
        connection, name = reader.connection, reader.stream.name
        unsubscribe = messages.Unsubscribe(*why)
        push = messages.Push(channel=name, unsubscribe=unsubscribe)
        reader.detach()
        self.push_surely(connection, push)

    def push_surely(self, connection: Connection, push: messages.Push) -> None:
        """Write a push as soon as the socket accepts it.

        What is pushed about a channel is dropped if the client has subscribed to it meanwhile.
        """
        if self.push(connection, push):
            return
        task = asyncio.get_running_loop().create_task(self._push_when_drained(connection, push))
        self._pending_pushes.add(task)
        task.add_done_callback(self._pending_pushes.discard)

    async def _push_when_drained(self, connection: Connection, push: messages.Push) -> None:
        reply = messages.Reply(push=push)
        while connection.closing is None and not connection.has_ended:
            await connection.drained()
            if push.channel in connection.readers or connection.write(reply):
                return

    async def subscribe(self, connection: Connection, feed: Feed, until: float) -> None:
        """Subscribe a connection to a stream that its user may now read.

        If the socket is blocked, nothing is subscribed, and the user is checked again later.

        Args:
            feed: the user's subscription to the stream.
            until: the event loop's time, in seconds, at which to go on even if the layer group is
                not joined yet.
        """
        stream = await self._streams.join(feed.name, until)
        try:
            is_here = connection.closing is None and connection in self._connections.all
            if not is_here or feed.name in connection.readers:
                return
            offset = beginning(feed)
            position = messages.Subscribe(
                recoverable=True, positioned=True, epoch=feed.epoch, offset=offset
            )
            push = messages.Push(channel=feed.name, subscribe=position)
            if self.push(connection, push):
                # Start from history: what was published before the group was joined was missed.
                page = Page([], offset, more=True)
                self._streams.attach(connection, stream, feed, page, feed.delivered, topic=False)
        finally:
            stream.unpin()

    def push(self, connection: Connection, push: messages.Push) -> bool:
        """Write a push; if the socket is blocked, return False and schedule a check of the user."""
        if connection.write(messages.Reply(push=push)):
            return True
        self._check_later(connection.user_id)
        return False
