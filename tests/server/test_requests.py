"""HTTP requests that never complete, or come by thousands, hold no resources for long (P7)."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from notifications.server.handshake import MAX_FIELDS
from notifications.server.http import MAX_HEAD, MAX_PER_TURN
from notifications.server.pieces import PIECE_SIZE
from tests.server.test_websocket import PLAIN
from tests.sockets import serving, until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Application:
    """Reads the body of each request, then answers with its size; "/early" answers first."""

    def __init__(self) -> None:
        #: What was received ("whole" or "disconnect"), by the port of the client.
        self.told: dict[int, list[str]] = defaultdict(list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        told = self.told[scope["client"][1]]
        if scope["path"] == "/early":
            await self._answer(send, b"early")
        size, is_whole = 0, False
        while not is_whole:
            event = await receive()
            if event["type"] == "http.disconnect":
                told.append("disconnect")
                return
            size += len(event["body"])
            is_whole = not event["more_body"]
        told.append("whole")
        await self._answer(send, b"%d" % size)

    async def _answer(self, send: Any, body: bytes) -> None:
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications.server.http.HEAD_TIMEOUT", 0.4)
    monkeypatch.setattr("notifications.server.http.BODY_TIMEOUT", 0.4)


@contextlib.asynccontextmanager
async def sending(
    port: int, start: bytes, drip: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, int]]:
    """Send ``start``, then ``drip`` again and again; yield the reader and the local port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def go_on() -> None:
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(drip)
                await writer.drain()
                await asyncio.sleep(0.02)  # more often than the timeout

    writer.write(start)
    dripping = asyncio.create_task(go_on())
    try:
        yield reader, writer.get_extra_info("sockname")[1]
    finally:
        dripping.cancel()
        writer.transport.abort()


#: What a peer sends first and then repeats, the status of its response, and what the application
#: receives.
SLOW: dict[str, tuple[bytes, bytes, bytes, list[str]]] = {
    "a body that does not come": (POST, b"", b"408", ["disconnect"]),
    "a body byte by byte": (POST, b"x", b"408", ["disconnect"]),
    "a chunked body that does not come": (CHUNKED, b"", b"408", ["disconnect"]),
    "a chunked body byte by byte": (CHUNKED, b"1\r\nx\r\n", b"408", ["disconnect"]),
    "an extension of a chunk without end": (CHUNKED + b"1;", b"x", b"408", ["disconnect"]),
    "trailers without end": (CHUNKED + b"0\r\n", b"a: b\r\n", b"408", ["disconnect"]),
    "a body after the answer": (POST.replace(b" / ", b" /early "), b"x", b"200", ["disconnect"]),
    "the rest of a body": (POST + b"x" * 99_000, b"x", b"408", ["disconnect"]),
    "a head byte by byte": (GET[:-2] + b"A: ", b"x", b"", []),
    "empty lines after a request": (GET, b"\r\n", b"200", ["whole"]),
    "a second head byte by byte": (GET + GET[:-2] + b"A: ", b"x", b"200", ["whole"]),
}


class Outcome(NamedTuple):
    status: bytes
    told: list[str]


async def outcome(server: Any, port: int, start: bytes, drip: bytes) -> Outcome:
    """Send this to the server, and return the status and what the application has received."""
    application = server.config.app
    answer = b""
    async with sending(port, start, drip) as (reader, mine), asyncio.timeout(30):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(2**16):
                answer += data
        await until(lambda: not any(is_of(each, mine) for each in server.server_state.connections))
    assert answer.count(b"HTTP/1.1 ") == bool(answer)
    return Outcome(answer[9:12], application.told[mine])


def is_of(connection: Any, port: int) -> bool:
    client = getattr(connection, "client", None)
    return client is not None and client[1] == port


async def test_a_request_that_makes_no_progress_is_ended(application: Application) -> None:
    async with serving(application) as (server, port):
        going = [outcome(server, port, start, drip) for start, drip, *_ in SLOW.values()]
        outcomes = dict(zip(SLOW, await asyncio.gather(*going), strict=True))
    assert outcomes == {what: Outcome(status, told) for what, (*_, status, told) in SLOW.items()}


