"""Many WebSocket clients in one process, cheap: the client must never be the bottleneck.

A client is one :class:`asyncio.Protocol` that upgrades by itself, sends what it is told, and counts
frames by their headers. It knows no wire but WebSocket (RFC 6455).
"""

import asyncio
import os
import resource
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

Greeting = Callable[[int], list[bytes]]

#: Sockets opened at once; the kernel's accept queue is finite.
OPENING = 1000


def mask(payload: bytes, opcode: int = 1) -> bytes:
    """A client's frame; masked with zeros, which costs nobody anything."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    else:
        head = bytes((0x80 | opcode, 0x80 | 126)) + struct.pack("!H", size)
    return head + b"\0\0\0\0" + payload


@dataclass
class Herd:
    """The clients and what has arrived at them."""

    host: str
    port: int
    path: str
    headers: tuple[str, ...] = ()
    #: Frames that do not count: answers, pings of a wire.
    ignore: Callable[[bytes], bool] | None = None
    #: What to answer to a frame, None for nothing.
    answer: Callable[[bytes], bytes | None] | None = None
    clients: list["Client"] = field(default_factory=list)
    frames: int = 0
    bytes: int = 0
    ready: int = 0
    lost: int = 0
    _wanted: int = 0
    _reached: asyncio.Event = field(default_factory=asyncio.Event)
    keep_last: bool = False

    async def open(
        self, count: int, greeting: Greeting | None = None, ready_after: int = 1
    ) -> None:
        """Open ``count`` sockets; each is ready after so many frames (its greeting's answers)."""
        raise_open_files(count + 200)
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(OPENING)

        async def open_one(number: int) -> None:
            async with room:
                greetings = greeting(number) if greeting else []
                client = Client(self, greetings, ready_after if greeting else 0)
                await loop.create_connection(lambda: client, self.host, self.port)
                await client.is_ready
                self.clients.append(client)

        await asyncio.gather(*(open_one(number) for number in range(count)))

    def expect(self, frames: int) -> None:
        """Start to wait for so many more frames."""
        self._wanted = self.frames + frames
        self._reached.clear()

    async def arrived(self, seconds: float) -> None:
        """Wait, so long at most, for what :meth:`expect` announced."""
        async with asyncio.timeout(seconds):
            await self._reached.wait()

    def took(self, count: int) -> None:
        self.frames += count
        if self._wanted and self.frames >= self._wanted:
            self._wanted = 0
            self._reached.set()

    def close(self) -> None:
        for client in self.clients:
            if client.transport is not None:
                client.transport.abort()
        self.clients.clear()


class Client(asyncio.Protocol):
    """One socket of a herd."""

    __slots__ = (
        "_buffer",
        "_greeting",
        "_herd",
        "_left",
        "_upgraded",
        "is_ready",
        "last",
        "transport",
    )

    def __init__(self, herd: Herd, greeting: list[bytes], ready_after: int) -> None:
        self._herd = herd
        self._greeting = greeting
        self._left = ready_after
        self._buffer = b""
        self._upgraded = False
        self.transport: asyncio.Transport | None = None
        self.is_ready = asyncio.get_running_loop().create_future()
        self.last = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        herd = self._herd
        lines = [
            f"GET {herd.path} HTTP/1.1",
            f"Host: {herd.host}:{herd.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *herd.headers,
        ]
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def data_received(self, data: bytes) -> None:
        if not self._upgraded:
            data = self._upgrade(self._buffer + data)
            if not self._upgraded:
                self._buffer = data
                return
            self._buffer = b""
        data = self._buffer + data if self._buffer else data
        self._buffer = self._frames(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._herd.lost += 1
        if not self.is_ready.done():
            self.is_ready.set_exception(ConnectionError("refused or dropped"))

    def send(self, payload: bytes) -> None:
        assert self.transport is not None
        self.transport.write(mask(payload))

    def _upgrade(self, data: bytes) -> bytes:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return data
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            self.is_ready.set_exception(ConnectionError(head.split(b"\r\n", 1)[0].decode()))
            return b""
        self._upgraded = True
        for payload in self._greeting:
            self.send(payload)
        if not self._left:
            self._become_ready()
        return rest

    def _become_ready(self) -> None:
        if not self.is_ready.done():
            self._herd.ready += 1
            self.is_ready.set_result(None)

    def _frames(self, data: bytes) -> bytes:
        """Take the whole frames; give back the rest."""
        herd = self._herd
        position, count, total = 0, 0, len(data)
        while total - position >= 2:
            size, start = data[position + 1], position + 2
            if size == 126:
                if total - start < 2:
                    break
                size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
            elif size == 127:
                if total - start < 8:
                    break
                size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
            if total - start < size:
                break
            position = start + size
            if self._left or herd.ignore or herd.answer or herd.keep_last:
                count += self._look_at(data[start:position])
            else:
                count += 1
        herd.bytes += position
        if count:
            herd.took(count)
        return data[position:]

    def _look_at(self, payload: bytes) -> int:
        herd = self._herd
        if herd.keep_last:
            self.last = payload
        reply = herd.answer(payload) if herd.answer else None
        if reply is not None:
            self.send(reply)
        if herd.ignore is not None and herd.ignore(payload):
            return 0
        if self._left:
            self._left -= 1
            if not self._left:
                self._become_ready()
            return 0
        return 1


def raise_open_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(count, soft), hard), hard))


def cpu_seconds() -> float:
    """CPU time of this process, user and system."""
    times = os.times()
    return times.user + times.system


def pin(cpu: int) -> None:
    """Stay on one processor, where the machine has more than one."""
    if cpu in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {cpu})


def now() -> float:
    return time.perf_counter()
