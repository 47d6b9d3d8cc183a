"""Every way of closing a socket takes a bounded time, even if the peer reads nothing (P7)."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from notifications.protocol.prepared import Prepared
from notifications.server import FrameProtocol
from notifications.server.timed_transport import TimedTransport
from tests.raw import CLOSE, TEXT, frame
from tests.server.test_websocket import PLAIN
from tests.sockets import serving, until

GET = b"GET / HTTP/1.1\r\nHost: site.example\r\n\r\n"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.server.bounded_socket.CLOSE_TIMEOUT", 0.3)
    monkeypatch.setattr("notifications.server.timed_transport.TIMEOUT", 0.3)


class Silent:
    """A TCP connection that reads nothing, with a small receive buffer."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)


class Flooding:
    """An application that writes until the socket is blocked, then calls ``then``."""

    def __init__(self, then: Callable[[Any, Any], Awaitable[None]]) -> None:
        self._then = then
        self.is_full = asyncio.Event()
        self.told: int | None = None
        self.protocol: FrameProtocol | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        self.protocol = scope["extensions"]["notifications.frames"]
        while self.protocol.offer(Prepared("x" * 60_000)):  # noqa: ASYNC110 - until it is blocked
            await asyncio.sleep(0)
        self.is_full.set()
        await self._then(receive, send)

    @property
    def holds(self) -> int:
        """Bytes in the send buffer."""
        assert self.protocol is not None
        return self.protocol.transport.get_write_buffer_size()


async def wait(receive: Any, send: Any) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def close(receive: Any, send: Any) -> None:
    await send({"type": "websocket.close", "code": 4000})
    await wait(receive, send)


async def end(receive: Any, send: Any) -> None:
    return


async def fail(receive: Any, send: Any) -> None:
    raise LookupError


class Ending(NamedTuple):
    what: str
    then: Callable[[Any, Any], Awaitable[None]]
    last: bytes | None = b""


ENDINGS = [
    Ending("the peer closes", wait, frame(CLOSE, b"\x03\xe8")),
    Ending("the peer closes without a code", wait, frame(CLOSE)),
    Ending("the peer sends no more", wait, None),
    Ending("the peer sends what is no frame", wait, b"\xff\xff"),
    Ending("the peer sends what is no text", wait, frame(TEXT, b"\xff")),
    Ending("the application closes", close),
    Ending("both close", close, frame(CLOSE, b"\x03\xe8")),
    Ending("the application ends", end),
    Ending("the application fails", fail),
]


async def let_it_end(port: int, application: Flooding, last: bytes | None) -> None:
    """Fill the socket of a peer that reads nothing, and wait until it is gone nevertheless."""
    gone = asyncio.Event()
    with Silent(port) as peer:
        peer.send(PLAIN.replace(b"GET /", b"GET /%d/" % id(application)))
        await asyncio.wait_for(application.is_full.wait(), 30)
        assert application.protocol is not None
        application.protocol.when_gone(gone.set)
        assert not gone.is_set()
        if last is None:
            peer.socket.shutdown(socket.SHUT_WR)
        else:
            peer.send(last)
        await asyncio.wait_for(gone.wait(), 30)
    # Now that the socket is gone, the callback is called at once.
    gone.clear()
    application.protocol.when_gone(gone.set)
    assert gone.is_set()


async def test_every_ending_drops_a_peer_that_reads_nothing() -> None:
    applications = {str(id(each)): each for each in (Flooding(one.then) for one in ENDINGS)}

    async def route(scope: Any, receive: Any, send: Any) -> None:
        await applications[scope["path"].split("/")[1]](scope, receive, send)

    async with serving(route) as (server, port):
        attempts = [
            let_it_end(port, application, ending.last)
            for application, ending in zip(applications.values(), ENDINGS, strict=True)
        ]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        assert dict(zip((one.what for one in ENDINGS), outcomes, strict=True)) == dict.fromkeys(
            one.what for one in ENDINGS
        )
        assert not server.server_state.connections


async def test_a_socket_is_not_gone_while_its_buffer_holds_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("notifications.server.bounded_socket.CLOSE_TIMEOUT", 60.0)
    told = asyncio.Event()
    gone = asyncio.Event()

    async def tell(receive: Any, send: Any) -> None:
        await wait(receive, send)
        told.set()

    application = Flooding(tell)
    async with serving(application) as (_, port):
        with Silent(port) as peer:
            peer.send(PLAIN)
            await asyncio.wait_for(application.is_full.wait(), 30)
            assert application.protocol is not None
            application.protocol.when_gone(gone.set)
            peer.send(frame(CLOSE, b"\x03\xe8"))
            await asyncio.wait_for(told.wait(), 30)
            assert application.holds > 0
            assert not gone.is_set()
        await asyncio.wait_for(gone.wait(), 30)