LARGE = {
    "fields": (GET[:-2] + b"a: b\r\n" * MAX_FIELDS + b"\r\n", []),
    "trailers": (CHUNKED + b"0\r\n" + b"a: b\r\n" * MAX_FIELDS + b"\r\n", ["disconnect"]),
    "a trailer": (CHUNKED + b"0\r\na: " + b"x" * (MAX_HEAD + PIECE_SIZE), ["disconnect"]),
    "an extension": (CHUNKED + b"1;" + b"x" * (MAX_HEAD + PIECE_SIZE), ["disconnect"]),
    "empty lines": (b"\r\n" * (MAX_HEAD // 2 + PIECE_SIZE), []),
    "a url": (b"GET /" + b"x" * (MAX_HEAD + PIECE_SIZE), []),
}


async def test_a_request_that_is_too_large_is_refused(application: Application) -> None:
    async with serving(application) as (server, port):
        going = [outcome(server, port, request, b"") for request, _ in LARGE.values()]
        outcomes = dict(zip(LARGE, await asyncio.gather(*going), strict=True))
    assert outcomes == {what: Outcome(b"400", told) for what, (_, told) in LARGE.items()}


async def test_a_body_of_any_size_arrives(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.server.http.BODY_TIMEOUT", 30.0)
    async with serving(application) as (_, port):
        for size in (0, 5, 100_000, 3_000_000):
            chunks = b"".join(
                b"%x\r\n" % part + b"x" * part + b"\r\n"
                for part in (min(size, 7), size - 7)
                if part > 0
            )
            for request in (
                POST.replace(b"100000", b"%d" % size) + b"x" * size,
                CHUNKED + chunks + b"0\r\n\r\n",
            ):
                async with sending(port, request, b"") as (reader, _), asyncio.timeout(30):
                    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
                    expected = b"%d" % size
                    assert await reader.readexactly(len(expected)) == expected


async def test_a_body_that_makes_progress_may_take_its_time(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.server.http.BODY_TIMEOUT", 1.0)
    monkeypatch.setattr("notifications.server.http.MIN_BODY_PROGRESS", 1)
    request = POST.replace(b"100000", b"50")
    async with serving(application) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        for _ in range(10):
            writer.write(b"x" * 5)
            await writer.drain()
            await asyncio.sleep(0.15)  # together longer than the timeout
        assert b"200" in await asyncio.wait_for(reader.readline(), 30)
        writer.transport.abort()


async def test_a_slow_application_does_not_time_out_its_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("notifications.server.http.MIN_BODY_PROGRESS", 1_000_000)
    go_on = asyncio.Event()
    plain = Application()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        await plain(scope, receive, send)

    async with serving(slow) as (_, port):
        request = POST.replace(b"100000", b"1000000") + b"x" * 1_000_000
        async with sending(port, request, b"") as (reader, _):
            await asyncio.sleep(0.9)  # twice the timeouts
            go_on.set()
            assert b"200" in await asyncio.wait_for(reader.readline(), 30)


async def test_a_response_is_not_cut_off_by_bytes_received_during_it() -> None:
    go_on = asyncio.Event()
    plain = Application()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        await plain(scope, receive, send)

    async with serving(slow) as (_, port), sending(port, GET + b"\r\n", b"") as (reader, _):
        await asyncio.sleep(0.9)  # twice the timeouts
        go_on.set()
        assert b"200" in await asyncio.wait_for(reader.readline(), 30)


async def test_thousands_of_pipelined_requests_are_answered_in_order_and_in_turns() -> None:
    most = started = 0

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        nonlocal most, started
        connection: Any = next(iter(server.server_state.connections))
        most = max(most, len(connection.pipeline))
        started += 1
        body = scope["path"].encode()
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})

    count = 5000
    request = b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(count))
    async with serving(answer) as (server, port), sending(port, request, b"") as (reader, _):
        last = b"/%d" % (count - 1)
        answers = b""
        async with asyncio.timeout(60):
            while not answers.endswith(last):
                answers += await reader.read(2**16)
    paths = [part.rpartition(b"\r\n\r\n")[2] for part in answers.split(b"HTTP/1.1 200 OK")[1:]]
    assert paths == [b"/%d" % number for number in range(count)]
    assert started == count
    assert most <= MAX_PER_TURN


async def test_a_websocket_handshake_may_arrive_in_pieces_of_any_size(
    application: Application,
) -> None:
    async with serving(application) as (_, port):
        for size in (1, 7, len(PLAIN) - 1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for place in range(0, len(PLAIN), size):
                writer.write(PLAIN[place : place + size])
                await asyncio.sleep(0)
            line = await asyncio.wait_for(reader.readline(), 30)
            assert b"500" in line  # from an application without websockets, which was called
            writer.transport.abort()
