"""A bad request writes at most one line to the log, and one of each kind a minute.

The line contains no characters that forge another line or control a terminal.
"""

import re
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.client import PATIENCE
from tests.postgres import running_postgres
from tests.servers import Server

pytestmark = pytest.mark.integration

#: Matches the beginning of every log record.
RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [\w.]+ ")

SECRET = b"a" * 32
LOGIN = b"POST /accounts/login/ HTTP/1.1"
FORM = b"Content-Type: application/x-www-form-urlencoded"
PARTS = b"Content-Type: multipart/form-data; boundary=b"
#: Headers that pass the CSRF check, so that the body is parsed.
TRUSTED = (b"Cookie: csrftoken=" + SECRET, b"X-CSRFToken: " + SECRET)
SOCKET = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
)
FORGERY = b"%0a2026-01-01%2000:00:00,000%20ERROR%20forged%20x%1b[31m%c2%85%e2%80%a8%e2%80%ae"


def request(
    line: bytes, *headers: bytes, host: bytes = b"127.0.0.1", body: bytes | None = None
) -> bytes:
    lines = [line, b"Host: " + host, *headers]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    if SOCKET[0] not in headers:
        lines.append(b"Connection: close")
    return b"\r\n".join([*lines, b"", body or b""])


def get(path: bytes, *headers: bytes, host: bytes = b"127.0.0.1") -> bytes:
    return request(b"GET " + path + b" HTTP/1.1", *headers, host=host)


def post(kind: bytes, body: bytes) -> bytes:
    """A login request that passes the CSRF check."""
    return request(LOGIN, *TRUSTED, kind, body=body)


def part(name: bytes = b'name="x"', *, headers: bytes = b"", text: bytes = b"abc") -> bytes:
    head = b"--b\r\nContent-Disposition: form-data; " + name + b"\r\n" + headers
    return head + b"\r\n" + text + b"\r\n"


