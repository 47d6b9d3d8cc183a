"""The opening handshake of a websocket (RFC 6455 section 4.2), without I/O.

Only the form that clients usually send is handled here. Every other request is left to uvicorn's
HTTP protocol, which takes 60 µs and 2 KB per connection. Both parse requests with the same
library (httptools, which wraps llhttp), in one pass over the bytes.
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

#: A head with more bytes or more fields is not handled here.
MAX_HEAD = 16 * 1024
MAX_FIELDS = 128

#: Nor is one that announces a body.
BODY_FIELDS = frozenset({b"content-length", b"transfer-encoding"})

#: The fields that are examined here.
EXAMINED_FIELDS = BODY_FIELDS | {
    b"host",
    b"upgrade",
    b"connection",
    b"sec-websocket-key",
    b"sec-websocket-version",
    b"sec-websocket-protocol",
}

#: Names of fields that most clients send, by themselves: all sockets share these objects.
COMMON_NAMES = {
    name: name
    for name in (
        *EXAMINED_FIELDS,
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"cookie",
        b"origin",
        b"pragma",
        b"sec-websocket-extensions",
        b"user-agent",
        b"x-forwarded-for",
        b"x-forwarded-proto",
    )
}

Headers = list[tuple[bytes, bytes]]

#: The values of each field, in order. Names are in lower case.
Fields = defaultdict[bytes, list[bytes]]


class Handshake(NamedTuple):
    """A valid handshake. ``path`` is percent-decoded, ``raw_path`` is as received."""

    path: str
    raw_path: bytes
    query: bytes
    headers: Headers
    subprotocols: list[str]
    key: bytes


class Head:
    """Collects the URL and the fields of a head; the parser calls its methods."""

    __slots__ = ("headers", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: Headers = []

    def on_url(self, part: bytes) -> None:
        self.url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= MAX_FIELDS:
            raise ValueError("too many fields")  # the parser stops
        name = name.lower()
        self.headers.append((COMMON_NAMES.get(name, name), value.rstrip(b" \t")))


def read_handshake(head: bytes) -> Handshake | None:
    """Read a websocket handshake from a request head.

    Args:
        head: the complete head, with the empty line at its end and nothing after it.

    Returns:
        The handshake, or None if the bytes are anything but a valid handshake in the usual form.
    """
    if len(head) > MAX_HEAD:
        return None
    found = _parse(head)
    if found is None:
        return None
    fields: Fields = defaultdict(list)
    for name, value in found.headers:
        if name in EXAMINED_FIELDS:
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
    """Build the response that opens the websocket (RFC 6455 section 4.2.2).

    Args:
        key: the ``Sec-WebSocket-Key`` of the request.
        headers: additional headers.
        subprotocol: the selected one of the subprotocols offered; None for none.
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
    """Build a response without a body, after which the connection is closed.

    Args:
        status: status code and reason phrase.
        headers: additional headers.
    """
    head = b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n"
    return head + _lines(headers) + b"\r\n"


def _parse(head: bytes) -> Head | None:
    """Parse a complete upgrade request with nothing after it; return None for anything else."""
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
    # The parser accepts empty lines before the request line, and several spaces in it.
    return found if head.startswith(b"GET %b HTTP/1.1\r\n" % found.url) else None


def _upgrades(fields: Fields) -> bool:
    """Return whether the fields meet RFC 6455 section 4.2.1, and announce no body."""
    if [value.lower() for value in fields[b"upgrade"]] != [b"websocket"]:
        return False
    connection = _list(fields[b"connection"])
    if connection is None or b"upgrade" not in [token.lower() for token in connection]:
        return False
    if fields[b"sec-websocket-version"] != [b"13"] or len(fields[b"host"]) != 1:
        return False
    keys = fields[b"sec-websocket-key"]
    return not BODY_FIELDS & fields.keys() and len(keys) == 1 and _is_key(keys[0])


def _is_plain(url: bytes) -> bool:
    return url.isascii() and b"#" not in url


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False


def _list(values: list[bytes]) -> list[bytes] | None:
    """Return the tokens of a list field, which may be repeated; None if an element is no token.

    Empty elements are ignored (RFC 9110 section 5.6.1.2): some clients send an empty field to
    offer no subprotocol.
    """
    parts = [part.strip(b" \t") for value in values for part in value.split(b",")]
    tokens = [part for part in parts if part]
    return tokens if all(map(TOKEN.fullmatch, tokens)) else None


def _lines(headers: Headers) -> bytes:
    return b"".join(name + b": " + value + b"\r\n" for name, value in headers)
