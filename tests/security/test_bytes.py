"""The work for bytes from strangers is linear in their number (P7).

Each parser gets generated input: valid, almost valid and invalid, with each part long. The tests
bound the number of Python lines that are executed, not a time. ``test_patterns.py`` shows that the
regular expressions are linear too. ``make soak`` runs a hundred times as many examples.
"""

import asyncio
import base64
import itertools
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import jwt
import pytest
from django.core.exceptions import ValidationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications.admin.connections import browser_name
from notifications.connect.sessions import PLAIN_KEY
from notifications.connect.tokens import read_token
from notifications.group_names import group_name
from notifications.models import validate_kind, validate_text, validate_url
from notifications.origin import AllowedOriginValidator
from notifications.protocol import codes
from notifications.protocol.effects import Close, Perform, Send
from notifications.protocol.protobuf import PROTOBUF
from notifications.protocol.session import Session
from notifications.server.handshake import MAX_HEAD, read_handshake
from notifications.shell import read_session_key
from notifications.streams import names as stream_names
from tests.integration.commands import answerable, dangerous, dangerous_bytes
from tests.protocol.test_session import connected, new_session
from tests.raw import frame
from tests.server.test_websocket import PLAIN, echo
from tests.sockets import serving, until
from tests.steps import counted
from tests.wire_forms import PROTOBUF as PROTOBUF_FORM
from tests.wire_forms import UNENCODABLE, field, whole

SOAK = 100 if os.environ.get("SOAK") == "1" else 1

SECRET = "a secret of the tests that is long enough"


