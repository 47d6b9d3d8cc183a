"""The opening handshake of a websocket (RFC 6455 section 4.2), without I/O.

Only the form that every client sends is read here. Whatever else a request may be is left to
uvicorn's HTTP parser, which knows all of HTTP and takes 60 µs and 2 KB a connection for it.
"""

import base64
import binascii
import re
from hashlib import sha1
from typing import NamedTuple
from urllib.parse import unquote

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#: Field names, values and lists as in RFC 9110 section 5; no folded lines.
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
FIELD = rb"(" + TOKEN + rb"):[ \t]*([\x20-\x7e\x80-\xff\t]*)\r\n"
LIST = re.compile(TOKEN + rb"(?:[ \t]*,[ \t]*" + TOKEN + rb")*")
FIELDS = re.compile(FIELD)
HEAD = re.compile(rb"GET (/[!-\"$-~]*) HTTP/1\.1\r\n((?:" + FIELD + rb")+)\r\n")

#: A head that is longer is no plain one.
MAX_HEAD = 16 * 1024

#: With a body it is no plain one either.
BODY = frozenset({b"content-length", b"transfer-encoding"})

Headers = list[tuple[bytes, bytes]]


class Handshake(NamedTuple):
    """A request that is to become a websocket; ``path`` is decoded, ``raw_path`` as it came."""

    path: str
    raw_path: bytes
    query: bytes
    headers: Headers
    subprotocols: list[str]
    key: bytes


def read_handshake(head: bytes) -> Handshake | None:
    """Read a request head.

    Args:
        head: all of it, with the empty line at its end, and nothing after it.

    Returns:
        None if it is anything but a plain and valid handshake.
    """
    if len(head) > MAX_HEAD:
        return None
    match = HEAD.fullmatch(head)
    if match is None:
        return None
    headers = [(name.lower(), value.rstrip()) for name, value in FIELDS.findall(match[2])]
    fields = dict(headers)
    if not _upgrades(headers, fields):
        return None
    raw_path, _, query = match[1].partition(b"?")
    offered = [value for name, value in headers if name == b"sec-websocket-protocol"]
    if not all(map(LIST.fullmatch, offered)):
        return None
    return Handshake(
        path=unquote(raw_path.decode("ascii")),
        raw_path=raw_path,
        query=query,
        headers=headers,
        subprotocols=[token.decode("ascii") for value in offered for token in _tokens(value)],
        key=fields[b"sec-websocket-key"],
    )


def accept(key: bytes, headers: Headers, subprotocol: str | None) -> bytes:
    """The response that opens the websocket (RFC 6455 section 4.2.2).

    Args:
        key: as in the request.
        headers: more of them.
        subprotocol: one of those offered, None for none.
    """
    digest = base64.b64encode(sha1(key + GUID, usedforsecurity=False).digest())
    head = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + digest + b"\r\n"
    )
    if subprotocol:
        headers = [*headers, (b"Sec-WebSocket-Protocol", subprotocol.encode("ascii"))]
    return head + _lines(headers) + b"\r\n"


def refuse(status: bytes, headers: Headers) -> bytes:
    """A response without a body, after which the connection ends.

    Args:
        status: number and phrase.
        headers: more of them.
    """
    head = b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n"
    return head + _lines(headers) + b"\r\n"


def _upgrades(headers: Headers, fields: dict[bytes, bytes]) -> bool:
    """Is all there that section 4.2.1 asks for, and nothing twice that must be there once?"""
    if fields.get(b"upgrade", b"").lower() != b"websocket":
        return False
    connection = fields.get(b"connection", b"").lower()
    if not LIST.fullmatch(connection) or b"upgrade" not in _tokens(connection):
        return False
    if fields.get(b"sec-websocket-version") != b"13" or b"host" not in fields:
        return False
    if BODY & fields.keys():
        return False
    once = sum(name in (b"sec-websocket-key", b"host", b"upgrade") for name, _ in headers)
    return once == 3 and _is_key(fields.get(b"sec-websocket-key", b""))


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False


def _tokens(value: bytes) -> list[bytes]:
    return [part.strip() for part in value.split(b",")]


def _lines(headers: Headers) -> bytes:
    return b"".join(name + b": " + value + b"\r\n" for name, value in headers)