#: Bad requests, and the expected status of the answer to each.
REQUESTS: dict[str, tuple[bytes, int]] = {
    "metrics": (get(b"/metrics"), 403),
    "a host of somebody else": (get(b"/", host=b"evil.example"), 400),
    "a host with a space": (get(b"/", host=b"a b"), 400),
    "a host that is none": (get(b"/", host=b"\xff\x80'\"\\n"), 400),
    "no page": (get(b"/nope"), 404),
    "a long path": (get(b"/" + b"n" * 7000), 404),
    "a NUL in a path": (get(b"/a%00b"), 404),
    "a NUL in a static path": (get(b"/static/%00"), 404),
    "a path in no encoding": (get(b"/%ff%fe"), 404),
    "a forged line in a path": (get(b"/" + FORGERY), 404),
    "a long number": (get(b"/notifications/archive/" + b"9" * 5000 + b"/"), 404),
    "a long redirect": (get(b"/?" + b"a" * 17_000), 400),
    "a method that is not allowed": (request(b"POST /health/ HTTP/1.1", *TRUSTED, body=b""), 405),
    "a range that is none": (
        get(b"/static/notifications/favicon.svg", b"Range: bytes=9-1"),
        416,
    ),
    "no CSRF cookie": (request(LOGIN, FORM, body=b"a=1"), 403),
    "another site's form": (
        request(LOGIN, *TRUSTED, b"Origin: https://evil.example/\xff%0a", FORM, body=b"a=1"),
        403,
    ),
    "a CSRF cookie that is none": (request(LOGIN, b"Cookie: csrftoken=\xff", body=b""), 403),
    "parts without a boundary": (post(b"Content-Type: multipart/form-data", b"x"), 400),
    "a boundary in no encoding": (post(PARTS + b"\xe4", b"x"), 400),
    "base64 that is none": (
        post(PARTS, part(headers=b"Content-Transfer-Encoding: base64\r\n", text=b"!a") + b"--b--"),
        200,
    ),
    "a file in base64 that is none": (
        post(
            PARTS,
            part(
                b'name="x"; filename="f"',
                headers=b"Content-Transfer-Encoding: base64\r\n",
                text=b"!!!!a",
            )
            + b"--b--",
        ),
        400,
    ),
    "a part with a thousand headers": (post(PARTS, part(headers=b"X: y\r\n" * 2000)), 400),
    "a name in an encoding that is none": (post(PARTS, part(b"name*=nope''x") + b"--b--"), 200),
    "too many fields": (post(FORM, b"&".join(b"f%d=1" % n for n in range(1500))), 400),
    "too many files": (
        post(PARTS, b"".join(part(b'name="f%d"; filename="y"' % n) for n in range(150))),
        400,
    ),
    "too large a body": (post(FORM, b"a=" + b"x" * 3_000_000), 400),
    "too large a field": (post(PARTS, part(text=b"x" * 3_000_000) + b"--b--"), 400),
    "fields that are no UTF-8": (post(FORM, b"username=\xff&password=%ed%a0%80"), 200),
    "a NUL in the name": (post(FORM, b"username=a%00b&password=x"), 200),
    "a form in another encoding": (post(FORM + b"; charset=utf-16", b"a=1"), 400),
    "a form in no encoding": (post(FORM + b"; charset=undefined", b"a=1"), 400),
    "parts in an encoding of no text": (post(PARTS + b"; charset=hex", part() + b"--b--"), 400),
    "parts in an encoding of names": (post(PARTS + b"; charset=idna", part() + b"--b--"), 400),
    "a header in an unknown encoding": (get(b"/", b"Content-Type: a/b; x*=nope''x"), 400),
    "a header with a NUL": (get(b"/", b"Content-Type: a/b; charset*=utf-8''%00"), 400),
    "a header in another encoding": (get(b"/", b"Content-Type: a/b; charset=idna"), 400),
    "a session that is none": (get(b"/", b"Cookie: sessionid=nonsense"), 302),
    "a session with a NUL": (get(b"/", b'Cookie: sessionid="aaaaaaaaaaaa\\000"'), 302),
    "a session in no encoding": (get(b"/", b"Cookie: sessionid=aaaaaaaaaaaa\xff\xfe"), 302),
    "cookies that are none": (get(b"/", b'Cookie: ;;;=;\xff="; $Version=1; messages=a$[]'), 302),
    "languages that are none": (
        get(b"/accounts/login/", b"Accept-Language: " + b"a-" * 2000 + b";q=9,\xff"),
        200,
    ),
    "a page to go on to that is none": (get(b"/accounts/login/?next=http://[%00%0a"), 200),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "a length that is none": (request(LOGIN, b"Content-Length: -1"), 400),
    "chunks that are none": (
        request(LOGIN, b"Transfer-Encoding: chunked", FORM) + b"zz\r\n",
        400,
    ),
    "another upgrade": (get(b"/", b"Connection: Upgrade", b"Upgrade: h2c"), 302),
    "a socket elsewhere": (get(b"/" + FORGERY, *SOCKET), 403),
    "a socket of another host": (get(b"/connection/websocket", *SOCKET, host=b"evil"), 403),
    "a socket of another page": (
        get(b"/connection/websocket", b"Origin: https://evil\xff\t\x85", *SOCKET),
        403,
    ),
    "a socket without a key": (get(b"/connection/websocket", *SOCKET[:2]), 400),
}


def answer(server: Server, sent: bytes) -> int:
    """Send bytes and return the status of the answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as tcp:
        tcp.sendall(sent)
        got = b""
        while b"\r\n" not in got and (data := tcp.recv(4096)):
            got += data
    return int(got.split()[1])


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


def test_p7_no_bad_request_writes_more_than_one_log_line_or_forges_one(
    postgres: str, server: Callable[..., Server]
) -> None:
    running = server(
        DATABASE_URL=postgres, DJANGO_SETTINGS_MODULE="tests.integration.loud_settings"
    )
    before = len(running.log)
    wrong = {
        what: (status, found)
        for what, (sent, status) in REQUESTS.items()
        if (found := answer(running, sent)) != status
    }
    assert wrong == {}
    log = running.log[before:]
    lines = log.split("\n")
    assert lines.pop() == ""
    assert [line for line in lines if not RECORD.match(line)] == []
    assert 20 < len(lines) <= len(REQUESTS)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", log)
    assert max(map(len, lines)) < 600
    assert not [line for line in lines if " ERROR forged " in line[:60]]


def test_p7_repeated_bad_requests_are_logged_once_a_minute(
    server: Callable[..., Server],
) -> None:
    running = server(NOTIFICATIONS_WORKERS="1")
    before = len(running.log)
    for _ in range(30):
        for what in ("metrics", "a host of somebody else", "no page", "no CSRF cookie"):
            answer(running, REQUESTS[what][0])
        answer(running, REQUESTS["a socket of another page"][0])
    lines = running.log[before:].splitlines()
    assert len(lines) == 5, lines
