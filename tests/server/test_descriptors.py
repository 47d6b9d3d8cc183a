"""Frames that are sent past the transport: their order, their descriptors, and how it ends."""

import asyncio
import contextlib
import os
import random
import socket
import struct
from array import array
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from notifications.protocol.prepared import Prepared
from notifications.server import FrameProtocol, descriptors
from notifications.server.descriptors import NONE, RUN, descriptor_of, send_to_all
from tests.proxies import trusting, write_certificate
from tests.raw import CLOSE, frame
from tests.server.test_websocket import PLAIN
from tests.sockets import serving, until

MESSAGES = 600


@pytest.fixture(params=["one call for all", "one call for each"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Send by the queue of the kernel, however few they are, or as where there is none."""
    monkeypatch.setattr(descriptors, "FEW", 0)
    if request.param == "one call for each":
        monkeypatch.setattr(descriptors, "_queue", lambda process: None)
    else:
        assert descriptors._queue(os.getpid()) is not None
    return str(request.param)


def nothing() -> None:
    return


async def take_frames(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    """Read so many frames without masks, and return their payloads."""
    found = []
    for _ in range(count):
        _, size = await reader.readexactly(2)
        if size >= 126:
            size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
        found.append(await reader.readexactly(size))
    return found


async def test_all_that_is_written_keeps_its_order_whichever_way_it_goes() -> None:
    """Over a small buffer, which takes whole frames, parts of them, or nothing."""
    chance = random.Random(1)
    ways = {"offered": 0, "whole": 0, "part": 0}
    done = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        protocol: FrameProtocol = scope["extensions"]["notifications.frames"]
        tcp = protocol.transport.get_extra_info("socket")
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ended = [True]
        descriptor = NONE
        for number in range(MESSAGES):
            message = Prepared(f"{number} ".ljust(chance.choice([10, 900, 5000]), "x"))
            if ended:
                ended.clear()
                descriptor = protocol.direct(lambda: ended.append(True))
                if descriptor == NONE:
                    ended.append(True)
            if not ended and chance.random() < 0.8:
                (count,) = send_to_all(array("i", [descriptor]), message.frame)
                ways["whole" if count == len(message.frame) else "part"] += 1
                if count < len(message.frame):
                    protocol.take_rest(message.frame[max(count, 0) :])
                    assert ended
            else:
                await protocol.drained()
                assert protocol.offer(message)
                assert ended, "or a frame that is sent now might overtake"
                ways["offered"] += 1
            if chance.random() < 0.1:
                await until(lambda: not protocol.transport.get_write_buffer_size())
        done.set()
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with serving(application) as (_, port):
        tcp = socket.socket()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        tcp.connect(("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=tcp, limit=4096)
        writer.write(PLAIN)
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(60):
            found = await take_frames(reader, MESSAGES)
        assert [int(payload.split()[0]) for payload in found] == list(range(MESSAGES))
        assert done.is_set()
        writer.transport.abort()
    assert all(ways.values()), ways


async def close(protocol: FrameProtocol, send: Any) -> None:
    await send({"type": "websocket.close", "code": 4000})


async def give_up(protocol: FrameProtocol, send: Any) -> None:
    protocol.abort()


async def fail(protocol: FrameProtocol, send: Any) -> None:
    raise LookupError


async def stay(protocol: FrameProtocol, send: Any) -> None:
    return


class Ending(NamedTuple):
    """What the application does, and what the peer does then."""

    what: str
    then: Callable[[FrameProtocol, Any], Awaitable[None]] = stay
    peer: Callable[[socket.socket], object] = lambda tcp: None
    stops: bool = False


def reset(tcp: socket.socket) -> None:
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    tcp.close()


ENDINGS = [
    Ending("the application closes", close),
    Ending("the application drops the socket", give_up),
    Ending("the application fails", fail),
    Ending("the peer closes", peer=lambda tcp: tcp.sendall(frame(CLOSE, b"\x03\xe8"))),
    Ending("the peer sends what is no frame", peer=lambda tcp: tcp.sendall(b"\xff\xff")),
    Ending("the peer sends no more", peer=lambda tcp: tcp.shutdown(socket.SHUT_WR)),
    Ending("the peer resets", peer=reset),
    Ending("the server stops", stops=True),
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.what)
async def test_it_ends_before_the_descriptor_is_closed(ending: Ending) -> None:
    states: list[bool] = []
    direct = asyncio.Event()
    gone = asyncio.Event()
    opened: list[FrameProtocol] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        protocol: FrameProtocol = scope["extensions"]["notifications.frames"]
        opened.append(protocol)
        protocol.when_gone(gone.set)
        await until(lambda: not protocol.transport.get_write_buffer_size())  # the handshake
        descriptor = protocol.direct(lambda: states.append(is_same(descriptor, inode)))
        inode = os.fstat(descriptor).st_ino
        direct.set()
        await ending.then(protocol, send)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with serving(application) as (server, port):
        with contextlib.closing(socket.create_connection(("127.0.0.1", port))) as tcp:
            tcp.sendall(PLAIN)
            await asyncio.wait_for(direct.wait(), 60)
            ending.peer(tcp)
            if ending.stops:
                server.should_exit = True
            await until(lambda: states)
            assert opened[0].direct(nothing) == NONE
        await asyncio.wait_for(gone.wait(), 60)
    assert states == [True]


def is_same(descriptor: int, inode: int) -> bool:
    return os.fstat(descriptor).st_ino == inode


class Sockets(NamedTuple):
    """Some pairs of sockets: those that are written to, and their peers."""

    ours: list[socket.socket]
    theirs: list[socket.socket]

    def send(self, data: bytes) -> list[int]:
        return send_to_all(array("i", [each.fileno() for each in self.ours]), data)

    def received(self) -> list[bytes]:
        return [each.recv(100) for each in self.theirs]


@contextlib.contextmanager
def sockets(count: int) -> Iterator[Sockets]:
    with contextlib.ExitStack() as stack:
        found = Sockets([], [])
        for _ in range(count):
            for ends, each in zip(found, socket.socketpair(), strict=True):
                each.setblocking(False)
                ends.append(stack.enter_context(each))
        yield found


def fill(tcp: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while tcp.send(b"x" * 1000):
            pass


def test_each_of_very_many_sockets_gets_all_of_it() -> None:
    with sockets(2 * RUN + 1) as some:
        for data in (b"one", b"and two"):
            assert some.send(data) == [len(data)] * len(some.ours)
            assert set(some.received()) == {data}


def test_a_socket_that_is_full_or_gone_takes_nothing_and_the_others_all() -> None:
    with sockets(RUN + 3) as some:
        full, gone, last = some.ours[1], some.theirs[3], some.ours[-1]
        fill(full)
        gone.close()
        fill(last)
        taken = some.send(b"frame")
        assert [place for place, count in enumerate(taken) if count < 0] == [1, 3, RUN + 2]
        assert taken.count(5) == RUN
        for place in (0, 2, 4, RUN, RUN + 1):
            assert some.theirs[place].recv(100) == b"frame"


def test_a_descriptor_that_is_closed_raises_nothing_and_the_others_get_all_of_it() -> None:
    with sockets(RUN + 3) as some:
        numbers = array("i", [each.fileno() for each in some.ours])
        for place in (0, 7, RUN):
            some.ours[place].close()
        taken = send_to_all(numbers, b"frame")
        assert [place for place, count in enumerate(taken) if count == -1] == [0, 7, RUN]
        assert taken.count(5) == RUN
        assert {each.recv(100) for each in some.theirs} == {b"frame", b""}
        assert send_to_all(numbers[1:7], b"again") == [5] * 6


def test_a_forked_process_sends_too() -> None:
    with sockets(3) as some:
        assert some.send(b"one") == [3] * 3
        child = os.fork()
        if not child:
            os._exit(some.send(b"two").count(3))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        assert some.received() == [b"onetwo"] * 3
        assert some.send(b"three") == [5] * 3


def test_only_sockets_that_do_not_block_are_sent_to() -> None:
    """Whoever sends to a socket that blocks would wait for it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert descriptor_of(transport_of(ours)) == NONE
        ours.setblocking(False)
        assert descriptor_of(transport_of(ours)) == ours.fileno()


def transport_of(found: object) -> asyncio.Transport:
    return asyncio.Transport({"socket": found})


async def test_a_socket_with_tls_has_no_descriptor(tmp_path: Path) -> None:
    found: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        protocol: FrameProtocol = scope["extensions"]["notifications.frames"]
        await until(lambda: not protocol.transport.get_write_buffer_size())  # the handshake
        found.append(protocol.direct(nothing))
        protocol.offer(Prepared("by the transport"))
        while (await receive())["type"] != "websocket.disconnect":
            pass

    write_certificate(tmp_path)
    files = {
        "ssl_certfile": str(tmp_path / "fullchain.pem"),
        "ssl_keyfile": str(tmp_path / "privkey.pem"),
    }
    async with serving(application, **files) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting())
        writer.write(PLAIN)
        await reader.readuntil(b"\r\n\r\n")
        assert await take_frames(reader, 1) == [b"by the transport"]
        writer.transport.abort()
    assert found == [NONE]
