"""Tests of the wire format: shared vectors, bad frames, codes, framing."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from notifications.protocol import codes, commands, messages
from notifications.protocol.codec import BadFrame
from notifications.protocol.json import JSON
from notifications.protocol.prepared import Prepared

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "wire" / "vectors.json").read_text()
)


def vectors(direction: str) -> pytest.MarkDecorator:
    chosen = [vector for vector in VECTORS if vector["direction"] == direction]
    return pytest.mark.parametrize("vector", chosen, ids=[vector["name"] for vector in chosen])


def meaning_of_command(command: Any) -> dict[str, Any]:
    """Describe a decoded command in the form of the vectors' ``meaning``."""
    assert isinstance(command, commands.Command)
    if not command.requests:
        return {"command": "pong"}
    (request,) = command.requests
    name = next(name for name in commands.REQUESTS if getattr(command, name) is request)
    meaning: dict[str, Any] = {"command": name}
    for field in ("channel", "method", "token", "name", "version", "limit"):
        if value := getattr(request, field, None):
            meaning[field] = value
    if data := bytes(getattr(request, "data", b"")):
        meaning["data"] = msgspec.json.decode(data)
    if isinstance(request, commands.ConnectRequest) and request.subs:
        meaning["positions"] = {
            name: {"offset": sub.offset, "epoch": sub.epoch} for name, sub in request.subs.items()
        }
    position = getattr(request, "since", None)
    if getattr(request, "recover", False):
        position = request
    if position is not None:
        meaning["position"] = {"offset": position.offset, "epoch": position.epoch}
    return meaning


def meaning_of_reply(reply: messages.Reply) -> dict[str, Any]:
    """Describe a reply of the server in the form of the vectors' ``meaning``."""
    if reply == messages.Reply():
        return {"event": "ping"}
    if reply.push is not None:
        return meaning_of_push(reply.push)
    if reply.error is not None:
        return {"event": "error", "id": reply.id, **msgspec.structs.asdict(reply.error)}
    if reply.connect is not None:
        return {"event": "connected", "id": reply.id, **meaning_of_connect(reply.connect)}
    name = next(name for name in messages.FIELD_OF.values() if getattr(reply, name) is not None)
    return {"event": name, "id": reply.id, **meaning_of_result(getattr(reply, name))}


def meaning_of_result(result: Any) -> dict[str, Any]:
    meaning: dict[str, Any] = {}
    for name in ("offset", "epoch", "recovered"):
        if hasattr(result, name):
            meaning[name] = getattr(result, name)
    if hasattr(result, "publications"):
        meaning["publications"] = [
            {"offset": p.offset, "data": msgspec.json.decode(p.data)} for p in result.publications
        ]
    if getattr(result, "data", msgspec.UNSET) is not msgspec.UNSET:
        meaning["data"] = msgspec.json.decode(result.data)
    return meaning


def meaning_of_push(push: messages.Push) -> dict[str, Any]:
    if push.pub is not None:
        data = msgspec.json.decode(push.pub.data)
        event = {"event": "publication", "offset": push.pub.offset, "data": data}
        return {**event, "channel": push.channel}
    if push.message is not None:
        return {"event": "message", "data": msgspec.json.decode(push.message.data)}
    if push.subscribe is not None:
        position = {"offset": push.subscribe.offset, "epoch": push.subscribe.epoch}
        return {"event": "subscribed", "channel": push.channel, **position}
    if push.refresh is not None:
        return {"event": "refresh", "ttl": push.refresh.ttl}
    assert push.unsubscribe is not None
    end = msgspec.structs.asdict(push.unsubscribe)
    return {"event": "unsubscribed", "channel": push.channel, **end}


def meaning_of_connect(result: messages.ConnectResult) -> dict[str, Any]:
    assert isinstance(result.data, msgspec.Raw)
    return {
        "ping": result.ping,
        "pong": result.pong,
        "data": msgspec.json.decode(result.data),
        "publications": [
            {"channel": name, "offset": p.offset, "data": msgspec.json.decode(p.data)}
            for name, sub in result.subs.items()
            for p in sub.publications
        ],
        "positions": {
            name: {"offset": sub.offset, "epoch": sub.epoch} for name, sub in result.subs.items()
        },
        "unrecovered": [
            name for name, sub in result.subs.items() if sub.was_recovering and not sub.recovered
        ],
    }


