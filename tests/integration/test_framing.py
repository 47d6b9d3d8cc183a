"""Invalid frames close their own socket with a code, and do not affect other clients (P7).

``CASES`` also lists where daphne closes with another code than uvicorn, or without one.
"""

import json
import struct
from typing import NamedTuple

import pytest

from tests.integration import jobs
from tests.integration.places import Person, Place
from tests.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    RawSocket,
    frame,
)
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("bystander")]

CUT = None

PROTOCOL_ERROR, INVALID_DATA, TOO_BIG = 1002, 1007, 1009


class Case(NamedTuple):
    """Bytes sent after the handshake, and the resulting close codes of uvicorn and of daphne."""

    what: str
    data: bytes
    serve: int
    runserver: int | None = CUT

    def code(self, command: str) -> int | None:
        return self.serve if command == "serve" else self.runserver


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


CASES = [
    Case("unmasked", frame(TEXT, b"{}", masked=False), PROTOCOL_ERROR),
    Case("unmasked ping", frame(PING, masked=False), PROTOCOL_ERROR),
    *(Case(f"reserved bit {bit}", frame(TEXT, b"{}", reserved=bit), 1002) for bit in (1, 2, 4)),
    *(Case(f"opcode {code}", frame(code), PROTOCOL_ERROR) for code in (3, 7, 11, 15)),
    Case("ping in fragments", frame(PING, fin=False), PROTOCOL_ERROR),
    Case("ping of 126 bytes", frame(PING, b"x" * 126), PROTOCOL_ERROR),
    Case("close of 126 bytes", closing(1000, b"x" * 124), PROTOCOL_ERROR),
    Case("continuation of nothing", frame(CONTINUATION, b"{}"), PROTOCOL_ERROR),
    Case("text inside a text", frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), PROTOCOL_ERROR),
    Case("endless length", frame(TEXT, b"{}", length=b"\x7f" + b"\xff" * 8), TOO_BIG),
    Case("largest length", frame(TEXT, b"{}", length=struct.pack("!BQ", 127, 2**63 - 1)), TOO_BIG),
    Case("length of a terabyte", frame(TEXT, length=struct.pack("!BQ", 127, 2**40)), TOO_BIG),
    Case("one byte too long", frame(TEXT, length=struct.pack("!BQ", 127, 65_537)), TOO_BIG),
    Case(
        "fragments that are too long",
        frame(TEXT, b"x" * 40_000, fin=False) + frame(CONTINUATION, b"x" * 40_000),
        TOO_BIG,
        3501,
    ),
    Case("half a character", frame(TEXT, b'{"id":1,"ping":{}}\xc3'), INVALID_DATA),
    Case("overlong character", frame(TEXT, b"\xc0\x80"), INVALID_DATA),
    Case("surrogate", frame(TEXT, b"\xed\xa0\x80"), INVALID_DATA),
    Case(
        "invalid in the second fragment",
        frame(TEXT, b"{", fin=False) + frame(CONTINUATION, b"\xff"),
        INVALID_DATA,
    ),
    Case("bytes", frame(BINARY, b"\x00\xff"), 3506, 3506),
    Case("no bytes", frame(BINARY), 3506, 3506),
    Case("close", closing(1000), 1000, 1000),
    Case("close without a code", frame(CLOSE), 1005, 1000),
    Case("close with half a code", frame(CLOSE, b"\x03"), PROTOCOL_ERROR),
    *(Case(f"close with {code}", closing(code), 1002) for code in (0, 999, 1005, 1006, 5000)),
    Case("close with a reason of junk", closing(1000, b"\xff\xfe"), INVALID_DATA),
    Case(
        "close in mid-message",
        frame(TEXT, b'{"id":1,', fin=False) + closing(1000),
        PROTOCOL_ERROR,
        1000,
    ),
    Case(
        "commands after close", closing(1001) + frame(TEXT, b'{"id":9,"ping":{}}') * 20, 1001, 1000
    ),
    Case("junk after close", closing(1001) + b"\xff" * 1000, 1001, 1000),
    Case("http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PROTOCOL_ERROR),
    Case("zeros", b"\x00" * 5000, PROTOCOL_ERROR),
]


def connected(place: Place, person: Person) -> RawSocket:
    """Open a socket and send ``connect``."""
    socket = RawSocket(place.server)
    request = {"id": 1, "connect": {"token": person.token}}
    socket.send(frame(TEXT, json.dumps(request).encode()))
    assert "connect" in json.loads(socket.text())
    return socket


@pytest.mark.parametrize("is_connected", [False, True], ids=["before connect", "connected"])
def test_each_invalid_frame_closes_its_socket_with_a_code(place: Place, is_connected: bool) -> None:
    person = place.person()
    got = {}
    for case in CASES:
        with connected(place, person) if is_connected else RawSocket(place.server) as socket:
            assert socket.status == 101
            socket.send(case.data)
            got[case.what] = socket.close_code()
    assert len(got) == len(CASES)
    assert got == {case.what: case.code(place.command) for case in CASES}


PINGING = b'{"id":2,"ping":{}}'

