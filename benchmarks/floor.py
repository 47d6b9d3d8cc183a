"""The floor: one write per socket and nothing else.

It speaks just enough WebSocket to accept connections, and writes each line of stdin to all sockets:
with ``os.write`` to a dense list of descriptors, or with the transports of uvloop.
"""

import asyncio
import base64
import hashlib
import os
import sys
from typing import cast

import uvloop

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
transports: list[asyncio.Transport] = []
descriptors: list[int] = []


class Floor(asyncio.Protocol):
    transport: asyncio.Transport
    _descriptor = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transport is no subclass

    def data_received(self, data: bytes) -> None:
        if self._descriptor >= 0:
            return
        key = data.split(b"Sec-WebSocket-Key: ", 1)[1].split(b"\r\n", 1)[0]
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._descriptor = self.transport.get_extra_info("socket").fileno()
        transports.append(self.transport)
        descriptors.append(self._descriptor)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._descriptor >= 0:
            transports.remove(self.transport)
            descriptors.remove(self._descriptor)


def frame(payload: bytes) -> bytes:
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + payload


def write_descriptors(message: bytes) -> None:
    """Write to all descriptors.

    Raises:
        BlockingIOError: a socket is full. The benchmark sends no broadcast before the last has
            arrived everywhere, so this never happens in it.
    """
    write = os.write
    for descriptor in descriptors:
        write(descriptor, message)


def write_transports(message: bytes) -> None:
    for transport in transports:
        transport.write(message)


async def main(port: int, *, by_descriptor: bool) -> None:
    write_all = write_descriptors if by_descriptor else write_transports
    loop = asyncio.get_running_loop()
    await loop.create_server(Floor, "127.0.0.1", port, backlog=4096)
    reader = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        write_all(frame(line.rstrip(b"\n")))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[2]), by_descriptor=sys.argv[1] == "descriptors"))