# The shared vectors


@vectors("client")
def test_commands_decode_to_the_meaning_of_their_vectors(vector: dict[str, Any]) -> None:
    (command,) = JSON.decode(json.dumps(vector["json"]))
    assert command is not None
    assert command.id == vector["json"].get("id", 0)
    assert meaning_of_command(command) == vector["meaning"]


@vectors("server")
def test_replies_have_the_meaning_of_their_vectors(vector: dict[str, Any]) -> None:
    reply = msgspec.json.decode(json.dumps(vector["json"]), type=messages.Reply, strict=True)
    assert meaning_of_reply(reply) == vector["meaning"]


@vectors("server")
def test_the_server_writes_exactly_the_vectors(vector: dict[str, Any]) -> None:
    """The server knows every field of a vector, and writes no field that the vector lacks."""
    compact = json.dumps(vector["json"], ensure_ascii=False, separators=(",", ":"))
    reply = msgspec.json.decode(compact, type=messages.Reply)
    assert JSON.encode(reply).payload == compact


@pytest.mark.parametrize(
    "vector", [vector for vector in VECTORS if vector["meaning"].get("event") == "publication"]
)
def test_encode_publication_writes_the_vectors(vector: dict[str, Any]) -> None:
    meaning = vector["meaning"]
    data = msgspec.json.encode(meaning["data"])
    line = str(JSON.encode_publication(meaning["channel"], meaning["offset"], data).payload)
    assert json.loads(line) == vector["json"]
    assert "\n" not in line


def test_names_of_vectors_are_unique() -> None:
    names = [vector["name"] for vector in VECTORS]
    assert len(set(names)) == len(names)
    assert {vector["direction"] for vector in VECTORS} == {"client", "server"}


def test_a_ping_is_the_empty_reply() -> None:
    assert JSON.encode(messages.PING).payload == "{}"


# Frames


def test_a_frame_holds_several_commands_and_blank_lines() -> None:
    frame = '{"id":1,"connect":{}}\n{"id":2,"rpc":{"method":"unread"}}\r\n\n  \n{}\n'
    ids = [None if command is None else command.id for command in JSON.decode(frame)]
    assert ids == [1, 2, None, None, 0]
    for empty in ("", "\n", " ", " \n"):
        assert list(JSON.decode(empty)) == [None]


def test_lines_are_decoded_lazily() -> None:
    decoding = JSON.decode('{"id":1,"ping":{}}\nnonsense')
    assert next(decoding) == commands.Command(id=1, ping=commands.PingRequest())
    with pytest.raises(BadFrame):
        next(decoding)


def test_unknown_fields_of_newer_clients_are_ignored() -> None:
    (command,) = JSON.decode('{"id":1,"connect":{"headers":{"a":"b"},"flag":9},"future":{}}')
    assert isinstance(command, commands.Command)
    assert command.connect == commands.ConnectRequest(headers={"a": "b"}, flag=9)


@pytest.mark.parametrize(
    "request_json",
    [
        '"connect":5',
        '"connect":[]',
        '"connect":{"token":7}',
        '"connect":{"subs":{"a":1}}',
        '"connect":{"subs":{"a":{"offset":-1}}}',
        '"connect":{"subs":{"a":{"offset":1.5}}}',
        '"connect":{"subs":{"a":{"offset":9223372036854775808}}}',
        '"subscribe":{"channel":"' + "a" * 256 + '"}',
        '"rpc":{"method":null}',
        '"history":{"limit":2147483648}',
    ],
)
def test_a_command_with_wrong_types_keeps_its_id(request_json: str) -> None:
    assert list(JSON.decode(f'{{"id":7,{request_json}}}')) == [commands.Malformed(id=7)]


@pytest.mark.parametrize(
    "value", ['"\\ud83d"', '"a\\udc00b"', '"\ud83d"', "NaN", "[-Infinity]", '{"\\udfff":1}']
)
@pytest.mark.parametrize("before", ["", '"rpc":7,'])
def test_what_only_clients_take_for_json_keeps_its_id(value: str, before: str) -> None:
    """As JSON.stringify encodes a text that was cut within an emoji, and Python's json NaN."""
    line = f'{{"id":7,{before}"publish":{{"channel":"chat:7","data":{value}}}}}'
    assert list(JSON.decode(line)) == [commands.Malformed(id=7)]


