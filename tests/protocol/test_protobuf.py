"""Tests of the Protobuf form: it says the same as JSON, and bad bytes get a clear answer (P7)."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import centrifuge.protocol.client_pb2 as foreign  # type: ignore[import-untyped]
import msgspec
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from msgspec import Raw

from notifications.protocol import client_pb2, commands, messages
from notifications.protocol.codec import BadFrame
from notifications.protocol.commands import Command, Malformed
from notifications.protocol.json import JSON
from notifications.protocol.protobuf import PROTOBUF
from tests import wire_forms
from tests.integration.commands import answerable, greetings
from tests.protocol.test_messages import VECTORS, meaning_of_command, vectors
from tests.sites import ROOT
from tests.wire_forms import UNENCODABLE, field, varint, whole


def decode(*contents: bytes) -> list[Any]:
    """Decode a frame of messages with these contents."""
    return list(PROTOBUF.decode(b"".join(whole(content) for content in contents)))


def from_json(reply: Any) -> messages.Reply:
    return msgspec.json.decode(wire_forms.compact(reply), type=messages.Reply)


# The shared vectors


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_two_forms_of_a_vector_say_the_same(vector: dict[str, Any]) -> None:
    is_command = vector["direction"] == "client"
    encode = wire_forms.PROTOBUF.encode if is_command else wire_forms.PROTOBUF.encode_replies
    assert vector["protobuf"] == encode([vector["json"]]).hex()


@vectors("client")
def test_commands_decode_to_the_meaning_of_their_vectors(vector: dict[str, Any]) -> None:
    (command,) = PROTOBUF.decode(bytes.fromhex(vector["protobuf"]))
    assert command is not None
    assert command.id == vector["json"].get("id", 0)
    assert meaning_of_command(command) == vector["meaning"]


@vectors("server")
def test_the_server_writes_exactly_the_vectors(vector: dict[str, Any]) -> None:
    payload = PROTOBUF.encode(from_json(vector["json"])).payload
    assert isinstance(payload, bytes)
    assert payload.hex() == vector["protobuf"]
    assert wire_forms.PROTOBUF.decode(payload) == [vector["json"]]


def test_all_vectors_fit_into_one_frame_of_each_direction() -> None:
    replies = [vector for vector in VECTORS if vector["direction"] == "server"]
    frame = bytes.fromhex("".join(vector["protobuf"] for vector in replies))
    assert wire_forms.PROTOBUF.decode(frame) == [vector["json"] for vector in replies]
    sent = [vector for vector in VECTORS if vector["direction"] == "client"]
    frame = bytes.fromhex("".join(vector["protobuf"] for vector in sent))
    lines = "\n".join(json.dumps(vector["json"]) for vector in sent)
    assert [command and command.id for command in PROTOBUF.decode(frame)] == [
        command and command.id for command in JSON.decode(lines)
    ]


def test_a_ping_is_the_empty_reply() -> None:
    assert PROTOBUF.encode(messages.PING).payload == b"\0"


# What the server sends

names = st.text(min_size=1, max_size=20)
offsets = st.integers(0, 2**63 - 1)
seconds = st.integers(0, 2**32 - 1)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
raw = values.map(lambda value: Raw(wire_forms.compact(value).encode()))
optional_raw = st.just(msgspec.UNSET) | raw
infos = st.builds(
    messages.ClientInfo, user=names, client=names, conn_info=optional_raw, chan_info=optional_raw
)
publications = st.builds(
    messages.Publication,
    data=raw,
    offset=offsets,
    info=st.none() | infos,
    tags=st.dictionaries(names, st.text(max_size=5), max_size=2),
    time=offsets,
)
subscribed = st.builds(
    messages.SubscribeResult,
    recoverable=st.booleans(),
    epoch=st.text(max_size=5),
    publications=st.lists(publications | st.builds(messages.Publication, raw, offsets), max_size=3),
    recovered=st.booleans(),
    offset=offsets,
    positioned=st.booleans(),
    was_recovering=st.booleans(),
    expires=st.booleans(),
    ttl=seconds,
    data=optional_raw,
)
connected = st.builds(
    messages.ConnectResult,
    client=names,
    version=st.text(max_size=5),
    expires=st.booleans(),
    ttl=seconds,
    data=optional_raw,
    subs=st.dictionaries(st.text(max_size=5), subscribed, max_size=2),
    ping=seconds,
    pong=st.booleans(),
    session=st.text(max_size=5),
    node=st.text(max_size=5),
    time=offsets,
)
RESULTS = (
    connected,
    subscribed,
    st.builds(messages.UnsubscribeResult),
    st.builds(messages.PublishResult),
    st.builds(
        messages.PresenceResult, presence=st.dictionaries(st.text(max_size=5), infos, max_size=2)
    ),
    st.builds(messages.PresenceStatsResult, num_clients=seconds, num_users=seconds),
    st.builds(
        messages.HistoryResult,
        publications=st.lists(publications, max_size=2),
        epoch=st.text(max_size=5),
        offset=offsets,
    ),
    st.builds(messages.PingResult),
    st.builds(messages.RPCResult, data=optional_raw),
    st.builds(messages.RefreshResult, client=names, expires=st.booleans(), ttl=seconds),
    st.builds(messages.SubRefreshResult, expires=st.booleans(), ttl=seconds),
)
results = st.one_of(RESULTS)
codes = st.integers(1, 2**32 - 1)
PUSHES = (
    st.fixed_dictionaries({"pub": publications}),
    st.fixed_dictionaries({"join": st.builds(messages.Join, infos)}),
    st.fixed_dictionaries({"leave": st.builds(messages.Leave, infos)}),
    st.fixed_dictionaries({"message": st.builds(messages.Message, raw)}),
    st.fixed_dictionaries({"connect": connected}),
    st.fixed_dictionaries(
        {"disconnect": st.builds(messages.Disconnect, codes, st.text(max_size=5), st.booleans())}
    ),
    st.fixed_dictionaries({"refresh": st.builds(messages.Refresh, st.booleans(), seconds)}),
    st.fixed_dictionaries(
        {"subscribe": st.builds(messages.Subscribe, st.booleans(), names, offsets, st.booleans())}
    ),
    st.fixed_dictionaries({"unsubscribe": st.builds(messages.Unsubscribe, codes, names)}),
)
pushes = st.builds(
    lambda channel, content: messages.Push(channel, **content), names, st.one_of(PUSHES)
)
errors = st.builds(messages.ErrorReply, codes, names, st.booleans())
replies = st.one_of(
    st.builds(messages.reply, codes, results),
    st.builds(lambda number, error: messages.Reply(number, error=error), codes, errors),
    st.builds(lambda push: messages.Reply(push=push), pushes),
)


@given(replies)
def test_every_reply_says_the_same_in_both_forms(reply: messages.Reply) -> None:
    (told,) = wire_forms.JSON.decode(JSON.encode(reply).payload)
    for name in ("presence", "presence_stats"):
        if name in told:  # the JSON form writes their fields even if they are empty
            told[name] = {field: value for field, value in told[name].items() if value}
    assert wire_forms.PROTOBUF.decode(PROTOBUF.encode(reply).payload) == [told]


def test_replies_of_every_kind_are_tried() -> None:
    """The strategies above name each result and each push that the server may send."""
    known = {*messages.FIELD_OF, *(messages.Push.__annotations__.keys() - {"channel"})}
    assert len(known) == len(RESULTS) + len(PUSHES)


@given(names, st.integers(1) | offsets, st.binary(max_size=300), st.sampled_from([1, 30, 500]))
def test_publications_are_encoded_as_the_library_does(
    channel: str, offset: int, data: bytes, count: int
) -> None:
    content = data * count
    offset %= 2**64
    told = client_pb2.Reply(id=0)
    told.push.channel = channel
    told.push.pub.data = content
    told.push.pub.offset = offset
    payload = PROTOBUF.encode_publication(channel, offset, content).payload
    assert isinstance(payload, bytes)
    (message,) = wire_forms.split(payload)
    # The library leaves out what is empty; nothing is lost if it is written.
    assert client_pb2.Reply.FromString(message) == told
    if offset and content:
        assert message == told.SerializeToString()


def test_a_push_of_a_publication_equals_the_one_that_is_encoded_quickly() -> None:
    publication = messages.Publication(Raw(b'{"title":"one"}'), 12)
    reply = messages.Reply(push=messages.Push("user:7", pub=publication))
    quick = PROTOBUF.encode_publication("user:7", 12, b'{"title":"one"}')
    assert PROTOBUF.encode(reply).payload == quick.payload
    assert quick.frame[0] == 0x82  # a binary message


# What clients send


def in_both_forms(
    command: Any, form: wire_forms.ProtobufForm = wire_forms.PROTOBUF
) -> tuple[Any, Any]:
    """Decode a command that was sent in each form; reject one that Protobuf cannot express."""
    try:
        frame = form.encode([command])
    except UNENCODABLE:
        reject()
    return list(JSON.decode(wire_forms.compact(command))), list(PROTOBUF.decode(frame))


OWN_FORM = wire_forms.ProtobufForm(client_pb2)


def without_filter(decoded: list[Any]) -> list[Any]:
    """Empty the filters: that there is one decides, because filters are refused."""
    for command in decoded:
        request = getattr(command, "subscribe", None)
        if request is not None and request.tf is not None:
            request.tf.clear()
    return decoded


@given(answerable | greetings.map(lambda request: {"connect": request}), st.integers(1, 2**32 - 1))
def test_every_command_means_the_same_in_both_forms(request: Any, number: int) -> None:
    told, decoded = in_both_forms({"id": number, **request})
    assert without_filter(decoded) == without_filter(told)


def test_every_field_of_a_request_is_decoded() -> None:
    """One command for each field of each request, with a value that is not the default."""
    for name in commands.REQUESTS:
        kind = type(getattr(_request(name, {}), name))
        for known in kind.__struct_fields__:
            value = VALUES.get(f"{name}.{known}", VALUES.get(known))
            # The schema of the SDK lacks some fields.
            told, decoded = in_both_forms({"id": 1, name: {known: value}}, OWN_FORM)
            assert getattr(getattr(decoded[0], name), known) != getattr(kind(), known), known
            assert without_filter(decoded) == without_filter(told)


VALUES: dict[str, Any] = {
    **dict.fromkeys(("channel", "token", "epoch", "delta", "cursor", "method", "key"), "a"),
    **dict.fromkeys(("name", "version"), "b"),
    **dict.fromkeys(("recover", "positioned", "recoverable", "join_leave", "asc"), True),
    **dict.fromkeys(("reverse", "removed"), True),
    **dict.fromkeys(("flag", "type", "phase", "limit"), -7),
    "offset": 2**63 - 1,
    "data": {"a": [1]},
    "tf": {"op": "", "key": "level", "vals": ["a"]},
    "subs": {"user:7": {"recover": True, "offset": 3}, "": {}},
    "headers": {"a": "b"},
    "since": {"offset": 1, "epoch": "x"},
    "track": [{}],
    "untrack": ["a", "b"],
}


def _request(name: str, fields: dict[str, Any]) -> Command:
    command = msgspec.convert({name: fields}, Command)
    assert isinstance(command, Command)
    return command


ID = field(1, 7)
RPC, SUBSCRIBE, CONNECT, PUBLISH, SEND, HISTORY = 13, 5, 4, 7, 12, 10


def test_a_frame_without_bytes_is_no_pong_but_a_message_without_bytes_is() -> None:
    assert list(PROTOBUF.decode(b"")) == [None]
    assert list(PROTOBUF.decode(b"\0")) == [Command()]
    ping = whole(ID + field(11, b""))
    found = list(PROTOBUF.decode(ping + b"\0" + ping))
    assert found == [Command(7, ping=commands.PingRequest()), Command(), found[0]]


def test_messages_are_decoded_lazily() -> None:
    decoding = PROTOBUF.decode(whole(ID + field(11, b"")) + b"\xff")
    assert next(decoding) == Command(id=7, ping=commands.PingRequest())
    with pytest.raises(BadFrame):
        next(decoding)


def test_what_newer_clients_send_is_ignored() -> None:
    future = field(99, b"x") + field(98, 5) + varint(97 << 3 | 5) + b"1234" + varint(96 << 3 | 1)
    ping = Command(7, ping=commands.PingRequest())
    assert decode(ID + future + b"12345678" + field(11, field(3, b"x"))) == [ping]
    assert decode(field(99, b"\xff")) == [Command()]


def test_the_last_of_repeated_fields_counts_and_messages_are_merged() -> None:
    twice = field(RPC, field(2, b"a")) + field(RPC, field(1, b"{}") + field(2, b"b"))
    (command,) = decode(field(1, 3) + ID + twice)
    assert command == Command(7, rpc=commands.RPCRequest(Raw(b"{}"), "b"))
    sub = field(1, b"user:7")
    subs = field(3, sub + field(2, field(7, 1))) + field(3, sub + field(2, field(7, 2)))
    (command,) = decode(ID + field(CONNECT, subs))
    assert command.connect.subs == {"user:7": commands.SubscribeRequest(offset=2)}


def test_negative_numbers_have_ten_bytes() -> None:
    (command,) = decode(ID + field(HISTORY, field(1, b"a") + field(7, -1)))
    assert command.history == commands.HistoryRequest("a", limit=-1)
    (command,) = decode(ID + field(SUBSCRIBE, field(14, -(2**63))))
    assert command.subscribe.flag == -(2**63)


def test_a_length_may_have_more_bytes_than_it_needs() -> None:
    assert list(PROTOBUF.decode(b"\x82\x80\x80\x80\x80\x80\x80\x80\x80\x00" + ID)) == [Command(7)]


MALFORMED: dict[str, bytes] = {
    "an offset above 2**63 - 1": field(SUBSCRIBE, field(7, 2**63)),
    "an offset above it in a map": field(
        CONNECT, field(3, field(1, b"a") + field(2, field(7, -1)))
    ),
    "a name of 256 characters": field(SUBSCRIBE, field(1, b"a" * 256)),
    "such a name in a map": field(CONNECT, field(3, field(1, b"a" * 256) + field(2, b""))),
    "a text that is not UTF-8": field(RPC, field(2, b"\xff")),
    "a surrogate": field(RPC, field(2, b"\xed\xa0\x80")),
    "a request that is not whole": field(RPC, b"\x12\x05a"),
    "a varint of eleven bytes": field(SUBSCRIBE, b"\x38" + b"\xff" * 10 + b"\x01"),
    "a field with the number 0": field(RPC, b"\x00\x00"),
    "a group that does not end": field(RPC, b"\x1b"),
    "an end without a group": field(RPC, b"\x1c"),
    "a wire type that does not exist": field(RPC, b"\x0f"),
    "data that is not JSON": field(RPC, field(1, b"not JSON")),
    "data that is not whole": field(PUBLISH, field(1, b"a") + field(2, b'{"title":')),
    "data that goes on after its end": field(PUBLISH, field(2, b"{} {}")),
    "data that is not UTF-8": field(PUBLISH, field(2, b'"\xff"')),
    "data of a connect": field(CONNECT, field(2, b"\0\1\2")),
    "data of a subscription": field(SUBSCRIBE, field(8, b"x")),
    "data of a subscription in a map": field(
        CONNECT, field(3, field(1, b"a") + field(2, field(8, b"x")))
    ),
    "data of too many levels": field(RPC, field(1, b"[" * 20_000 + b"]" * 20_000)),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_keeps_its_id(name: str) -> None:
    assert decode(ID + MALFORMED[name]) == [Malformed(id=7)]
    assert decode(MALFORMED[name] + ID) == [Malformed(id=7)]
    with pytest.raises(BadFrame):
        decode(MALFORMED[name])


def nested(number: int, depth: int) -> bytes:
    """Nest messages in each other, each in the field with this number."""
    sizes = [0]
    heads = []
    for _ in range(depth):
        heads.append(varint(number << 3 | 2) + varint(sizes[-1]))
        sizes.append(sizes[-1] + len(heads[-1]))
    return b"".join(reversed(heads))


def test_filters_may_be_nested_but_not_without_end() -> None:
    (command,) = decode(ID + field(SUBSCRIBE, field(13, nested(6, 50))))
    assert command.subscribe.tf == {}
    assert decode(ID + field(SUBSCRIBE, field(13, nested(6, 5000)))) == [Malformed(id=7)]


BAD: dict[str, bytes] = {
    "no length": b"\x80",
    "a length of eleven bytes": b"\x82" + b"\x80" * 9 + b"\x00" + ID,
    "a length without end": b"\xff" * 1000,
    "a message that is not whole": b"\x02\x08",
    "a huge length": b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + ID,
    "JSON": b'{"id":1,"connect":{}}',
    "an id of eleven bytes": whole(b"\x08" + b"\xff" * 10 + b"\x01"),
    "a varint that is not whole": whole(b"\x08\xff"),
    "groups in groups": whole(ID + b"\x9b\x06" * 20_000),
    "a malformed command without an id": whole(field(SUBSCRIBE, field(7, 2**63))),
}


@pytest.mark.parametrize("name", BAD)
def test_anything_but_commands_is_a_bad_frame(name: str) -> None:
    with pytest.raises(BadFrame):
        list(PROTOBUF.decode(BAD[name]))


def test_the_contents_of_filters_and_batches_take_no_work() -> None:
    """Requests with them are refused, whatever they say."""
    (command,) = decode(ID + field(SUBSCRIBE, field(13, field(6, b"") * 1000)))
    assert command.subscribe.tf == {}
    (command,) = decode(ID + field(15, field(4, b"") * 1000))
    assert command.sub_refresh.track == [{}]


def test_a_field_of_another_type_is_as_good_as_an_unknown_one() -> None:
    """As in every library of Protobuf; the session answers that there is no method."""
    assert decode(ID + field(RPC, 5)) == [Command(7)]


def test_a_message_without_an_answer_may_hold_anything_but_only_json_is_passed_on() -> None:
    for data in (b"hello", b"\xff\0", b"[" * 20_000):
        assert decode(field(SEND, field(1, data))) == [Command(send=commands.SendRequest())]
    call = b'{"method":"read_all"}'
    assert decode(field(SEND, field(1, call))) == [Command(send=commands.SendRequest(Raw(call)))]


def test_data_is_passed_on_in_one_line() -> None:
    """It may be sent on to clients of the JSON form, where a line break ends the message."""
    data = b'\n{\r\n  "a\\n": [1,\n 2]}\n'
    (command,) = decode(ID + field(RPC, field(1, data)))
    assert bytes(command.rpc.data) == b'{"a\\n":[1,2]}'
    (command,) = decode(ID + field(RPC, field(1, b' {"a": 1} ')))
    assert bytes(command.rpc.data) == b'{"a": 1}'


frames = st.lists(answerable, max_size=3).map(
    lambda requests: [{"id": n, **request} for n, request in enumerate(requests)]
)


@given(st.binary() | st.binary().map(whole), st.binary(max_size=3))
def test_any_frame_decodes_to_commands_or_is_a_bad_frame(frame: bytes, more: bytes) -> None:
    assert_decodes(frame + more)


@given(frames, st.integers(0), st.binary(max_size=2), st.integers(0, 3))
def test_any_spoiled_frame_decodes_to_commands_or_is_a_bad_frame(
    sent: list[Any], place: int, junk: bytes, cut: int
) -> None:
    try:
        frame = wire_forms.PROTOBUF.encode(sent)
    except UNENCODABLE:
        reject()
    place %= len(frame) + 1
    assert_decodes(frame[:place] + junk + frame[place + cut :])
    assert_decodes(frame[:place])


def assert_decodes(frame: bytes) -> None:
    try:
        decoded = list(PROTOBUF.decode(frame))
    except BadFrame:
        return
    for command in decoded:
        assert command is None or isinstance(command, Command | Malformed)


# The schema


def fields_of(message: Any) -> dict[str, tuple[int, int]]:
    return {known.name: (known.number, known.type) for known in message.fields}


def test_the_schema_agrees_with_that_of_an_sdk() -> None:
    """It may only have more messages and fields."""
    theirs = foreign.DESCRIPTOR.message_types_by_name
    ours = client_pb2.DESCRIPTOR.message_types_by_name
    for name, message in theirs.items():
        assert fields_of(message).items() <= fields_of(ours[name]).items(), name
    assert len(theirs) >= 40


def check(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(directory / "scripts" / "protobuf"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_generated_module_is_up_to_date() -> None:
    checked = check(ROOT)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_a_changed_schema_is_noticed(tmp_path: Path) -> None:
    protocol = tmp_path / "notifications" / "protocol"
    protocol.mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "protobuf", tmp_path / "scripts")
    for name in ("client.proto", "client_pb2.py", "client_pb2.pyi"):
        shutil.copy(ROOT / "notifications" / "protocol" / name, protocol)
    schema = protocol / "client.proto"
    schema.write_text(schema.read_text().replace("string method = 2;", "string method = 3;"))
    checked = check(tmp_path)
    assert checked.returncode == 1
    assert checked.stdout == "Run scripts/protobuf: client_pb2.py is not up to date.\n"
