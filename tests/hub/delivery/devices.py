"""Clients on real sockets of the real server, in the test's own event loop."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any, Self

from notifications.connect.authentication import make_token
from notifications.consumers import NotificationConsumer
from notifications.database.lanes import in_database
from notifications.hub import Connection, Hub
from tests.raw import TEXT, frame
from tests.sockets import serving

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: testserver\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Device:
    """One client, which reads only when a test asks it to, from a small buffer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.client = ""

    @classmethod
    async def connect(cls, port: int, token: str, **tls: Any) -> Self:
        tcp = socket.socket()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        tcp.setblocking(False)
        await asyncio.get_running_loop().sock_connect(tcp, ("127.0.0.1", port))
        device = cls(*await asyncio.open_connection(sock=tcp, limit=4096, **tls))
        device._writer.write(UPGRADE)
        await device._reader.readuntil(b"\r\n\r\n")
        device.say({"id": 1, "connect": {"token": token}})
        device.client = (await device.next())["connect"]["client"]
        return device

    def say(self, command: dict[str, Any]) -> None:
        self._writer.write(frame(TEXT, json.dumps(command).encode()))

    async def next(self) -> dict[str, Any]:
        """Read the next frame."""
        async with asyncio.timeout(60):
            first, size = await self._reader.readexactly(2)
            assert first == 0x81, "a whole frame of text"
            if size >= 126:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8))
            found: dict[str, Any] = json.loads(await self._reader.readexactly(size))
        return found

    async def titles(self, count: int) -> list[str]:
        """Read as many frames, which are publications or pings, and return titles or "ping"."""
        frames = [await self.next() for _ in range(count)]
        return [each["push"]["pub"]["data"]["title"] if each else "ping" for each in frames]

    def connection(self, hub: Hub) -> Connection:
        (found,) = [each for each in hub.connections.all if each.client == self.client]
        return found

    def drop(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()


@contextlib.asynccontextmanager
async def devices_of(user: Any, count: int) -> AsyncIterator[tuple[int, str, list[Device]]]:
    """Connect devices to a server; yield its port, a token of the user, and the devices."""
    token = await in_database(make_token, user)
    async with serving(NotificationConsumer.as_asgi()) as (_, port):
        devices = [await Device.connect(port, token) for _ in range(count)]
        try:
            yield port, token, devices
        finally:
            for device in devices:
                device.drop()
