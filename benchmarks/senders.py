"""How to trigger a broadcast, for each kind of server."""

import asyncio
from collections.abc import Callable
from typing import cast

from . import site
from .herd import Herd
from .servers import Server

#: A payload as long as the frames of the site, in bytes.
LINE = "x" * 258

Send = Callable[[int], None]


def by_line(server: Server) -> Send:
    """Return a function that triggers a broadcast by a line on the server's stdin."""
    return lambda number: server.broadcast(LINE)


async def by_http(server: Server) -> Send:
    """Return a function that triggers a broadcast of nchan by a POST, over one connection."""
    request = (
        f"POST /publish HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(LINE)}\r\n\r\n{LINE}"
    ).encode()
    loop = asyncio.get_running_loop()
    # The responses are ignored: only what arrives at the sockets is measured.
    transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", server.port)
    writer = cast(asyncio.WriteTransport, transport)
    return lambda number: writer.write(request)


class ByPublish:
    """Triggers broadcasts of the site by the ``publish`` command of clients with permission.

    Args:
        server: the site.
        first: primary key of the first of the :data:`~benchmarks.site.SENDERS` permitted users.
    """

    def __init__(self, server: Server, first: int) -> None:
        self.herd: Herd = site.herd(server, site.greet(range(first, first + site.SENDERS)))
        self._sent = 1

    async def open(self) -> None:
        await self.herd.open(site.SENDERS)

    def __call__(self, number: int) -> None:
        self._sent += 1
        client = self.herd.clients[self._sent % site.SENDERS]
        client.send(site.publish("broadcast", self._sent))
