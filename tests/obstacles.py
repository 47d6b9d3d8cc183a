"""A network for tests that breaks WebSockets."""

import asyncio
import re
from contextlib import suppress
from typing import Self


class Obstacle:
    """A network between browsers and a server that breaks WebSockets, and passes on the rest.

    Args:
        port: port of the server.
        swallows: let WebSockets open, and pass on nothing after that; otherwise refuse them.
        broken: the beginnings of further paths whose requests are refused.
    """

    def __init__(self, port: int, *, swallows: bool = False, broken: tuple[str, ...] = ()) -> None:
        self.is_open = False
        #: How many WebSockets were refused or swallowed.
        self.blocked = 0
        self.port = 0
        self._server_port = port
        self._swallows = swallows
        self._broken = broken
        self._pipes: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        # A client or server that goes away, or the end of the test.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._pass_on(reader, writer)
        writer.close()
        self._pipes.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        is_socket = b"upgrade: websocket" in head.lower() and not self.is_open
        self.blocked += is_socket
        if path.startswith(self._broken or "\n") or (is_socket and not self._swallows):
            writer.write(
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            return
        # One request a connection, so that each is looked at.
        if not is_socket and b"upgrade: websocket" not in head.lower():
            head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)
            head = head[:-2] + b"Connection: close\r\n\r\n"
        above, below = await asyncio.open_connection("127.0.0.1", self._server_port)
        try:
            below.write(head)
            if is_socket:
                writer.write(await above.readuntil(b"\r\n\r\n"))
                while await reader.read(65536):
                    pass
                return
            both = [
                asyncio.create_task(_copy(*pair)) for pair in ((reader, below), (above, writer))
            ]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        finally:
            below.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
