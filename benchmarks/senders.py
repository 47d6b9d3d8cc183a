"""Trigger a broadcast, for each kind of server."""

import asyncio
from collections.abc import Callable
from typing import cast

from . import site
from .herd import Herd
from .servers import Server

#: A message that is as long as the frames of the site.
LINE = "x" * 258

Send = Callable[[int], None]


def by_line(server: Server) -> Send:
    """Trigger a peer's broadcasts by lines on its stdin."""
    return lambda number: server.broadcast(LINE)


async def by_http(server: Server) -> Send:
    """Trigger nchan's broadcasts by POST requests over one persistent connection."""
    request = (
        f"POST /publish HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(LINE)}\r\n\r\n{LINE}"
    ).encode()
    loop = asyncio.get_running_loop()
    # The answers are ignored: what arrives at the sockets is measured.
    transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", server.port)
    writer = cast(asyncio.WriteTransport, transport)
    return lambda number: writer.write(request)


class ByPublish:
    """Trigger the site's broadcasts by a client's ``publish``, which stores and sequences them.

    Args:
        server: the site.
        user: id of a user who may send broadcasts.
    """

    #: Number of connections over which the commands are spread.
    CONNECTIONS = 8

    def __init__(self, server: Server, user: int) -> None:
        command = [site.connect_as(user)]
        self.herd: Herd = site.herd(server, lambda number: command)
        self._sent = 1

    async def open(self) -> None:
        await self.herd.open(self.CONNECTIONS)

    def __call__(self, number: int) -> None:
        self._sent += 1
        client = self.herd.clients[self._sent % self.CONNECTIONS]
        client.send(site.publish("broadcast", self._sent))