VALID = {
    "fragments": frame(TEXT, PINGING[:5], fin=False) + frame(CONTINUATION, PINGING[5:]),
    "fragments with a character between them": frame(TEXT, b'{"x":"\xc3', fin=False)
    + frame(CONTINUATION, b'\xa9",' + PINGING[1:]),
    "empty fragments": frame(TEXT, fin=False)
    + frame(CONTINUATION, fin=False) * 20
    + frame(CONTINUATION, PINGING),
    "a ping between fragments": frame(TEXT, PINGING[:5], fin=False)
    + frame(PONG, b"unasked")
    + frame(CONTINUATION, PINGING[5:]),
}


@pytest.mark.parametrize("what", VALID)
def test_unusual_but_valid_frames_are_answered(place: Place, what: str) -> None:
    with connected(place, place.person()) as socket:
        socket.send(VALID[what])
        assert json.loads(socket.text()) == {"id": 2, "ping": {}}


def test_a_frame_sent_byte_by_byte_is_answered(place: Place) -> None:
    with connected(place, place.person()) as socket:
        for byte in frame(TEXT, PINGING):
            socket.send(bytes([byte]))
        assert json.loads(socket.text()) == {"id": 2, "ping": {}}


def test_a_hundred_frames_in_one_write_are_answered_in_order(place: Place) -> None:
    with connected(place, place.person()) as socket:
        frames = [frame(TEXT, b'{"id":%d,"ping":{}}' % number) for number in range(2, 102)]
        socket.send(b"".join(frames))
        assert [json.loads(socket.text())["id"] for _ in frames] == list(range(2, 102))


def test_pings_are_answered_with_their_payload(place: Place) -> None:
    with connected(place, place.person()) as socket:
        socket.send(frame(PING, b"abc") + frame(PING, b"x" * 125))
        assert socket.next_frame() == Frame(PONG, b"abc")
        assert socket.next_frame() == Frame(PONG, b"x" * 125)


FLOODS = {
    "empty messages": frame(TEXT) * 5000,
    "empty lines": frame(TEXT, b"\n" * 60_000),
    "pings": frame(PING) * 5000,
    "pongs": frame(PONG) * 5000,
    "fragments": (
        frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 1000 + frame(CONTINUATION)
    )
    * 4,
}

#: Floods that daphne answers itself, without telling the application.
HANDLED_BY_DAPHNE = {"pings", "pongs", "fragments"}


@pytest.mark.parametrize("what", FLOODS)
def test_thousands_of_useless_frames_close_the_connection(place: Place, what: str) -> None:
    with connected(place, place.person()) as socket:
        socket.send(FLOODS[what])
        if place.command == "serve" or what not in HANDLED_BY_DAPHNE:
            assert socket.close_code() == 3013


BREAKS = {
    "in a header": frame(TEXT, b"x" * 300)[:3],
    "in a message": frame(TEXT, PINGING)[:-3],
    "between fragments": frame(TEXT, b'{"id":1,', fin=False),
    "in a message of a terabyte to come": frame(TEXT, b"x", length=struct.pack("!BH", 126, 60_000)),
}


@pytest.mark.parametrize("where", BREAKS)
def test_a_broken_connection_is_cleaned_up(place: Place, where: str) -> None:
    person = place.person()
    for leave in (RawSocket.reset, RawSocket.finish_sending):
        socket = connected(place, person)
        socket.send(BREAKS[where])
        leave(socket)
        if leave is RawSocket.finish_sending:
            assert socket.close_code() in {CUT, 1000, 1002, 1005, 1006}
            socket.reset()
    wait_until(
        lambda: not place.other.run(jobs.connections_of, person.id),
        "the connections to be cleared away",
    )


HANDSHAKE = (
    b"GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)

HANDSHAKES = {
    "no key": HANDSHAKE.replace(b"Sec-WebSocket-Key", b"X-Key"),
    "a key that is too short": HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhl"),
    "two keys": HANDSHAKE.replace(b"Host:", b"Sec-WebSocket-Key: AAAA\r\nHost:"),
    "version 12": HANDSHAKE.replace(b"Version: 13", b"Version: 12"),
    "POST": HANDSHAKE.replace(b"GET", b"POST"),
    "another path": HANDSHAKE.replace(b"/connection/websocket", b"/connection/other"),
    "a path with a traversal": HANDSHAKE.replace(b"/connection/", b"/../connection/"),
    "another site": HANDSHAKE.replace(b"Host:", b"Origin: https://evil.example\r\nHost:"),
    "an origin of junk": HANDSHAKE.replace(b"Host:", b"Origin: http://[::\xff\r\nHost:"),
    "two origins": HANDSHAKE.replace(
        b"Host:", b"Origin: http://127.0.0.1\r\nOrigin: http://127.0.0.1\r\nHost:"
    ),
    "a host of another site": HANDSHAKE.replace(b"Host: 127.0.0.1", b"Host: evil.example"),
    "an endless header": HANDSHAKE.replace(b"Host:", b"X: " + b"x" * 200_000 + b"\r\nHost:"),
    "a zero in a header": HANDSHAKE.replace(b"Host:", b"X: \x00\r\nHost:"),
    "no http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("what", HANDSHAKES)
def test_an_invalid_handshake_is_refused(place: Place, what: str) -> None:
    with RawSocket(place.server, request=HANDSHAKES[what]) as socket:
        # 0: closed without an answer.
        assert socket.status == 0 or 400 <= socket.status < 500
