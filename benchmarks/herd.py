"""Many cheap WebSocket clients in one process, so that the client is never the bottleneck.

Each client is one :class:`asyncio.Protocol` that performs the upgrade itself, sends prepared
messages, and counts frames by their headers. It knows no protocol above WebSocket (RFC 6455).
"""

import asyncio
import os
import resource
import select
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self, cast

Greeting = Callable[[int], list[bytes]]

#: Sockets opened concurrently; the kernel's accept queue is finite.
OPENING = 1000
OPEN_TIMEOUT = 120.0
#: Limits of a collector: sockets per poll, bytes per read, and seconds between polls.
EVENTS, READ, PAUSE = 4096, 4096, 0.0005
#: The first byte of a close frame.
CLOSE = 0x88
#: Number of leading bytes by which a frame is recognised as one that counts.
PREFIX_LENGTH = 24


def mask(payload: bytes, opcode: int = 1) -> bytes:
    """Return a client frame, masked with zeros, so that masking costs the client nothing."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    else:
        head = bytes((0x80 | opcode, 0x80 | 126)) + struct.pack("!H", size)
    return head + b"\0\0\0\0" + payload


@dataclass
class Herd:
    """The clients, and counts of what they have received."""

    host: str
    port: int
    path: str
    #: Returns what a client sends when it is connected, by its number; and the number of frames
    #: after which a client with a greeting is ready.
    greeting: Greeting | None = None
    ready_after: int = 1
    #: Whether a payload does not count, such as a reply or a ping of the protocol.
    ignore: Callable[[bytes], bool] = field(default=lambda payload: False)
    #: Returns the reply to a payload, or None.
    answer: Callable[[bytes], bytes | None] = field(default=lambda payload: None)
    #: Of the frames that are sent: text, or 2 for binary.
    opcode: int = 1
    #: Called with every payload that counts. It costs the client time.
    on_payload: Callable[[bytes], None] | None = None
    clients: list["Client"] = field(default_factory=list)
    #: Number of frames that count, and the size in bytes of all frames.
    frames: int = 0
    size: int = 0
    #: Number of sockets that ended without being closed here.
    lost: int = 0
    #: When each client was ready, in this order, and when it had sent its greeting, on the clock of
    #: :func:`now`.
    waits: list[tuple[float, float]] = field(default_factory=list)
    #: The code and the reason of the last close frame.
    close_reason: str = ""
    #: The first bytes and the size in bytes of the last frame that arrived alone and counted.
    #: A collector counts frames like it without parsing them.
    known_prefix: bytes = b"\0"
    known_size: int = 0

    async def open(self, count: int, at_once: int = OPENING) -> None:
        """Open ``count`` more sockets, ``at_once`` at a time, and wait until all are ready.

        Raises:
            ConnectionError: a socket was refused or dropped; in an :exc:`ExceptionGroup`.
            TimeoutError: not all sockets were ready after :data:`OPEN_TIMEOUT` seconds.
        """
        room = asyncio.Semaphore(at_once)
        first = len(self.clients)
        async with asyncio.timeout(OPEN_TIMEOUT), asyncio.TaskGroup() as group:
            for number in range(first, first + count):
                group.create_task(self._open_one(number, room))

    async def _open_one(self, number: int, room: asyncio.Semaphore) -> None:
        async with room:
            client = Client(self, self.greeting(number) if self.greeting else [])
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: client, self.host, self.port)
            await client.is_ready
            self.waits.append((now(), client.greeted_at))
            self.clients.append(client)

    def shrink(self, count: int) -> None:
        """Close all sockets except the first ``count``."""
        for client in self.clients[count:]:
            client.leave()
        del self.clients[count:]

    def close(self) -> None:
        self.shrink(0)


class Client(asyncio.Protocol):
    """One socket of a herd."""

    transport: asyncio.Transport

    def __init__(self, herd: Herd, greeting: list[bytes]) -> None:
        self._herd = herd
        self._greeting = greeting
        #: Number of frames to receive until it is ready.
        self._left = herd.ready_after if greeting else 0
        self._buffer = b""
        self._upgraded = False
        self._has_left = False
        self.greeted_at = 0.0
        self.is_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transport is no subclass
        herd = self._herd
        lines = [
            f"GET {herd.path} HTTP/1.1",
            f"Host: {herd.host}:{herd.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ]
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        if not self._upgraded:
            data = self._upgrade(data)
        self._buffer = self._frames(data) if self._upgraded else data

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._has_left:
            self._herd.lost += 1
        if not self.is_ready.done():
            why = self._herd.close_reason
            self.is_ready.set_exception(ConnectionError(f"refused or dropped {why}"))

    def send(self, payload: bytes) -> None:
        self.transport.write(mask(payload, self._herd.opcode))

    def leave(self) -> None:
        self._has_left = True
        self.transport.abort()

    def _upgrade(self, data: bytes) -> bytes:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return data
        status = head.split(b"\r\n", 1)[0]
        if b" 101 " not in status:
            if not self.is_ready.done():
                self.is_ready.set_exception(ConnectionError(status.decode()))
            return b""
        self._upgraded = True
        self.greeted_at = now()
        for payload in self._greeting:
            self.send(payload)
        if not self._left:
            self.is_ready.set_result(None)
        return rest

    def _frames(self, data: bytes) -> bytes:
        """Handle all complete frames, and return the remaining bytes."""
        herd = self._herd
        position, whole, count, total = 0, 0, 0, len(data)
        while total - position >= 2:
            size, start = data[position + 1], position + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, start = int.from_bytes(data[start : start + width], "big"), start + width
            if total - start < size:
                break
            if data[position] == CLOSE:
                code = int.from_bytes(data[start : start + 2], "big")
                herd.close_reason = f"{code} {data[start + 2 :]!r}"
            else:
                count += self._look_at(data[start : start + size])
            position = start + size
            whole += 1
        if count == whole == 1 and position == total and herd.on_payload is None:
            herd.known_prefix, herd.known_size = data[:PREFIX_LENGTH], total
        herd.size += position
        herd.frames += count
        return data[position:]

    def _look_at(self, payload: bytes) -> int:
        """Answer a payload if the protocol requires it; return 1 if it counts, else 0."""
        herd = self._herd
        reply = herd.answer(payload)
        if reply is not None:
            self.send(reply)
        if self._left:
            self._left -= 1
            if not self._left and not self.is_ready.done():
                self.is_ready.set_result(None)
            return 0
        if herd.ignore(payload):
            return 0
        if herd.on_payload is not None:
            herd.on_payload(payload)
        return 1


class Collector:
    """Reads the sockets of a herd directly, many at a time, without the event loop.

    A broadcast causes thousands of small reads. An event loop spends more on each of them than the
    fastest servers spend on the write. The collector sleeps between two polls, so that no write of
    a server pays for waking it up.
    """

    def __init__(self, herd: Herd) -> None:
        self._herd = herd
        self._epoll = select.epoll()
        self._clients: dict[int, Client] = {}

    def __enter__(self) -> Self:
        for client in self._herd.clients:
            client.transport.pause_reading()
            descriptor = client.transport.get_extra_info("socket").fileno()
            self._clients[descriptor] = client
            self._epoll.register(descriptor, select.EPOLLIN)
        return self

    def __exit__(self, *reason: object) -> None:
        self._epoll.close()
        for client in self._clients.values():
            client.transport.resume_reading()

    def collect(self, frames: int, seconds: float) -> None:
        """Read until the herd has counted ``frames`` frames in all.

        Raises:
            TimeoutError: not all frames have arrived within ``seconds``.
            ConnectionError: the server has closed a socket.
        """
        herd, deadline = self._herd, now() + seconds
        while True:
            for descriptor, _ in self._epoll.poll(0, EVENTS):
                data = os.read(descriptor, READ)
                if len(data) == herd.known_size and data.startswith(herd.known_prefix):
                    herd.frames += 1
                    herd.size += len(data)
                elif data:
                    self._clients[descriptor].data_received(data)
                else:
                    raise ConnectionError(f"the server has closed a socket: {herd.close_reason}")
            if herd.frames >= frames:
                return
            if now() > deadline:
                raise TimeoutError(f"{frames - herd.frames} frames are missing")
            time.sleep(PAUSE)


def raise_open_files(count: int) -> int:
    """Raise the limit of open files of this process and of its future children, up to ``count``.

    Returns:
        The limit that now applies.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        soft = min(count, hard) if hard != resource.RLIM_INFINITY else count
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def cpu_seconds() -> float:
    """Return the CPU time of this process in seconds, user and system."""
    return time.process_time()


def now() -> float:
    """Return the time in seconds on a monotonic clock that all processes of the machine share."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)
