"""A websocket client that sends raw bytes, for frames that no library would send (RFC 6455)."""

import base64
import os
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple, Self

from tests.client import PATIENCE
from tests.servers import Server

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Frame(NamedTuple):
    opcode: int
    payload: bytes


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    length: bytes | None = None,
) -> bytes:
    """Encode one frame of a client (RFC 6455, section 5.2).

    Args:
        opcode: the frame's opcode.
        payload: the payload before masking.
        fin: set the FIN bit.
        reserved: the three reserved bits.
        masked: mask the payload, as a client must.
        length: the length field without its mask bit; None for the payload's real length.
    """
    head = (0x80 if fin else 0) | (reserved << 4) | opcode
    size = encode_length(len(payload)) if length is None else length
    first = size[0] | (0x80 if masked else 0)
    if not masked:
        return bytes([head, first]) + size[1:] + payload
    mask = os.urandom(4)
    covered = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes([head, first]) + size[1:] + mask + covered


def encode_length(size: int) -> bytes:
    """Encode a length in its shortest form (RFC 6455, section 5.2), without the mask bit."""
    if size < 126:
        return bytes([size])
    return struct.pack("!BH", 126, size) if size < 2**16 else struct.pack("!BQ", 127, size)


class RawSocket:
    """A TCP connection that has sent a websocket handshake.

    Args:
        server: the server to connect to.
        headers: further header lines of the handshake.
        request: the whole handshake, in place of the usual one.
    """

    def __init__(
        self, server: Server, headers: Iterable[str] = (), *, request: bytes = b""
    ) -> None:
        self._tcp = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        self._buffer = b""
        #: The HTTP status of the answer; 0 if there was none.
        self.status = 0
        self.send(request or _handshake(server, headers))
        while b"\r\n\r\n" not in self._buffer and self._read():
            continue
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 "):
            self.status = int(head[9:12])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._tcp.close()

    def send(self, data: bytes) -> bool:
        """Send bytes; return False if the server has already closed the connection."""
        try:
            self._tcp.sendall(data)
        except OSError:
            return False
        return True

    def finish_sending(self) -> None:
        """Shut down the sending direction of the connection."""
        self._tcp.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Drop the connection with RST instead of FIN."""
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._tcp.close()

    def next_frame(self) -> Frame | None:
        """Read the server's next frame; None if the connection has ended.

        Raises:
            TimeoutError: no frame arrives, and the connection does not end.
        """
        while True:
            found = self._parse()
            if found is not None or not self._read():
                return found

    def text(self) -> str:
        """Read the next frame, assert that it is text, and return its payload."""
        found = self.next_frame()
        assert found is not None, "the connection has ended"
        assert found.opcode == TEXT, found
        return found.payload.decode()

    def close_code(self) -> int | None:
        """Read until the connection ends; return the close code, None without a close frame."""
        code = None
        while (found := self.next_frame()) is not None:
            if found.opcode == CLOSE:
                code = int.from_bytes(found.payload[:2]) if found.payload else 1005
                self.send(frame(CLOSE, found.payload))
        return code

    def _read(self) -> bool:
        try:
            data = self._tcp.recv(65_536)
        except ConnectionError:
            return False
        self._buffer += data
        return bool(data)

    def _parse(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        start, size = 2, buffer[1]
        if size >= 126:
            start += 2 if size == 126 else 8
            size = int.from_bytes(buffer[2:start])
        if len(buffer) < start + size:
            return None
        self._buffer = buffer[start + size :]
        return Frame(buffer[0] & 0x0F, buffer[start : start + size])


def _handshake(server: Server, headers: Iterable[str]) -> bytes:
    lines = [
        "GET /connection/websocket HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
