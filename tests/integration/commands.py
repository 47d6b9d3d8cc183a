"""Hypothesis strategies for commands of a client: valid, nearly valid and invalid ones."""

import json
from typing import Any

from hypothesis import strategies as st

from tests.wire_forms import PROTOBUF, UNENCODABLE, field, whole

#: Placeholders for what each client fills in: its token and its private channel.
TOKEN, OWN = "<token>", "<own>"

Values = st.SearchStrategy[Any]

WORDS = [
    "",
    "a",
    "0",
    "-1",
    "é",
    "\u2028",
    "\x00",
    "\x7f",
    "<b>",
    "' OR 1=1 --",
    "../..",
    "😀" * 50,
]
EDGES = [0, 1, -1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30]

texts = st.sampled_from([*WORDS, "x" * 500]) | st.text(max_size=12)
numbers = st.sampled_from(EDGES) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | texts
values: Values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def arguments(required: dict[str, Values], **optional: Values) -> Values:
    """Objects with these fields: two thirds are valid, the others have any value in any field."""
    right = st.fixed_dictionaries(required, optional=optional)
    fields = {name: one | values for name, one in {**required, **optional}.items()}
    bent = st.fixed_dictionaries({}, optional={**fields, "more": values})
    return st.one_of(right, right, bent)


topics = st.sampled_from([f"topic:{letter}" for letter in "abcdef"])
shared = st.sampled_from(["broadcast", "staff", "group:1"])
STRANGE = ["group:0", "user:2", "user:", "topic:" + "c" * 101, "topic:a b", "c" * 256, "user:\x00"]
channels = topics | shared | st.just(OWN) | st.sampled_from([*STRANGE, "group:" + "9" * 30])
offsets = st.integers(0, 20) | st.sampled_from(EDGES)
epochs = st.sampled_from(["", "", "ffff", "é"])
ids = st.lists(st.integers(1, 60) | st.sampled_from(EDGES), max_size=4)
position = arguments({}, epoch=epochs, offset=offsets)
subscription = {"recover": st.booleans(), "epoch": epochs, "offset": offsets, "token": texts}
content = arguments(
    {"title": st.sampled_from(["hello", "<b>", "é" * 200, "\u2028", "", "x" * 201])},
    body=texts,
    url=st.sampled_from(["/a", "https://a.example/", "javascript:alert(1)", "//b", "http://[::"]),
    kind=st.sampled_from(["message", "order.shipped", "No Slug"]),
    level=st.sampled_from(["debug", "info", "success", "warning", "error", "fatal"]),
    data=st.dictionaries(texts, values, max_size=2),
    key=st.sampled_from(["", "k1", "k2", "k" * 201]),
)

METHODS: dict[str, Values] = {
    "ack": arguments({"channel": channels, "offset": offsets}),
    "read": arguments({"ids": ids}),
    "unread": arguments({}, ids=ids),
    "archive": arguments({"ids": ids}),
    "read_all": arguments({}),
    "archive_all": arguments({}),
    "inbox": arguments(
        {},
        folder=st.sampled_from(["all", "unread", "archived", "spam"]),
        before=st.sampled_from(["", "2026-01-01T00:00:00Z_5", "x"]),
        limit=st.integers(-1, 101),
    ),
    "mute": arguments({"channel": topics | channels, "muted": st.booleans()}),
    "teleport": values,
}


def _call(method: str) -> Values:
    return st.fixed_dictionaries({"method": st.just(method), "data": METHODS[method]})


calls = st.sampled_from(sorted(METHODS)).flatmap(_call)

#: Arguments of each command, by the command's name.
REQUESTS: dict[str, Values] = {
    "subscribe": arguments({"channel": topics | channels}, **subscription),
    "unsubscribe": arguments({"channel": topics | channels}),
    "publish": arguments({"channel": channels, "data": content}),
    "presence": arguments({"channel": channels}),
    "presence_stats": arguments({"channel": channels}),
    "history": arguments(
        {"channel": channels},
        limit=st.integers(-2, 400),
        reverse=st.booleans(),
        since=position,
    ),
    "ping": arguments({}),
    "rpc": st.one_of(calls, calls, calls, values),
    "sub_refresh": arguments({"channel": channels, "token": texts}),
}

#: Names of commands; those that should come more often are repeated.
NAMES = [*REQUESTS, "rpc", "rpc", "rpc", "publish", "history", "subscribe"]