def tries(count: int) -> settings:
    """Return settings with this number of examples in ``make test``."""
    return settings(
        max_examples=count * SOAK,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def long(*units: str, most: int = 8000) -> st.SearchStrategy[str]:
    """Generate texts that repeat one unit, in which non-linear work shows."""
    unit = st.sampled_from(units) | st.text(max_size=3)
    return st.builds(
        lambda start, unit, count, end: start + unit * min(count, most // max(1, len(unit))) + end,
        st.sampled_from(["", *units]) | st.text(max_size=5),
        unit,
        st.integers(0, most),
        st.sampled_from(["", *units]) | st.text(max_size=5),
    )


def assert_linear(steps: int, size: int, *, base: int, each: float) -> None:
    assert steps <= base + each * size, f"{steps} steps for {size} characters"


def steps_of(function: Callable[[], object]) -> int:
    """Count the steps of a second call, which does not pay for initialization."""
    function()
    with counted() as steps:
        function()
    return steps.count


# Heads

LINES = [
    b"Host: site.example",
    b"Upgrade: websocket",
    b"Connection: keep-alive, Upgrade",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Protocol: a, b",
    b"Sec-WebSocket-Protocol:",
    b"Cookie: sessionid=x; y=z",
    b"Content-Length: 3",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
]

ODD_BYTES = [b" ", b"\t", b"\r", b"\n", b":", b",", b"\x00", b"\xff"]
junk = st.binary(max_size=8) | st.sampled_from(ODD_BYTES)
values = long("a", " ", "\t", ",", " ,", ": ", "=", ";", "é", most=4000).map(
    lambda text: text.encode("latin-1", "replace")
)
fields = st.builds(
    lambda name, gap, value: name + b":" + gap + value,
    st.sampled_from([b"A", b"Cookie", b"Connection", b"Sec-WebSocket-Protocol", b"Host", b""]),
    st.sampled_from([b"", b" ", b" " * 500, b"\t \t"]),
    values,
)
lines = st.one_of(
    st.lists(st.sampled_from(LINES), max_size=12),
    st.permutations(LINES[:6]),
    st.builds(lambda line, count: [line] * count, fields, st.integers(0, 300)),
    st.lists(fields | junk, max_size=10),
)
urls = long("/", "%41", "?", "a", " ", most=4000).map(str.encode)
starts = st.one_of(
    st.sampled_from([b"GET / HTTP/1.1", b"POST / HTTP/1.1", b"GET / HTTP/1.0", b"GET", b""]),
    st.builds(lambda url: b"GET /" + url + b" HTTP/1.1", urls),
)
ends = st.sampled_from([b"\r\n\r\n", b"\r\n", b"", b"\n\n", b"\r\n \r\n\r\n"]) | junk
heads = st.builds(
    lambda start, parts, end: b"\r\n".join([start, *itertools.chain(*parts)]) + end,
    starts,
    st.lists(lines, max_size=3),
    ends,
)


@tries(300)
@given(heads)
def test_a_head_is_parsed_in_linear_time(head: bytes) -> None:
    steps = steps_of(lambda: read_handshake(head))
    assert_linear(steps, min(len(head), MAX_HEAD), base=100, each=3)


def broken(place: int, junk: bytes, cut: int) -> bytes:
    return PLAIN[: place % len(PLAIN)] + junk + PLAIN[place % len(PLAIN) + cut :]


class Loop:
    """A server whose event loop runs only during :meth:`send`."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._serving = serving(echo)
        self.server, self.port = runner.run(self._serving.__aenter__())

    def close(self) -> None:
        self._runner.run(self._serving.__aexit__(None, None, None))

    def send(self, pieces: list[bytes]) -> bytes:
        """Send the pieces separately on a new connection, and return the response."""
        return self._runner.run(self._send(pieces))

    async def _send(self, pieces: list[bytes]) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.get_extra_info("socket").setsockopt(6, 1, 1)  # TCP_NODELAY
        for piece in pieces:
            if writer.transport.is_closing():
                break
            writer.write(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        with suppress(OSError):  # the server has closed already
            writer.write_eof()
        answer = await asyncio.wait_for(_read(reader), 30)
        writer.close()
        await until(lambda: not self.server.server_state.connections)
        await until(lambda: not self.server.server_state.tasks)
        return answer


async def _read(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    try:
        while data := await reader.read(2**16):
            answer += data
    except ConnectionError:
        pass
    return answer


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    with asyncio.Runner() as runner:
        loop = Loop(runner)
        yield loop
        loop.close()


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[place : place + size] for place in range(0, len(data), size)]


sizes = st.sampled_from([1, 2, 7, 40, 511, 512, 513, 5000, 10**6])


@tries(60)
@given(heads | st.builds(broken, st.integers(0), junk, st.integers(0, 3)), sizes)
def test_requests_in_pieces_of_any_size_are_answered_in_linear_time(
    loop: Loop, caplog: pytest.LogCaptureFixture, request_: bytes, size: int
) -> None:
    size = max(size, len(request_) // 500)
    pieces = pieces_of(request_, size)
    with counted() as steps:
        answer = loop.send(pieces)
    assert_linear(steps.count, len(request_), base=4000 + 100 * len(pieces), each=10)
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert_quiet(caplog)


def assert_quiet(caplog: pytest.LogCaptureFixture) -> None:
    for record in caplog.records:
        assert not record.exc_info, record.getMessage()
        assert record.levelno < logging.ERROR, record.getMessage()
    caplog.clear()


# Frames


def _frame(fin: bool, reserved: int, opcode: int, is_masked: bool, payload: bytes) -> bytes:
    return frame(opcode, payload, fin=fin, reserved=reserved, masked=is_masked)


def repeated(data: bytes, count: int) -> bytes:
    return data * min(count, 4000 // len(data) + 1)


payloads = st.one_of(
    st.binary(max_size=20),
    st.builds(repeated, st.binary(min_size=1, max_size=4), st.integers(0, 4000)),
    st.sampled_from([b"\x03\xe8", b"\x03", b"\xff\xff", b"\xc3", "é".encode() * 2000, b""]),
)
data_or_control = st.sampled_from([0, 1, 1, 2, 9, 10])
right_frames = st.builds(
    _frame, st.booleans(), st.just(0), data_or_control, st.just(True), payloads
)
any_frames = st.builds(
    _frame, st.booleans(), st.integers(0, 7), st.integers(0, 15), st.booleans(), payloads
)
lengths = st.sampled_from([b"\x7e\xff\xff", b"\x7f" + b"\xff" * 8])
frames = st.one_of(
    right_frames,
    st.builds(repeated, right_frames, st.integers(1, 700)),
    any_frames,
    st.builds(lambda length: frame(1, length=length), lengths),
    junk,
)


@tries(100)
@given(st.lists(frames, max_size=6).map(b"".join), sizes)
def test_frames_in_pieces_of_any_size_are_processed_in_linear_time(
    loop: Loop, caplog: pytest.LogCaptureFixture, data: bytes, size: int
) -> None:
    size = max(size, len(data) // 500)
    pieces = pieces_of(data, size)
    with counted() as steps:
        answer = loop.send([PLAIN, *pieces])
    assert_linear(steps.count, len(data), base=4000 + 100 * len(pieces), each=40)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert_quiet(caplog)


POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"

#: Requests and frames in which one part grows with ``n``.
GROWING: dict[str, Callable[[int], bytes]] = {
    "fields": lambda n: b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * n + b"\r\n",
    "fields of a handshake": lambda n: PLAIN[:-2] + b"A: b\r\n" * n + b"\r\n",
    "a head that is not whole": lambda n: b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * n,
    "a url": lambda n: b"GET /" + b"a" * 6 * n + b" HTTP/1.1\r\n\r\n",
    "a value": lambda n: PLAIN[:-2] + b"A: " + b" b" * 3 * n + b"\r\n\r\n",
    "chunks": lambda n: POST + b"1\r\nx\r\n" * n + b"0\r\n\r\n",
    "pings": lambda n: PLAIN + frame(9) * n,
    "fragments": lambda n: PLAIN + frame(1, fin=False) + frame(0, fin=False) * n + frame(0),
    "messages": lambda n: PLAIN + frame(1) * n,
    "a message": lambda n: PLAIN + frame(1, b"x" * 6 * n),
}


@pytest.mark.parametrize("size", [7, 61, 511])
@pytest.mark.parametrize("what", GROWING)
def test_doubling_the_input_at_most_doubles_the_work(loop: Loop, what: str, size: int) -> None:
    costs = []
    for count in (50, 50, 100):  # the first run pays for initialization
        data = GROWING[what](count)
        head, rest = (PLAIN, data[len(PLAIN) :]) if data.startswith(PLAIN) else (b"", data)
        with counted() as steps:
            loop.send([*pieces_of(head, size), *pieces_of(rest, size)])
        costs.append(steps.count)
    assert costs[2] <= 2.2 * costs[1] + 500


# Commands


command_lines = st.one_of(
    answerable.map(lambda request: json.dumps({"id": 7, **request})),
    dangerous,
    st.sampled_from(["", " ", "{}", "\t", "[]", "{", '{"id":8,"ping":{}}']),
)
texts = st.one_of(
    st.lists(command_lines, max_size=8).map("\n".join),
    st.builds(lambda line, count: "\n".join([line] * count), command_lines, st.integers(0, 500)),
    long("{", "[", "\n", " \n", '{"id":', "\\u0000", '"', "9", "{}\n", "é", most=70_000),
)


@tries(300)
@given(texts, st.booleans())
def test_a_message_is_processed_in_linear_time(text: str, is_connected: bool) -> None:
    session = connected() if is_connected else new_session()
    with counted() as steps:
        process(session, text)
    assert_linear(steps.count, len(text), base=200, each=40)


def process(session: Session, frame: str | bytes) -> None:
    for effect in session.receive(frame, 1.0):
        if isinstance(effect, Perform):
            session.refuse(effect.command_id, codes.INTERNAL)
        else:
            assert isinstance(effect, Send | Close)


messages = st.one_of(
    dangerous_bytes,
    answerable.map(lambda request: encoded({"id": 7, **request})),
    st.sampled_from([b"", b"\0", b"\xff", b"\x80", whole(field(99, b""))]),
)
binary = st.one_of(
    st.lists(messages, max_size=8).map(b"".join),
    st.builds(
        lambda message, count: message * min(count, 70_000 // max(1, len(message))),
        messages,
        st.integers(0, 70_000),
    ),
)


def encoded(request: Any) -> bytes:
    try:
        return PROTOBUF_FORM.encode([request])
    except UNENCODABLE:
        return b""


@tries(300)
@given(binary, st.booleans())
def test_a_binary_message_is_processed_in_linear_time(frame: bytes, is_connected: bool) -> None:
    session = connected(PROTOBUF) if is_connected else new_session(PROTOBUF)
    with counted() as steps:
        process(session, frame)
    assert_linear(steps.count, len(frame), base=300, each=80)


#: Commands in which one part grows with ``n``.
GROWING_COMMANDS: dict[str, Callable[[int], bytes]] = {
    "positions": lambda n: field(
        4, b"".join(field(3, field(1, b"%06d" % i) + field(2, b"")) for i in range(n))
    ),
    "one position again and again": lambda n: field(4, field(3, field(2, b"")) * n),
    "headers": lambda n: field(4, b"".join(field(6, field(1, b"%06d" % i)) for i in range(n))),
    "filters beside each other": lambda n: field(5, field(13, field(6, b"") * n)),
    "unknown fields": lambda n: field(5, b"".join(field(i + 50, b"") for i in range(n))),
    "parts of one request": lambda n: field(13, field(2, b"a")) * n,
    "batches of keys": lambda n: field(15, field(4, b"") * n),
    "keys": lambda n: field(15, field(4, field(2, b"") * n)),
    "names": lambda n: field(15, field(5, b"a") * n),
    "data": lambda n: field(13, field(1, b"[" + b"{}," * n + b"{}]")),
    "levels": lambda n: field(13, field(1, b"[" * n + b"]" * n)),
}


@pytest.mark.parametrize("what", GROWING_COMMANDS)
def test_a_command_of_twice_the_size_takes_at_most_twice_the_time(what: str) -> None:
    """Most of the work is the library's, and that is counted in processor time."""

    def cost(count: int) -> float:
        frame = whole(field(1, 7) + GROWING_COMMANDS[what](count))
        return min(timed(lambda: list(PROTOBUF.decode(frame))) for _ in range(5))

    assert cost(8000) <= 3 * cost(4000) + 0.002


def timed(function: Callable[[], object]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began


# Texts


def refused(error: type[Exception], function: Callable[[str], object], text: str) -> bool:
    """Call the function and return whether it raised this error."""
    try:
        function(text)
    except error:
        return True
    return False


@tries(100)
@given(long("a", ".", "-", "_", "..", "é", "\x00", "\ud800", "A"))
def test_names_are_parsed_in_linear_time(text: str) -> None:
    def read() -> None:
        for name in (text, f"user:{text}", f"topic:{text}", f"group:{text}"):
            if not refused(stream_names.UnknownStream, stream_names.parse, name):
                assert len(group_name(name)) < 100
        refused(ValidationError, validate_kind, text)
        refused(ValidationError, validate_text, text)

    assert_linear(steps_of(read), len(text), base=400, each=0.1)


LINKS = ["/", "a", ":", "http://", "//", "[", "]", "@", "%", "\\", "\t", ".", "?", "#", "é", "\x00"]


@tries(100)
@given(long(*LINKS))
def test_links_are_validated_in_linear_time(text: str) -> None:
    def read() -> None:
        for link in (text, f"https://{text}", f"/{text}"):
            refused(ValidationError, validate_url, link)

    assert_linear(steps_of(read), len(text), base=600, each=10)


@tries(100)
@given(long("sessionid=", ";", "=", ",", "a", '"', "\\", " ", "a=b;", "é", "\x00"))
def test_cookies_and_user_agents_are_parsed_in_linear_time(text: str) -> None:
    def read() -> None:
        PLAIN_KEY.match(read_session_key(text))
        browser_name(text)

    assert_linear(steps_of(read), len(text), base=300, each=20)


def _token(header: Any, claims: Any, key: str) -> str:
    parts = [_encoded(json.dumps(part).encode()) for part in (header, claims)]
    signature = jwt.get_algorithm_by_name("HS256").sign(b".".join(parts), key.encode())
    return b".".join([*parts, _encoded(signature)]).decode()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


ODD = ["1", "", 1, None, -1, 10**400, 1e308, [], {}, "\x00", "\ud800"]
claims: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "iss", "jti", "credentials"]),
    st.sampled_from(ODD) | long("1", "9", ".", "é", most=2000),
)
algorithms = ["HS256", "HS256", "HS256", "none", "HS512", "RS256", 7, None, "x" * 2000]
headers = st.fixed_dictionaries(
    {"alg": st.sampled_from(algorithms)},
    optional={"typ": st.sampled_from(["JWT", 7]), "crit": st.just(["x"]), "b64": st.just(False)},
)
tokens = st.one_of(
    st.builds(_token, headers, claims, st.sampled_from([SECRET, SECRET[::-1]])),
    long(".", "a", "=", "e30", "e30.", "eyJhbGciOiJIUzI1NiJ9.", "é", "\x00"),
)