@pytest.mark.parametrize(
    "frame",
    [
        "nonsense",
        "[]",
        "7",
        "null",
        '"text"',
        "{",
        '{"id":1,"connect":5,',
        '{"id":1,"connect":{}} trailing',
        '{"id":"1"}',
        '{"id":-1}',
        '{"id":4294967296}',
        '{"id":1.5}',
        '{"connect":5}',
        '{"id":1,"rpc":{"data":' + "[" * 30_000,
        '{"id":1,"rpc":{"data":' + "[" * 30_000 + "]" * 30_000 + "}}",
        '{"id":1,"connect":5,"x":' + "[" * 30_000 + "]" * 30_000 + "}",
        '{"rpc":{"method":"\\ud800"}}',
        '{"id":1,"rpc":{"data":' + "9" * 5000 + ',"x":NaN}}',
        '{"id":1,"ping":{}}\nnonsense',
    ],
)
def test_anything_but_a_command_is_a_bad_frame(frame: str) -> None:
    with pytest.raises(BadFrame):
        list(JSON.decode(frame))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
COMMANDISH = st.dictionaries(
    st.sampled_from(["id", *commands.REQUESTS]),
    st.integers() | VALUES | st.dictionaries(st.sampled_from(["channel", "data", "subs"]), VALUES),
)


@given(st.text() | VALUES.map(json.dumps) | COMMANDISH.map(json.dumps))
def test_any_frame_decodes_to_commands_or_is_a_bad_frame(frame: str) -> None:
    try:
        decoded = list(JSON.decode(frame))
    except BadFrame:
        return
    for command in decoded:
        assert command is None or isinstance(command, commands.Command | commands.Malformed)


@given(COMMANDISH.map(json.dumps), st.integers(0))
def test_any_truncated_frame_decodes_to_commands_or_is_a_bad_frame(frame: str, end: int) -> None:
    try:
        list(JSON.decode(frame[: end % (len(frame) + 1)]))
    except BadFrame:
        return


# Codes


@pytest.mark.parametrize(
    ("code", "reconnect"),
    [
        (1000, True),
        (1001, True),
        (1006, True),
        (1009, False),
        (1012, True),
        (3000, True),
        (3012, True),
        (3499, True),
        (3500, False),
        (3999, False),
        (4000, True),
        (4499, True),
        (4500, False),
        (4999, False),
        (5000, True),
    ],
)
def test_close_codes_decide_about_reconnecting(code: int, reconnect: bool) -> None:
    assert codes.Disconnect(code, "").reconnect is reconnect


def test_reasons_fit_into_a_close_frame() -> None:
    disconnects = [value for value in vars(codes).values() if isinstance(value, codes.Disconnect)]
    assert disconnects
    for disconnect in disconnects:
        assert len(disconnect.reason.encode()) <= 123


def test_only_internal_error_and_too_many_requests_are_temporary() -> None:
    errors = [value for value in vars(codes).values() if isinstance(value, codes.Error)]
    assert {error.code for error in errors if error.temporary} == {100, 111}
    assert len({error.code for error in errors}) == len(errors)


def test_a_client_error_may_add_a_detail() -> None:
    error = codes.ClientError(codes.BAD_REQUEST, "offset has not been sent to this client").error
    assert error == codes.Error(107, "bad request: offset has not been sent to this client")
    assert codes.ClientError(codes.BAD_REQUEST).error == codes.BAD_REQUEST


# Framing


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("unit", ["x", b"\xff"], ids=["text", "bytes"])
def test_frames_conform_to_the_rfc(size: int, unit: str | bytes) -> None:
    """A strict parser reads the frame back (RFC 6455 section 5.2)."""
    payload = unit * size
    reader = StreamReader()
    reader.feed_data(Prepared(payload).frame)
    parsing = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    frame = done.value.value
    assert frame.opcode is (Opcode.TEXT if unit == "x" else Opcode.BINARY)
    assert frame.fin
    assert bytes(frame.data) == (payload if isinstance(payload, bytes) else payload.encode())
    assert not reader.buffer


def test_frames_count_bytes_not_characters() -> None:
    message = Prepared("é" * 100)
    assert message.frame[:4] == bytes((0x81, 126, 0, 200))
    assert message.frame[4:].decode() == message.payload
