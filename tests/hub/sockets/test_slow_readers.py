"""Clients that never read, on real sockets (P5)."""

import asyncio
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from notifications import broadcast
from notifications.connect.authentication import make_token
from notifications.consumers import NotificationConsumer
from notifications.database.lanes import in_database
from notifications.hub import Connection, Hub
from notifications.protocol import codes
from tests.peers import Peer, running_hub
from tests.rooms import make_user
from tests.sockets import serving, until

pytestmark = pytest.mark.django_db(transaction=True)

READERS = 20
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: testserver\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    async with running_hub(settings, SLOW_TIMEOUT=3600.0) as running:
        yield running


def frame(text: str) -> bytes:
    """Build a text frame of a client, with a mask of zeros and a 16-bit length."""
    payload = text.encode()
    return b"\x81\xfe" + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload


async def idle_reader(port: int, token: str) -> socket.socket:
    """Connect a client with a small receive buffer, which then reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, UPGRADE)
    assert (await loop.sock_recv(client, 1024)).endswith(b"\r\n\r\n")
    command = json.dumps({"id": 1, "connect": {"token": token}})
    await loop.sock_sendall(client, frame(command))
    return client


async def publish(count: int) -> None:
    for number in range(count):
        await in_database(broadcast, f"number {number}", data={"text": "x" * 16_000})


def held(connection: Connection) -> int:
    """Bytes in the write buffer of the server's transport."""
    writer: Any = connection.socket.offer
    size: int = writer.__self__.transport.get_write_buffer_size()
    return size


async def test_readers_that_never_read_use_at_most_64_kb_each(hub: Hub) -> None:
    user = await in_database(make_user)
    token = await in_database(make_token, user)
    quick = await Peer.of(user)
    await quick.connect()
    async with serving(NotificationConsumer.as_asgi()) as (_, port):
        clients = [await idle_reader(port, token) for _ in range(READERS)]
        await until(lambda: len(hub.streams.by_name["broadcast"].live) == READERS + 1)
        connections = [one for one in hub.connections.all if one is not quick.connection(hub)]
        published = 0
        while not all(one.is_blocked for one in connections):
            await publish(20)
            published += 20
        await until(lambda: len(quick.publications) == published)
        quick.publications.clear()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        await publish(40)
        await until(lambda: len(quick.publications) == 40)
        quick.publications.clear()
        quick.frames.clear()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert max(held(one) for one in connections) <= 64 * 1024
        # The 40 further publications of 16 KB each were not buffered for these readers.
        assert (after - before) / READERS <= 64 * 1024
        assert all(one.readers["broadcast"].sent < published for one in connections)
        for client in clients:
            client.close()


async def test_a_slow_reader_that_reads_again_gets_the_close_code(hub: Hub, settings: Any) -> None:
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "SLOW_TIMEOUT": 0.2}
    user = await in_database(make_user)
    token = await in_database(make_token, user)
    async with serving(NotificationConsumer.as_asgi()) as (_, port):
        client = await idle_reader(port, token)
        await until(lambda: hub.connections.all)
        (connection,) = hub.connections.all
        while connection.closing is None:
            await publish(20)
        assert connection.closing == codes.SLOW
        await until(lambda: not hub.connections.all)
        loop = asyncio.get_running_loop()
        close = b"\x88\x06" + codes.SLOW.code.to_bytes(2, "big") + codes.SLOW.reason.encode()
        received = b""
        while not received.endswith(close):
            piece = await asyncio.wait_for(loop.sock_recv(client, 65_536), 30)
            assert piece, "closed without a word"
            received = (received + piece)[-64:]
        client.close()