@pytest.fixture
def secret(settings: Any) -> None:
    settings.NOTIFICATIONS = {"TOKEN_SECRET": SECRET}


@pytest.mark.usefixtures("secret")
@tries(150)
@given(tokens)
def test_tokens_are_parsed_in_linear_time(token: str) -> None:
    assert_linear(steps_of(lambda: read_token(token)), len(token), base=600, each=5)


ORIGINS = ["http://", "https://", "a", ".", ":", "[", "]", "@", "/", "\xff", "\x00", "null", " "]


@tries(100)
@given(long(*ORIGINS), st.integers(0, 3))
def test_origins_are_checked_in_linear_time(origin: str, count: int) -> None:
    value = origin.encode("latin-1", "replace")
    fields = [(b"host", b"site.example"), *[(b"origin", value)] * count]
    scope = {"type": "websocket", "path": "/", "headers": fields}

    async def ask() -> None:
        events = iter(["connect", "disconnect"])

        async def receive() -> dict[str, Any]:
            return {"type": f"websocket.{next(events)}", "code": 1006}

        await AllowedOriginValidator(ignore)(scope, receive, ignore)

    steps = steps_of(lambda: asyncio.run(ask()))
    assert_linear(steps, len(origin) * max(1, count), base=3000, each=20)


async def ignore(*args: object) -> None:
    """Do nothing, as an application or as its ``send``."""


def test_quadratic_work_is_detected() -> None:
    """The measurement works: quadratic work exceeds the limit."""

    def quadratic(text: str) -> int:
        found = 0
        for end in range(len(text)):
            for char in text[:end]:
                found += char == "a"
        return found

    size = 300
    with counted() as steps:
        _outside(quadratic, "a" * size)
    with pytest.raises(AssertionError, match="steps for"):
        assert_linear(steps.count, size, base=2000, each=40)


def _outside(function: Callable[[str], int], text: str) -> None:
    """Run the function as if it were no test code, whose lines are not counted."""
    code = function.__code__.replace(co_filename="quadratic.py")
    function.__code__ = code
    function(text)
