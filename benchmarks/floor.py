"""The floor: one write per socket and nothing else, a lower bound for any server on this loop.

It speaks just enough WebSocket to accept connections, and writes each line of stdin to all sockets.
"""

import asyncio
import base64
import hashlib
import sys
from typing import cast

import uvloop

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
clients: set[asyncio.Transport] = set()


class Floor(asyncio.Protocol):
    transport: asyncio.Transport
    _upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transport is no subclass

    def data_received(self, data: bytes) -> None:
        if self._upgraded:
            return
        key = data.split(b"Sec-WebSocket-Key: ", 1)[1].split(b"\r\n", 1)[0]
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._upgraded = True
        clients.add(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        clients.discard(self.transport)


def frame(payload: bytes) -> bytes:
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + payload


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Floor, "127.0.0.1", port, backlog=4096)
    reader = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        message = frame(line.rstrip(b"\n"))
        for transport in clients:
            transport.write(message)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