def _named(name: str) -> Values:
    return st.fixed_dictionaries({name: REQUESTS[name]})


#: Reads history since a position of another epoch.
stale = st.fixed_dictionaries(
    {
        "history": st.fixed_dictionaries(
            {
                "channel": st.just(OWN),
                "limit": st.integers(0, 9),
                "since": st.fixed_dictionaries(
                    {"offset": st.integers(0, 9), "epoch": st.just("stale")}
                ),
            }
        )
    }
)

several = st.dictionaries(st.sampled_from([*REQUESTS, "x"]), values, max_size=2)

#: Commands that are answered if they have an id, and never end the connection.
KINDS = {name: _named(name) for name in REQUESTS} | {"several": several, "stale": stale}
answerable = st.sampled_from([*NAMES, "several", "stale"]).flatmap(KINDS.__getitem__)

#: Requests of ``connect``.
greetings = arguments(
    {"token": st.just(TOKEN)},
    data=values,
    subs=st.dictionaries(
        channels, arguments({"recover": st.just(True)}, epoch=epochs, offset=offsets), max_size=3
    ),
    name=texts,
    version=texts,
)

WRONG_IDS = [-1, "1", 1.5, None, [], {}, True, 2**32, 2**64]


def _broken(parts: tuple[dict[str, Any], int, str]) -> str:
    request, place, junk = parts
    line = json.dumps({"id": 7, **request})
    place %= len(line)
    return line[:place] + junk + line[place + 1 :]


def _line(**fields: Values) -> Values:
    return st.fixed_dictionaries(fields).map(json.dumps)


#: Lines that may end the connection.
dangerous = st.one_of(
    _line(id=st.sampled_from(WRONG_IDS), ping=values),
    answerable.map(json.dumps),  # no id
    _line(send=calls),
    _line(send=values),
    _line(id=st.just(6), refresh=arguments({"token": texts | st.just(TOKEN)})),
    _line(id=st.just(6), connect=greetings),
    st.tuples(answerable, st.integers(0, 10**6), texts).map(_broken),
    st.text(max_size=30),
    st.sampled_from(["[" * 20_000, '{"id":5,"rpc":{"data":' + "[" * 9000, "x" * 70_000, "NaN"]),
    st.just('{"id":5,"history":{"channel":"\\ud800"}}'),
)


def _encoded(request: dict[str, Any]) -> bytes:
    """Encode a command without an id, or with that of the request; b"" if it has no such form."""
    try:
        return PROTOBUF.encode([request])
    except UNENCODABLE:
        return b""


def _spoiled(parts: tuple[dict[str, Any], int, bytes, int]) -> bytes:
    request, place, junk, cut = parts
    frame = _encoded({"id": 7, **request})
    place %= len(frame) + 1
    return frame[:place] + junk + frame[place + cut :]


wrong_bytes = st.binary(max_size=30)

#: Fields of requests: contents of any bytes, in any of them and in those that hold JSON.
_wrong_fields = st.builds(
    lambda request, number, content: whole(field(1, 6) + field(request, field(number, content))),
    st.integers(0, 20),
    st.integers(1, 20),
    wrong_bytes | st.integers(-(2**63), 2**64 - 1),
)

#: Frames of the Protobuf form that may end the connection.
dangerous_bytes = st.one_of(
    wrong_bytes,
    wrong_bytes.map(whole),
    _wrong_fields,
    st.tuples(answerable, st.integers(0, 10**6), st.binary(max_size=3), st.integers(0, 3)).map(
        _spoiled
    ),
    answerable.map(_encoded),  # no id
    greetings.map(lambda request: _encoded({"id": 6, "connect": request})),
    st.fixed_dictionaries({"send": values}).map(_encoded),
    st.sampled_from(
        [
            whole(field(1, 7) + b"\x9b\x06" * 20_000),  # groups in groups
            whole(field(1, 7) + b"\x6a\x80\x80\x03" * 9000),  # requests that are not whole
            whole(field(1, 7) + field(5, field(13, b"\x32\x00" * 20_000))),  # filters
            whole(field(1, 7) + field(13, field(1, b"[" * 60_000))),
            b"\0" * 1000,
            b"\xff" * 9000,
            b"\x01" * 9000,
            b"x" * 70_000,
        ]
    ),
)