async def test_a_stop_drops_a_peer_that_leaves_a_little_unread() -> None:
    full = asyncio.Event()

    async def fill(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        protocol = scope["extensions"]["notifications.frames"]
        while not protocol.transport.get_write_buffer_size():
            protocol.offer(Prepared("x" * 4000))
            await asyncio.sleep(0)
        assert not protocol.is_blocked
        full.set()
        await wait(receive, send)

    async with serving(fill) as (server, port):
        with Silent(port) as peer:
            peer.send(PLAIN)
            await asyncio.wait_for(full.wait(), 30)
            server.should_exit = True
            async with asyncio.timeout(30):
                await until(lambda: not server.server_state.connections)


def answering(size: int) -> Any:
    """Return an application whose responses have ``size`` bytes."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        length = (b"content-length", str(size).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": b"x" * size})

    return answer


CLOSING = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
POST = b"POST" + GET[3:-2] + b"Content-Length: 9\r\n\r\n"


REQUESTS = {
    "open": (GET, b""),
    "close": (CLOSING, b""),
    "http 1.0": (GET.replace(b"1.1", b"1.0"), b""),
    "many": (GET * 20, b""),
    "one more": (GET, CLOSING),
    "a bad one more": (GET, b"nonsense\r\n\r\n"),
    "an empty line more": (GET, b"\r\n"),
    "a body that does not come": (POST, b""),
    "a bad one after a body": (POST, b"nonsense\r\n\r\n"),
    "the peer sends no more": (GET, None),
}


async def leave_unread(server: Any, port: int, request: bytes, last: bytes | None) -> None:
    """Fill the socket of a peer that reads nothing with responses, and wait until it is gone."""
    connections = server.server_state.connections
    with Silent(port) as peer:
        name = peer.socket.getsockname()
        peer.send(request)
        await until(
            lambda: any(http.flow.write_paused for http in connections if is_of(http, name))
        )
        if last is None:
            peer.socket.shutdown(socket.SHUT_WR)
        else:
            peer.send(last)
        async with asyncio.timeout(30):
            await until(lambda: not any(is_of(each, name) for each in connections))


def is_of(connection: Any, name: Any) -> bool:
    return bool(getattr(connection, "client", None) == name)


async def test_a_response_that_is_not_read_is_dropped_with_its_socket() -> None:
    async with serving(answering(20_000_000)) as (server, port):
        attempts = [leave_unread(server, port, *request) for request in REQUESTS.values()]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        assert dict(zip(REQUESTS, outcomes, strict=True)) == dict.fromkeys(REQUESTS)


async def test_a_small_rest_that_is_not_read_is_dropped_with_its_socket() -> None:
    is_full = asyncio.Event()

    async def fill(scope: Any, receive: Any, send: Any) -> None:
        connection: Any = next(iter(server.server_state.connections))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not connection.transport.get_write_buffer_size():
            await send({"type": "http.response.body", "body": b"x" * 4000, "more_body": True})
        assert not connection.flow.write_paused
        await send({"type": "http.response.body", "body": b""})
        is_full.set()

    async with serving(fill) as (server, port):
        with Silent(port) as peer:
            peer.send(CLOSING)
            await asyncio.wait_for(is_full.wait(), 30)
            assert server.server_state.connections
            async with asyncio.timeout(30):
                await until(lambda: not server.server_state.connections)


class Lost(asyncio.Protocol):
    """A protocol that records the loss of its connection."""

    def __init__(self) -> None:
        self.is_lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost.set()


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[TimedTransport, socket.socket, asyncio.Event]]:
    """Yield a transport, the other end of its connection, and an event that is set at its loss."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    plain, protocol = await loop.create_connection(Lost, sock=ours)
    with theirs:
        yield TimedTransport(plain, loop), theirs, protocol.is_lost
    await asyncio.wait_for(protocol.is_lost.wait(), 30)


async def test_a_slow_reader_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.server.timed_transport.TIMEOUT", 3600.0)
    size = 3_000_000
    async with connected() as (transport, peer, is_lost):
        transport.write(b"x" * size)
        transport.close()
        read = 0
        while read < size:
            left = size - read
            while left - (size - read) < 400_000 and read < size:
                with contextlib.suppress(BlockingIOError):
                    read += len(peer.recv(400_000))
                await asyncio.sleep(0)
            if not is_lost.is_set():
                transport.check_progress()  # as the timer does, after enough bytes were read
        assert read == size
        transport.lost()


async def test_a_reader_that_is_too_slow_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.server.timed_transport.TIMEOUT", 3600.0)
    async with connected() as (transport, peer, is_lost):
        transport.write(b"x" * 3_000_000)
        transport.close()
        peer.recv(1000)
        await asyncio.sleep(0)
        transport.check_progress()
        await asyncio.wait_for(is_lost.wait(), 30)
