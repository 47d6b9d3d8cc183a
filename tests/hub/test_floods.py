"""All input of a client is counted, with or without commands, and yields to other work (P7, P9).

These tests run the real consumer and hub on our own server, and on plain ASGI, which reports only
messages.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from notifications.consumers import NotificationConsumer
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.protocol.prepared import Prepared
from notifications.shell import MAX_WITHOUT_YIELD
from tests.peers import Peer, running_hub, until
from tests.raw import CONTINUATION, PING, TEXT, frame
from tests.rooms import make_user
from tests.server.test_turns import Turns
from tests.server.test_websocket import PLAIN
from tests.sockets import serving

pytestmark = pytest.mark.django_db(transaction=True)

#: The default of COMMAND_BURST.
BURST = 200

TOO_MANY = 3013

ids = itertools.count(100)


@asynccontextmanager
async def running_server() -> AsyncIterator[int]:
    """Run our own server with the consumer on this event loop; yield its port."""
    async with serving(NotificationConsumer.as_asgi()) as (_, port):
        yield port


def dial(port: int, **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{port}/", proxy=None, ping_interval=None, **options)


async def ask(client: ClientConnection, **request: Any) -> dict[str, Any]:
    """Send a command and return its reply."""
    command_id = next(ids)
    await client.send(json.dumps({"id": command_id, **request}))
    reply: dict[str, Any] = json.loads(await asyncio.wait_for(client.recv(), 10))
    assert reply["id"] == command_id
    return reply


def write(client: ClientConnection, data: bytes) -> None:
    client.transport.write(data)


async def code_of(client: ClientConnection) -> int | None:
    with suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(client.recv(), 30)
    return client.close_code


@pytest.mark.parametrize("text", ["", "\n", " ", "\n\n", " \r\n\t"])
async def test_messages_without_commands_are_counted(settings: Any, user: Any, text: str) -> None:
    async with running_hub(settings):
        peer = await Peer.of(user)
        await peer.connect()
        lines = len(text.removesuffix("\n").split("\n"))
        for _ in range((BURST - 20) // lines):
            peer.say(text)
        assert "ping" in await peer.call(ping={})
        for _ in range(BURST):
            peer.say(text)
        assert await peer.wait_closed() == TOO_MANY


@pytest.mark.parametrize("line", ["", " ", "{}"])
async def test_lines_without_commands_are_counted(settings: Any, user: Any, line: str) -> None:
    async with running_hub(settings):
        peer = await Peer.of(user)
        await peer.connect()
        peer.say("\n".join([line] * (BURST - 20)))
        assert "ping" in await peer.call(ping={})
        peer.say("\n".join([line] * 20_000))
        assert await peer.wait_closed() == TOO_MANY


async def test_a_frame_of_many_commands_yields_to_the_event_loop(settings: Any, user: Any) -> None:
    async with running_hub(settings, COMMAND_BURST=10_000):
        peer = await Peer.of(user)
        await peer.connect()
        turns = Turns()
        count = 3000
        peer.say("\n".join(f'{{"id":{n},"ping":{{}}}}' for n in range(2, count)))
        await peer.reply(count - 1)
        turns.stop()
        assert turns.count > count / MAX_WITHOUT_YIELD


async def test_many_messages_at_once_yield_to_the_event_loop(settings: Any, user: Any) -> None:
    async with running_hub(settings, COMMAND_BURST=10_000):
        peer = await Peer.of(user)
        await peer.connect()
        turns = Turns()
        for _ in range(3000):
            peer.say("")
        await peer.call(ping={})
        turns.stop()
        assert turns.count > 3000 / MAX_WITHOUT_YIELD


#: A message with nearly as many fragments as are allowed.
MESSAGE = frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 1000 + frame(CONTINUATION)

FLOODS = {
    "pings": frame(PING) * 2 * BURST,
    "pongs": frame(10, b"unasked") * 2 * BURST,
    "empty messages": frame(TEXT) * 2 * BURST,
    "fragments": MESSAGE * 2,
}


@pytest.mark.parametrize("is_connected", [False, True], ids=["before connect", "connected"])
async def test_floods_of_frames_end_the_connection(
    settings: Any, user: Any, is_connected: bool
) -> None:
    async with running_hub(settings), running_server() as port:
        for flood in FLOODS.values():
            peer = await Peer.of(await in_database(make_user, f"u{id(flood)}"))
            async with dial(port) as client:
                if is_connected:
                    assert "connect" in await ask(client, connect={"token": peer.token})
                write(client, flood)
                assert await code_of(client) == TOO_MANY


async def test_sockets_of_one_user_are_counted_together(settings: Any, user: Any) -> None:
    async with running_hub(settings), running_server() as port:
        peer = await Peer.of(user)
        async with dial(port) as one, dial(port) as other:
            for client in (one, other):
                assert "connect" in await ask(client, connect={"token": peer.token})
            write(one, frame(PING) * (BURST - 50))
            await asyncio.wait_for(await one.ping(), 10)
            write(other, frame(PING) * 100)
            assert await code_of(other) == TOO_MANY
            assert "ping" in await ask(one, ping={})


async def test_pings_and_fragments_of_ordinary_clients_are_served(settings: Any, user: Any) -> None:
    async with running_hub(settings), running_server() as port:
        peer = await Peer.of(user)
        async with dial(port) as client:
            assert "connect" in await ask(client, connect={"token": peer.token})
            for _ in range(100):
                await asyncio.wait_for(await client.ping(), 10)
            text = '{"id":8,"ping":{}}' + " " * 1000
            await client.send(text[place : place + 2] for place in range(0, len(text), 2))
            assert json.loads(await client.recv()) == {"id": 8, "ping": {}}
            assert "ping" in await ask(client, ping={})


async def test_a_socket_counts_for_its_address_until_it_is_gone(settings: Any) -> None:
    async with (
        running_hub(settings, MAX_CONNECTIONS_PER_ADDRESS=1) as hub,
        running_server() as port,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        first = await _full(hub, reader, writer)
        writer.write(frame(8, b"\x03\xe8"))
        await until(lambda: first.has_ended)
        async with dial(port) as second:
            assert await code_of(second) == 3504
        writer.transport.abort()
        await until(lambda: not hub.connections.addresses.by_address)
        async with dial(port) as third:
            await asyncio.wait_for(await third.ping(), 10)
            assert third.close_code is None


async def _full(hub: Hub, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
    """Open a websocket, fill it without reading, and return the hub's connection."""
    writer.write(PLAIN)
    await reader.readuntil(b"\r\n\r\n")
    await until(lambda: hub.connections.addresses.by_address)
    ((connection,),) = hub.connections.addresses.by_address.values()
    while connection.socket.offer(Prepared("x" * 60_000)):  # noqa: ASYNC110 - until it is full
        await asyncio.sleep(0)
    return connection
