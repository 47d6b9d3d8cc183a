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


async def by_http(server: Server, path: str, body: str, headers: str = "") -> Send:
    """Return a function that publishes by a POST, over one connection.

    Args:
        server: where to.
        path: of the request.
        body: of the request.
        headers: more lines of its head, each with its end of line.
    """
    request = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: text/plain\r\n"
        f"{headers}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    loop = asyncio.get_running_loop()
    # The responses are ignored: only what arrives at the sockets is measured.
    transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", server.port)
    writer = cast(asyncio.WriteTransport, transport)
    return lambda number: writer.write(request)


async def by_view(server: Server, users: int) -> Send:
    """Return a function that has a view of the site call ``notify()`` for users 1 to ``users``."""
    return await by_http(server, "/benchmark/notify", str(users))


class ByPublish:
    """Triggers broadcasts of the site by the ``publish`` command of clients with permission.

    Args:
        server: the site.
        first: primary key of the first of the :data:`~benchmarks.site.SENDERS` permitted users.
        channel: the stream to publish to.
    """

    def __init__(self, server: Server, first: int, channel: str = "broadcast") -> None:
        self._channel = channel
        self.herd: Herd = site.herd(server, site.greet(range(first, first + site.SENDERS)))
        self._sent = 1

    async def open(self) -> None:
        await self.herd.open(site.SENDERS)

    def __call__(self, number: int) -> None:
        self._sent += 1
        client = self.herd.clients[self._sent % site.SENDERS]
        client.send(site.publish(self._channel, self._sent))
