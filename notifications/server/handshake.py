"""The opening handshake of a websocket (RFC 6455 section 4.2), without I/O.

Only the form that every client sends is read here. Whatever else a request may be is left to
uvicorn's HTTP protocol, which takes 60 µs and 2 KB a connection for it. Both have their requests
parsed by the same library (httptools: llhttp, in one pass over the bytes).
"""

import base64
import binascii
import re
from collections import defaultdict
from hashlib import sha1
from typing import NamedTuple
from urllib.parse import unquote

import httptools

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#: RFC 9110 section 5.6.2.
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: A head that is longer, in bytes or in fields, is no plain one.
MAX_HEAD = 16 * 1024
MOST_FIELDS = 128

#: With a body it is no plain one either.
BODY = frozenset({b"content-length", b"transfer-encoding"})

#: What is looked at here.
WANTED = BODY | {
    b"host",
    b"upgrade",
    b"connection",
    b"sec-websocket-key",
    b"sec-websocket-version",
    b"sec-websocket-protocol",
}

Headers = list[tuple[bytes, bytes]]

#: The values of each field, in order; names in lower case.
Fields = defaultdict[bytes, list[bytes]]


class Handshake(NamedTuple):
    """A request that is to become a websocket; ``path`` is decoded, ``raw_path`` as it came."""

    path: str
    raw_path: bytes
    query: bytes
    headers: Headers
    subprotocols: list[str]
    key: bytes


class Head:
    """What the parser has found in a head. It calls these methods, from top to bottom."""

    __slots__ = ("headers", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: Headers = []

    def on_url(self, part: bytes) -> None:
        self.url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= MOST_FIELDS:
            raise ValueError("too many fields")  # the parser stops
        self.headers.append((name.lower(), value.rstrip(b" \t")))


def read_handshake(head: bytes) -> Handshake | None:
    """Read a request head.

    Args:
        head: all of it, with the empty line at its end, and nothing after it.

    Returns:
        None if it is anything but a plain and valid handshake.
    """
    if len(head) > MAX_HEAD:
        return None
    found = _parse(head)
    if found is None:
        return None
    fields: Fields = defaultdict(list)
    for name, value in found.headers:
        if name in WANTED:
            fields[name].append(value)
    if not _upgrades(fields):
        return None
    offered = _list(fields[b"sec-websocket-protocol"])
    raw_path, _, query = found.url.partition(b"?")
    if offered is None or not found.url.startswith(b"/") or not _is_plain(found.url):
        return None
    return Handshake(
        path=unquote(raw_path.decode("ascii")),
        raw_path=raw_path,
        query=query,
        headers=found.headers,
        subprotocols=[token.decode("ascii") for token in offered],
        key=fields[b"sec-websocket-key"][0],
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


def _parse(head: bytes) -> Head | None:
    """A head that asks for another protocol, complete and with nothing after it."""
    found = Head()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade as upgrade:
        if upgrade.args[0] != len(head):
            return None
    except httptools.HttpParserError:
        return None
    else:
        return None
    # The parser passes over empty lines before this one, and over more than one space in it.
    return found if head.startswith(b"GET %b HTTP/1.1\r\n" % found.url) else None


def _upgrades(fields: Fields) -> bool:
    """Is all there that section 4.2.1 asks for, and nothing twice that must be there once?"""
    if [value.lower() for value in fields[b"upgrade"]] != [b"websocket"]:
        return False
    connection = _list(fields[b"connection"])
    if connection is None or b"upgrade" not in [token.lower() for token in connection]:
        return False
    if fields[b"sec-websocket-version"] != [b"13"] or len(fields[b"host"]) != 1:
        return False
    keys = fields[b"sec-websocket-key"]
    return not BODY & fields.keys() and len(keys) == 1 and _is_key(keys[0])


def _is_plain(url: bytes) -> bool:
    return url.isascii() and b"#" not in url


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False


def _list(values: list[bytes]) -> list[bytes] | None:
    """The tokens of a field, which may be empty and come several times; None if it has others.

    Empty elements count for nothing (RFC 9110 section 5.6.1.2): some clients offer no
    subprotocol by an empty field.
    """
    parts = [part.strip(b" \t") for value in values for part in value.split(b",")]
    tokens = [part for part in parts if part]
    return tokens if all(map(TOKEN.fullmatch, tokens)) else None


def _lines(headers: Headers) -> bytes:
    return b"".join(name + b": " + value + b"\r\n" for name, value in headers)
