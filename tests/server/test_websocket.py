"""Websockets of the server over real sockets: handshake, frames, ASGI, back-pressure."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from notifications.protocol.prepared import Prepared
from notifications.server import FrameProtocol
from notifications.server.handshake import MAX_FIELDS, accept, read_handshake
from tests.sockets import raw, serving, until

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
PLAIN = (
    b"GET /live/caf%C3%A9?a=1 HTTP/1.1\r\nHost: site.example\r\nUpgrade: WebSocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: " + KEY + b"\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\nCookie: x=1\r\n\r\n"
)


def test_a_plain_handshake_is_read() -> None:
    found = read_handshake(PLAIN)
    assert found is not None
    assert (found.path, found.raw_path, found.query) == ("/live/café", b"/live/caf%C3%A9", b"a=1")
    assert found.subprotocols == ["a", "b"]
    assert found.key == KEY
    assert (b"cookie", b"x=1") in found.headers


@pytest.mark.parametrize(
    ("part", "other"),
    [
        (b"GET", b"POST"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"GET /", b"GET http://site.example/"),
        (b"?a=1", b"#a"),
        (b"WebSocket\r\n", b"h2c\r\n"),
        (b", Upgrade", b""),
        (b"Version: 13", b"Version: 8"),
        (b": a, b", b": a b"),
        (KEY, b"c2hvcnQ="),
        (KEY, b"*" * 24),
        (b"Host: site.example\r\n", b""),
        (b"Host: site.example\r\n", b"Host: site.example\r\nHost: other.example\r\n"),
        (b"Cookie: x=1", b"Sec-WebSocket-Key: " + KEY),
        (b"Cookie: x=1", b"Content-Length: 3"),
        (b"Cookie: x=1", b"Transfer-Encoding: chunked"),
        (b"Cookie: x=1", b"Cookie : x=1"),
        (b"Cookie: x=1", b"Cookie: x=1\r\n folded"),
        (b"Cookie: x=1", b"Cookie: x\x00=1"),
        (b"Cookie: x=1", b"Cookie: x=1\rSet: y"),
        (b"Cookie: x=1", b"Cookie: " + b"x" * 20_000),
        (b"Cookie: x=1\r\n\r\n", b"Cookie: x=1\r\n"),
        (b"Cookie: x=1\r\n\r\n", b"Cookie: x=1\r\n\r\nmore"),
    ],
)
def test_anything_else_is_not_a_plain_handshake(part: bytes, other: bytes) -> None:
    assert PLAIN.count(part) == 1
    assert read_handshake(PLAIN.replace(part, other)) is None


@pytest.mark.parametrize(
    ("field", "offered"),
    [
        (b"Sec-WebSocket-Protocol:", []),
        (b"Sec-WebSocket-Protocol: \t ", []),
        (b"Sec-WebSocket-Protocol: ,", []),
        (b"Sec-WebSocket-Protocol: ,a, ,b,", ["a", "b"]),
        (b"Sec-WebSocket-Protocol: a\r\nX: y\r\nSec-WebSocket-Protocol: b", ["a", "b"]),
        (b"X: y", []),
    ],
)
def test_empty_elements_of_a_list_are_ignored(field: bytes, offered: list[str]) -> None:
    found = read_handshake(PLAIN.replace(b"Sec-WebSocket-Protocol: a, b", field))
    assert found is not None
    assert found.subprotocols == offered


def test_a_head_with_too_many_fields_is_not_a_plain_handshake() -> None:
    at_most = PLAIN.replace(b"Cookie: x=1", b"\r\n".join([b"X: y"] * (MAX_FIELDS - 6)))
    assert read_handshake(at_most) is not None
    assert read_handshake(at_most.replace(b"X: y", b"X: y\r\nX: y", 1)) is None


@settings(max_examples=500)
@given(st.data())
def test_the_websockets_library_accepts_every_handshake_that_is_read(data: st.DataObject) -> None:
    junk = st.text("\r\n :,\t/x13Upgradewebsocket=", max_size=4).map(str.encode)
    place = data.draw(st.integers(0, len(PLAIN)))
    head = PLAIN[:place] + data.draw(junk) + PLAIN[place + data.draw(st.integers(0, 3)) :]
    found = read_handshake(head)
    if found is None:
        return
    library = ServerProtocol(state=State.CONNECTING)
    library.receive_data(head)
    (request,) = library.events_received()
    assert isinstance(request, Request)
    response = library.accept(request)
    assert response.status_code == 101
    digest = response.headers["Sec-WebSocket-Accept"].encode()
    assert b"Sec-WebSocket-Accept: " + digest + b"\r\n" in accept(found.key, [], None)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Echo messages; "close" closes and "fail" raises. An HTTP request is answered as HTTP."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"plain"})
        return
    assert (await receive())["type"] == "websocket.connect"
    if scope["path"] == "/fail":
        raise LookupError
    if scope["path"] == "/no":
        await send({"type": "websocket.close"})
        return
    protocol = next(iter(scope["subprotocols"]), None)
    headers = [(b"x-path", scope["raw_path"]), (b"x-query", scope["query_string"])]
    await send({"type": "websocket.accept", "subprotocol": protocol, "headers": headers})
    while (event := await receive())["type"] == "websocket.receive":
        text = event.get("text")
        if text == "fail":
            raise LookupError
        if text == "close":
            await send({"type": "websocket.close", "code": 4321, "reason": "enough"})
        else:
            await send({**event, "type": "websocket.send"})
    codes.append((event["code"], event["reason"]))


codes: list[tuple[int, str]] = []


@pytest.fixture
async def port() -> AsyncIterator[int]:
    codes.clear()
    async with serving(echo) as (_, port):
        yield port


def dial(port: int, path: str = "/", **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{port}{path}", proxy=None, **options)


async def closed_with(client: ClientConnection) -> tuple[int | None, str | None]:
    with pytest.raises(ConnectionClosed):
        await client.recv()
    return client.close_code, client.close_reason


async def ended_with() -> tuple[int, str]:
    await until(lambda: codes)
    return codes[0]


async def test_text_and_bytes_are_echoed(port: int) -> None:
    async with dial(port, "/a%20b?c=1", subprotocols=["one", "two"]) as client:
        assert client.subprotocol == "one"
        assert client.response is not None
        assert client.response.headers["x-path"] == "/a%20b"
        assert client.response.headers["x-query"] == "c=1"
        for message in ("text", b"bytes", "ü" * 30_000, ""):
            await client.send(message)
            assert await client.recv() == message


async def test_fragments_are_joined_to_one_message(port: int) -> None:
    async with dial(port) as client:
        await client.send(["o", "n", "e"])
        assert await client.recv() == "one"
        await client.send([b"\xff", b"", b"\0"])
        assert await client.recv() == b"\xff\0"


async def test_pings_are_answered(port: int) -> None:
    async with dial(port) as client:
        await asyncio.wait_for(await client.ping(), 10)


async def test_a_close_of_the_client_is_answered_and_reaches_the_application(port: int) -> None:
    async with dial(port) as client:
        await client.close(4001, "bye")
        assert client.close_code == 4001
    assert await ended_with() == (4001, "bye")


async def test_a_close_of_the_application_reaches_the_client(port: int) -> None:
    async with dial(port) as client:
        await client.send("close")
        assert await closed_with(client) == (4321, "enough")
    assert await ended_with() == (4321, "enough")


async def test_a_lost_connection_reaches_the_application(port: int) -> None:
    async with dial(port) as client:
        client.transport.abort()
        assert await ended_with() == (1006, "")


async def test_a_rejected_handshake_is_answered_with_403(port: int) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await dial(port, "/no")
    assert caught.value.response.status_code == 403


async def test_a_failing_application_ends_with_500_before_and_1011_after_accept(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await dial(port, "/fail")
    assert caught.value.response.status_code == 500
    async with dial(port) as client:
        await client.send("fail")
        assert (await closed_with(client))[0] == 1011
    assert caplog.text.count("Exception in ASGI application") == 2


@pytest.mark.parametrize("message", ["x" * 70_000, b"x" * 70_000], ids=["text", "bytes"])
async def test_a_message_that_is_too_big_ends_with_1009(port: int, message: str | bytes) -> None:
    async with dial(port) as client:
        await client.send(message)
        assert (await closed_with(client))[0] == 1009
    assert (await ended_with())[0] == 1009


async def test_a_client_that_is_still_sending_gets_the_close_code(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(PLAIN)
    await reader.readuntil(b"\r\n\r\n")
    size = 20_000_000
    writer.write(b"\x81\xff" + size.to_bytes(8) + bytes(4))
    for _ in range(size // 100_000):
        writer.write(bytes(100_000))
        await writer.drain()
    frame = await asyncio.wait_for(reader.read(), 30)
    assert (frame[0], int.from_bytes(frame[2:4])) == (0x88, 1009)
    writer.close()
    assert (await ended_with())[0] == 1009


async def test_a_client_that_goes_on_sending_after_the_close_is_dropped_in_time(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.server.bounded_socket.CLOSE_TIMEOUT", 0.2)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(PLAIN + b"\x81\xff" + (20_000_000).to_bytes(8) + bytes(4))

    async def go_on() -> None:
        while True:
            writer.write(bytes(1000))
            await writer.drain()
            await asyncio.sleep(0.01)  # a client that sends little, for longer than the timeout

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(go_on(), 30)


async def test_text_that_is_not_utf8_ends_with_1007(port: int) -> None:
    async with dial(port) as client:
        await client.send(b"\xff\xfe", text=True)
        assert (await closed_with(client))[0] == 1007
    assert (await ended_with())[0] == 1007


async def test_http_goes_to_the_http_parser(port: int) -> None:
    async with raw(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as reader:
        assert b"plain" in await asyncio.wait_for(reader.read(), 10)


async def test_a_handshake_in_pieces_is_accepted(port: int) -> None:
    async with raw(port, PLAIN[:40], PLAIN[40:]) as reader:
        assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 101 ")


async def test_a_handshake_of_another_version_is_answered_with_ours(port: int) -> None:
    async with raw(port, PLAIN.replace(b"Version: 13", b"Version: 8")) as reader:
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"Sec-WebSocket-Version: 13\r\n" in answer


async def test_a_connection_that_sends_nothing_does_not_delay_the_shutdown() -> None:
    async with contextlib.AsyncExitStack() as stack, serving(echo) as (server, port):
        reader = await stack.enter_async_context(raw(port))
        await until(lambda: server.server_state.connections)
        server.should_exit = True
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_the_shutdown_closes_with_1012() -> None:
    codes.clear()
    async with serving(echo) as (_, port):
        client = await dial(port)
    assert (await closed_with(client))[0] == 1012
    assert await ended_with() == (1012, "")


async def test_the_shutdown_does_not_wait_for_a_client_that_reads_nothing() -> None:
    blocked = asyncio.Event()

    async def flood(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        writer, message = scope["extensions"]["notifications.frames"], Prepared("x" * 60_000)
        while writer.offer(message):  # noqa: ASYNC110 - until it is blocked
            await asyncio.sleep(0)
        blocked.set()
        assert writer.is_blocked
        while (await receive())["type"] != "websocket.disconnect":
            pass

    # Nothing is read from the stream, whose buffer is small.
    async with serving(flood) as (server, port), raw(port, PLAIN):
        await asyncio.wait_for(blocked.wait(), 30)
        server.should_exit = True
        await until(lambda: not server.server_state.connections)


async def test_the_socket_is_not_read_while_the_application_does_not_receive() -> None:
    go_on = asyncio.Event()
    received = 0

    async def idle(scope: Any, receive: Any, send: Any) -> None:
        nonlocal received
        await send({"type": "websocket.accept"})
        await go_on.wait()
        while (await receive())["type"] != "websocket.disconnect":
            received += 1

    async with serving(idle) as (_, port), dial(port) as client:
        sending = asyncio.create_task(send_many(client, 3000))
        done, _ = await asyncio.wait({sending}, timeout=1.0)
        # 180 MB do not fit into the buffers in between: the server has stopped reading.
        assert not done
        go_on.set()
        await asyncio.wait_for(sending, 60)
        await client.close()
        await until(lambda: received == 3001)  # with the connect event


async def send_many(client: ClientConnection, count: int) -> None:
    for _ in range(count):
        await client.send("x" * 60_000)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: site.example\r\n",
        PLAIN[:-2],
        b"GET / HTTP/1.1\r\nHost: site.example\r\n\r\nGET / HTTP/1.1\r\n",
    ],
    ids=["nothing", "half a request", "half a handshake", "half a second request"],
)
async def test_an_unfinished_request_is_dropped_in_time(
    monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    for module in ("entrance", "http"):
        monkeypatch.setattr(f"notifications.server.{module}.HEAD_TIMEOUT", 0.3)
    async with serving(echo) as (server, port), raw(port, head) as reader:
        await asyncio.wait_for(reader.read(), 30)
        await until(lambda: not server.server_state.connections)


async def test_the_timeout_of_heads_does_not_end_websockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("entrance", "http"):
        monkeypatch.setattr(f"notifications.server.{module}.HEAD_TIMEOUT", 0.3)
    halves = PLAIN[:40], PLAIN[40:]
    async with serving(echo) as (server, port), dial(port) as client:
        async with raw(port, *halves) as reader:  # through the HTTP parser
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.6)  # twice the timeout of heads
            assert len(server.server_state.connections) == 2
        await client.send("still here")
        assert await client.recv() == "still here"


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"])
async def test_an_endless_head_is_refused(port: int, start: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start + b"GET / HTTP/1.1\r\nHost: a\r\n")
    sent = 0
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing() and sent < 50_000_000:
            writer.write(b"X-More: " + b"x" * 10_000 + b"\r\n")
            await writer.drain()
            sent += 10_000
            await asyncio.sleep(0)
    writer.transport.abort()
    # The kernel's buffers hold the rest.
    assert sent < 20_000_000


@pytest.mark.parametrize("opcode", [b"\x01", b"\x02"], ids=["text", "bytes"])
async def test_endless_fragments_end_with_1009(port: int, opcode: bytes) -> None:
    """Empty fragments count too: each takes memory until its message is complete."""
    continuation = b"\x00\x80" + bytes(4)
    async with raw(port, PLAIN, opcode + b"\x80" + bytes(4) + continuation * 1023) as reader:
        answer = await asyncio.wait_for(reader.read(), 30)
    _, _, frames = answer.partition(b"\r\n\r\n")
    assert (frames[0], int.from_bytes(frames[2:4])) == (0x88, 1009)
    assert (await ended_with())[0] == 1009


async def test_pings_of_a_client_that_reads_nothing_fill_no_memory() -> None:
    opened: list[FrameProtocol] = []

    async def accepting(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        opened.append(scope["extensions"]["notifications.frames"])
        while (await receive())["type"] != "websocket.disconnect":
            pass

    ping, marked = b"\x89\xfd" + bytes(4) + b"x" * 125, b"\x89\x81" + bytes(4) + b"y"
    async with serving(accepting) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(PLAIN)
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: opened)
        largest = 0
        for _ in range(200):
            writer.write(ping * 1000)
            await writer.drain()
            largest = max(largest, opened[0].transport.get_write_buffer_size())
        assert opened[0].is_blocked
        # 26 MB of answers do not fit into the kernel's buffers.
        assert largest < 2_000_000
        seen = b""
        # A client that reads again gets pongs again.
        while b"\x8a\x01y" not in seen:
            writer.write(marked)
            seen = seen[-2:] + await asyncio.wait_for(reader.read(2**20), 30)
        writer.transport.abort()
