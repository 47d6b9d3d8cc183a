"""Subscriptions that the server begins and ends while a client is connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..protocol import codes, messages
from ..protocol.json import encode_reply
from ..streams.feeds import Feed
from ..streams.history import Page
from ..streams.positions import beginning
from .connections import Connections
from .local_streams import LocalStreams
from .sockets.connection import Connection, Reader
from .verdicts import LEFT


class ServerSubscriptions:
    """Subscribes and unsubscribes connections, and tells their clients.

    Args:
        look_later: asks for another look at a user who could not be told something.
    """

    def __init__(
        self, connections: Connections, streams: LocalStreams, look_later: Callable[[Any], None]
    ) -> None:
        self._connections = connections
        self._streams = streams
        self._look_later = look_later
        #: Waiting for blocked sockets, to tell that they are unsubscribed.
        self._telling: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        tasks = list(self._telling)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def left(self, connection: Connection, name: str) -> None:
        """The user of this connection has left a topic: do not wait for the next look."""
        connection.counted = None  # the reply has a count without it
        reader = connection.readers.get(name)
        if reader is not None and reader.topic:
            self.unsubscribe(reader, LEFT)

    def unsubscribe(self, reader: Reader, reason: str) -> None:
        """Take a stream away, and tell the client as soon as its socket takes that.

        Args:
            reason: for the client.
        """
        connection, name = reader.connection, reader.stream.name
        unsubscribe = messages.Unsubscribe(codes.UNSUBSCRIBED_BY_SERVER, reason)
        push = messages.Push(channel=name, unsubscribe=unsubscribe)
        reader.detach()
        if not self.push(connection, push):
            task = asyncio.get_running_loop().create_task(self._tell_later(connection, name, push))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell_later(self, connection: Connection, name: str, push: messages.Push) -> None:
        """Write once the socket takes something, unless the client has subscribed again."""
        text = encode_reply(messages.Reply(push=push))
        while connection.closing is None and not connection.has_ended:
            await connection.drained()
            if name in connection.readers or connection.write(text):
                return

    async def subscribe(self, connection: Connection, feed: Feed, until: float) -> None:
        """Subscribe a connection to a stream that its user may read now.

        Args:
            until: when to go on although the group is not joined yet, on the loop's clock.
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
                # More, because what was published before the group was joined was not heard.
                page = Page([], offset, more=True)
                self._streams.attach(connection, stream, feed, page, feed.delivered, topic=False)
        finally:
            stream.unpin()

    def push(self, connection: Connection, push: messages.Push) -> bool:
        """Write, unless the socket is blocked: nobody else has to wait for that one."""
        if connection.write(encode_reply(messages.Reply(push=push))):
            return True
        self._look_later(connection.user_id)
        return False
