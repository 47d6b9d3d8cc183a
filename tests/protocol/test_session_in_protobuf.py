"""The session does the same in the Protobuf form as in JSON."""

import json
from typing import Any

import pytest

from notifications.protocol import codes, messages
from notifications.protocol.effects import Arrived, Close, Send
from notifications.protocol.protobuf import PROTOBUF
from tests import wire_forms
from tests.protocol.test_session import IN_STATE, INPUTS, LIMITS, closes, connected
from tests.wire_forms import field, whole

#: Frames of other bytes that mean as much as these of the JSON form.
IN_PROTOBUF = {
    "": b"",
    "nonsense": b"\xff",
    '{"id":2,"rpc":7}': whole(field(1, 2) + field(13, b"\x12\x05a")),
    '{"id":2,"connect":7}': whole(field(1, 2) + field(4, b"\x0a\x01\xff")),
    '{"rpc":7}': whole(field(13, b"\x12\x05a")),
}


def frame_of(text: str) -> bytes:
    """Translate a frame of the JSON form."""
    if text in IN_PROTOBUF:
        return IN_PROTOBUF[text]
    return wire_forms.PROTOBUF.encode([json.loads(text)])


@pytest.mark.parametrize("case", INPUTS, ids=[case[0] or "empty" for case in INPUTS])
@pytest.mark.parametrize("state", ["new", "connecting", "connected"])
def test_each_state_with_each_frame(state: str, case: Any) -> None:
    frame, *expected = case
    session = IN_STATE[state](PROTOBUF)
    effects = list(session.receive(frame_of(frame), 1.0))
    assert effects == expected[["new", "connecting", "connected"].index(state)]
    assert session.is_closed == any(isinstance(effect, Close) for effect in effects)


@pytest.mark.parametrize("state", ["new", "connecting", "connected"])
def test_a_text_frame_is_an_inappropriate_protocol(state: str) -> None:
    session = IN_STATE[state](PROTOBUF)
    assert list(session.receive("{}", 1.0)) == closes(codes.INAPPROPRIATE_PROTOCOL)


def test_a_frame_of_several_messages_is_processed_up_to_the_first_bad_one() -> None:
    session = connected(PROTOBUF)
    frame = wire_forms.PROTOBUF.encode([{"id": 5, "ping": {}}, {}, {"id": 6, "ping": {}}])
    effects = list(session.receive(frame + b"\x05\x08" + frame, 1.0))
    assert effects == [
        Send(messages.reply(5, messages.PingResult())),
        Send(messages.reply(6, messages.PingResult())),
        *closes(codes.BAD_FRAME),
    ]


def test_an_empty_message_is_the_pong_to_a_ping_only() -> None:
    session = connected(PROTOBUF)
    assert session.tick(25.0, {"user:7": 3}) == [Send(messages.PING)]
    assert list(session.receive(b"\0\0", 26.0)) == [Arrived({"user:7": 3})]


@pytest.mark.parametrize("frames", [[b"\0" * 1000], [b""] * 1000, [whole(field(99, b""))] * 1000])
def test_messages_without_commands_cost_as_much_as_commands(frames: list[bytes]) -> None:
    session = connected(PROTOBUF)
    count = sum(max(1, len(frame) if frame[:1] == b"\0" else 1) for frame in frames)
    assert count > LIMITS.command_burst
    effects = [effect for frame in frames for effect in session.receive(frame, 1.0)]
    assert effects == closes(codes.TOO_MANY_COMMANDS)


def test_a_message_above_the_limit_ends_the_connection() -> None:
    for size, effects in (
        (100, [Send(messages.reply(5, messages.PingResult()))]),
        (101, closes(codes.MESSAGE_TOO_BIG)),
    ):
        session = connected(PROTOBUF, max_frame_size=100)
        ping = whole(field(1, 5) + field(11, field(99, b"x" * (size - 8))))
        assert len(ping) == size
        assert list(session.receive(ping, 1.0)) == effects
