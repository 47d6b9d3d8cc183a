"""The one-way form, and the forms for bodies of HTTP responses."""

import json

import pytest
from msgspec import Raw

from notifications.protocol import codes, messages
from notifications.protocol.bodies import Events, Lines, Position
from notifications.protocol.codec import BadFrame, Encodings
from notifications.protocol.commands import Command
from notifications.protocol.effects import Close, Limits, Perform, Send
from notifications.protocol.json import JSON
from notifications.protocol.one_way import ONE_WAY_JSON
from notifications.protocol.session import Session

LIMITS = Limits(25, 10, 10, 20, 65_536, 50, 200)


def text(reply: messages.Reply) -> str:
    payload = ONE_WAY_JSON.encode(reply).payload
    assert isinstance(payload, str)
    return payload


def test_pushes_are_unwrapped() -> None:
    disconnect = messages.Disconnect(3001, "shutdown", reconnect=True)
    reply = messages.Reply(push=messages.Push(disconnect=disconnect))
    assert text(reply) == '{"disconnect":{"code":3001,"reason":"shutdown","reconnect":true}}'
    assert text(messages.PING) == "{}"
    answer = messages.reply(1, messages.ConnectResult("c", ping=25))
    assert text(answer) == '{"connect":{"client":"c","ping":25}}'


def test_a_publication_is_the_same_whether_it_is_encoded_alone_or_as_a_reply() -> None:
    publication = messages.Publication(Raw(b'{"title":"\xc3\xa9"}'), 3)
    reply = messages.Reply(push=messages.Push(channel='a"b', pub=publication))
    alone = ONE_WAY_JSON.encode_publication('a"b', 3, b'{"title":"\xc3\xa9"}')
    assert alone.payload == text(reply)


@pytest.mark.parametrize("frame", ["", " ", "null", "{}", '{"unknown":1}'])
def test_little_is_a_connect_request_too(frame: str) -> None:
    (command,) = ONE_WAY_JSON.decode(frame)
    assert isinstance(command, Command)
    assert command.connect is not None


@pytest.mark.parametrize("frame", ["x", "[]", "1", '{"token":1}', "{}{}", "[" * 9999, "\ud800"])
def test_anything_else_is_a_bad_frame(frame: str) -> None:
    with pytest.raises(BadFrame):
        list(ONE_WAY_JSON.decode(frame))


def connected() -> Session:
    session = Session(ONE_WAY_JSON, 0.0, LIMITS)
    (effect,) = session.receive("{}", 0.0)
    assert isinstance(effect, Perform)
    session.answer(effect.command_id, messages.ConnectResult("c"), 0.0)
    return session


def test_a_listener_is_pinged_again_and_again_without_pongs() -> None:
    session = connected()
    for _ in range(3):
        now = session.deadline
        assert session.tick(now, {}) == [Send(messages.PING)]
        assert session.deadline == now + 25


def test_a_listener_that_accepts_no_ping_is_slow() -> None:
    session = connected()
    start = session.deadline
    assert session.tick(start, None) == []
    assert session.tick(start + 10, None) == []
    assert session.tick(start + 20, None) == [Close(codes.SLOW)]


def test_a_refused_connect_closes_a_listener() -> None:
    for error, disconnect in (
        (codes.UNAUTHORIZED, codes.NOT_PERMITTED),
        (codes.TOKEN_EXPIRED, codes.EXPIRED),
        (codes.TOO_MANY_REQUESTS, codes.TOO_MANY_COMMANDS),
        (codes.INTERNAL, codes.SERVER_ERROR),
        (codes.BAD_REQUEST, codes.BAD_FRAME),
    ):
        session = Session(ONE_WAY_JSON, 0.0, LIMITS)
        list(session.receive("{}", 0.0))
        assert session.refuse(1, error) == [Close(disconnect)]


def test_bodies_hold_one_message_per_line_or_event() -> None:
    pretty = b'{\n "a":\r\n 1}'
    line = Lines(JSON).encode_publication("c", 2, pretty).payload
    event = Events(ONE_WAY_JSON).encode_publication("c", 2, pretty).payload
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line)["push"]["pub"] == {"data": {"a": 1}, "offset": 2}
    assert event.startswith(b"data: ")
    assert event.endswith(b"}\n\n")
    assert b"\n" not in event[:-2]
    assert b"\r" not in event


def test_messages_tell_how_they_move_positions() -> None:
    form = Events(ONE_WAY_JSON)
    subs = {"a": messages.SubscribeResult(epoch="e", offset=3)}
    result = messages.reply(1, messages.ConnectResult("c", subs=subs))
    assert form.encode(result).moves == {"a": Position("e", 3)}
    assert form.encode_publication("a", 4, b"{}").moves == {"a": Position(None, 4)}
    push = messages.Push(channel="b", subscribe=messages.Subscribe(epoch="f", offset=1))
    assert form.encode(messages.Reply(push=push)).moves == {"b": Position("f", 1)}
    push = messages.Push(channel="b", unsubscribe=messages.Unsubscribe(2000))
    assert form.encode(messages.Reply(push=push)).moves == {"b": None}
    assert form.encode(messages.PING).moves == {}


def test_a_message_is_encoded_once_for_all_clients_of_a_form() -> None:
    forms = Lines(JSON), Events(JSON), Events(ONE_WAY_JSON)
    encodings = Encodings(lambda codec: codec.encode_publication("a", 1, b"{}"))
    assert len({encodings[form].payload for form in forms for _ in range(3)}) == 3
    assert encodings[forms[0]] is encodings[forms[0]]
