"""Tests of the session: each input in each state, rate limits, heartbeat and expiry."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.protocol import codes, commands, messages
from notifications.protocol.codec import Codec
from notifications.protocol.effects import Arrived, Close, Effect, Limits, Perform, Send
from notifications.protocol.json import JSON
from notifications.protocol.protobuf import PROTOBUF
from notifications.protocol.session import MAX_EXCESS_COMMANDS, REMEMBERED_IDS, Session, State

LIMITS = Limits(
    ping_interval=25.0,
    pong_timeout=10.0,
    connect_timeout=10.0,
    slow_timeout=20.0,
    max_frame_size=64 * 1024,
    command_rate=50.0,
    command_burst=200,
)
CONNECT = '{"id":1,"connect":{}}'
CONNECTED = messages.ConnectResult(client="c", ping=25, pong=True)


def new_session(codec: Codec = JSON, **changes: Any) -> Session:
    return Session(codec, 0.0, LIMITS._replace(**changes))


def connecting(codec: Codec = JSON, **changes: Any) -> Session:
    session = new_session(codec, **changes)
    frame = bytes.fromhex("0408012200") if codec.is_binary else CONNECT
    assert list(session.receive(frame, 0.0)) == [Perform(1, commands.ConnectRequest())]
    return session


def connected(codec: Codec = JSON, **changes: Any) -> Session:
    """Return a session that connected at second 0; its first ping is due at second 25."""
    session = connecting(codec, **changes)
    session.answer(1, CONNECTED, 0.0)
    return session


def closed(codec: Codec = JSON, **changes: Any) -> Session:
    session = new_session(codec, **changes)
    session.close(codes.NORMAL)
    return session


def sent(effects: Any) -> list[dict[str, Any]]:
    """Decode the replies of effects, which must all be ``Send``."""
    replies = []
    for effect in effects:
        assert isinstance(effect, Send), effect
        replies.append(json.loads(str(JSON.encode(effect.reply).payload)))
    return replies


def error_codes(effects: Any) -> list[int]:
    return [reply["error"]["code"] for reply in sent(effects)]


def closes(disconnect: codes.Disconnect) -> list[Effect]:
    return [Close(disconnect)]


# Each input in each state

RPC = '{"id":2,"rpc":{"method":"unread"}}'
SEND = '{"send":{"data":{"method":"read_all"}}}'
IN_STATE: dict[str, Callable[..., Session]] = {
    "new": new_session,
    "connecting": connecting,
    "connected": connected,
    "closed": closed,
}
BAD = closes(codes.BAD_FRAME)
ONE_ERROR: dict[int, list[Effect]] = {
    code.code: [
        Send(messages.Reply(id=2, error=messages.ErrorReply(*code))),
    ]
    for code in (codes.METHOD_NOT_FOUND, codes.BAD_REQUEST)
}
INPUTS: list[Any] = [
    # frame: effects when new, connecting, connected
    ("{}", [], [], []),
    ("", [], [], []),
    ("nonsense", BAD, BAD, BAD),
    (
        '{"id":2,"connect":{}}',
        [Perform(2, commands.ConnectRequest())],
        BAD,
        BAD,
    ),
    ('{"connect":{}}', BAD, BAD, BAD),
    (RPC, BAD, BAD, [Perform(2, commands.RPCRequest(method="unread"))]),
    ('{"id":2,"ping":{}}', BAD, BAD, [Send(messages.Reply(id=2, ping=messages.PingResult()))]),
    (
        SEND,
        BAD,
        BAD,
        [Perform(0, commands.SendRequest(data=msgspec.Raw(b'{"method":"read_all"}')))],
    ),
    ('{"id":2}', *[ONE_ERROR[104]] * 3),
    ('{"id":2,"future":{}}', *[ONE_ERROR[104]] * 3),
    ('{"id":2,"rpc":7}', *[ONE_ERROR[107]] * 3),
    ('{"id":2,"connect":7}', *[ONE_ERROR[107]] * 3),
    ('{"rpc":7}', BAD, BAD, BAD),
]


@pytest.mark.parametrize("case", INPUTS, ids=[case[0] or "empty" for case in INPUTS])
@pytest.mark.parametrize("state", ["new", "connecting", "connected"])
def test_each_state_with_each_frame(state: str, case: Any) -> None:
    frame, *expected = case
    session = IN_STATE[state]()
    effects = list(session.receive(frame, 1.0))
    wanted = expected[["new", "connecting", "connected"].index(state)]
    assert effects == wanted
    assert session.is_closed == any(isinstance(effect, Close) for effect in effects)


def test_a_closed_session_does_nothing_more() -> None:
    session = closed()
    assert [effect for case in INPUTS for effect in session.receive(case[0], 1.0)] == []
    assert list(session.receive(b"{}", 1.0)) == []
    assert session.answer(1, CONNECTED, 1.0) == []
    assert session.refuse(1, codes.INTERNAL) == []
    assert session.close(codes.SHUTDOWN) == []
    assert session.tick(1e9, {}) == []
    assert session.state is State.CLOSED


@pytest.mark.parametrize("state", ["new", "connecting", "connected"])
def test_a_binary_frame_is_an_inappropriate_protocol(state: str) -> None:
    assert list(IN_STATE[state]().receive(b"{}", 1.0)) == closes(codes.INAPPROPRIATE_PROTOCOL)


@pytest.mark.parametrize("state", ["new", "connecting", "connected"])
def test_a_frame_that_is_too_long_ends_the_connection(state: str) -> None:
    effects = IN_STATE[state]().receive("x" * (64 * 1024 + 1), 1.0)
    assert list(effects) == closes(codes.MESSAGE_TOO_BIG)


def test_the_size_of_a_frame_is_counted_in_bytes() -> None:
    frame = '{"id":2,"rpc":{"method":"' + "é" * 40_000 + '"}}'
    assert list(connected().receive(frame, 1.0)) == closes(codes.MESSAGE_TOO_BIG)
    longest = '{"id":2,"ping":{}}'.ljust(64 * 1024)
    assert sent(connected().receive(longest, 1.0)) == [{"id": 2, "ping": {}}]


# Connecting


def test_commands_of_a_batch_wait_for_its_connect() -> None:
    session = new_session()
    effects = session.receive(CONNECT + "\n" + RPC, 0.0)
    assert next(effects) == Perform(1, commands.ConnectRequest())
    assert sent(session.answer(1, CONNECTED, 0.0)) == [
        {"id": 1, "connect": {"client": "c", "ping": 25, "pong": True}}
    ]
    assert next(effects) == Perform(2, commands.RPCRequest(method="unread"))
    assert next(effects, None) is None


def test_a_batch_ends_when_its_connect_fails_permanently() -> None:
    session = new_session()
    effects = session.receive(CONNECT + "\n" + RPC, 0.0)
    next(effects)
    assert error_codes(session.refuse(1, codes.UNAUTHORIZED)) == [101]
    assert next(effects) == Close(codes.BAD_FRAME)
    assert next(effects, None) is None


@pytest.mark.parametrize(
    "error", [codes.INTERNAL, codes.TOO_MANY_REQUESTS, codes.TOKEN_EXPIRED], ids=str
)
def test_commands_after_a_connect_that_fails_temporarily_fail_temporarily(
    error: codes.Error,
) -> None:
    """SDKs send subscriptions in the same batch, and give them up on a permanent error."""
    session = new_session()
    frame = "\n".join([CONNECT, SEND, '{"id":3,"subscribe":{"channel":"topic:a"}}'])
    effects = session.receive(frame, 0.0)
    next(effects)
    assert error_codes(session.refuse(1, error)) == [error.code]
    (reply,) = sent(effects)
    assert reply["id"] == 3
    assert reply["error"]["temporary"] is True
    assert list(session.receive('{"id":4,"connect":{}}', 1.0)) == [
        Perform(4, commands.ConnectRequest())
    ]
    session.answer(4, CONNECTED, 1.0)
    assert session.state is State.CONNECTED


def test_a_batch_ends_with_its_session() -> None:
    session = connected()
    effects = session.receive(RPC + "\n" + '{"id":3,"ping":{}}', 0.0)
    next(effects)
    session.close(codes.SHUTDOWN)
    assert list(effects) == []


def test_a_refused_client_may_retry_until_it_is_stale() -> None:
    session = connecting()
    session.refuse(1, codes.INTERNAL)
    assert session.state is State.NEW
    assert list(session.receive("{}", 1.0)) == []
    assert list(session.receive('{"id":2,"connect":{}}', 9.0)) == [
        Perform(2, commands.ConnectRequest())
    ]
    session.refuse(2, codes.UNAUTHORIZED)
    assert session.tick(9.9, {}) == []
    assert session.tick(10.0, {}) == closes(codes.STALE)


def test_a_temporarily_refused_client_may_reconnect() -> None:
    session = connecting()
    session.refuse(1, codes.INTERNAL)
    (effect,) = session.tick(10.0, {})
    assert isinstance(effect, Close)
    assert effect.disconnect.reconnect


def test_a_result_after_the_close_is_not_written() -> None:
    session = connecting()
    session.close(codes.SHUTDOWN)
    assert session.answer(1, CONNECTED, 1.0) == []
    assert session.state is State.CLOSED


def test_a_session_without_connect_is_stale() -> None:
    session = new_session()
    assert session.deadline == 10.0
    assert session.tick(9.99, {}) == []
    assert session.tick(10.0, {}) == closes(codes.STALE)


def test_a_client_may_reconnect_when_the_server_is_slow() -> None:
    """3502 would be terminal, although the client has done its part."""
    (effect,) = connecting().tick(10.0, {})
    assert isinstance(effect, Close)
    assert effect.disconnect.reconnect


# Results and errors


def test_a_result_carries_the_id_of_its_command() -> None:
    session = connected()
    list(session.receive(RPC, 1.0))
    result = messages.RPCResult(data=msgspec.Raw(b'{"unread":3}'))
    assert sent(session.answer(2, result, 1.0)) == [{"id": 2, "rpc": {"data": {"unread": 3}}}]


@pytest.mark.parametrize(
    ("result", "field"),
    [
        (messages.SubscribeResult(), "subscribe"),
        (messages.UnsubscribeResult(), "unsubscribe"),
        (messages.PublishResult(), "publish"),
        (messages.HistoryResult(), "history"),
        (messages.RefreshResult(client="c"), "refresh"),
    ],
)
def test_each_result_has_its_field(result: Any, field: str) -> None:
    (reply,) = sent(connected().answer(9, result, 1.0))
    assert set(reply) == {"id", field}


def test_an_error_carries_the_id_of_its_command() -> None:
    session = connected()
    assert sent(session.refuse(2, codes.INTERNAL)) == [
        {"id": 2, "error": {"code": 100, "message": "internal server error", "temporary": True}}
    ]
    assert sent(session.refuse(3, codes.PERMISSION_DENIED)) == [
        {"id": 3, "error": {"code": 103, "message": "permission denied"}}
    ]
    assert session.state is State.CONNECTED


def test_a_send_has_no_reply() -> None:
    session = connected()
    list(session.receive(SEND, 1.0))
    assert session.answer(0, messages.PingResult(), 1.0) == []


@pytest.mark.parametrize("error", [codes.BAD_REQUEST, codes.METHOD_NOT_FOUND, codes.INTERNAL])
def test_a_send_that_fails_has_no_reply(error: codes.Error) -> None:
    session = connected()
    assert session.refuse(0, error) == []
    assert session.state is State.CONNECTED


# Ids


def test_an_id_may_not_be_reused() -> None:
    session = connected()
    assert len(list(session.receive(RPC, 1.0))) == 1
    assert error_codes(session.receive(RPC, 1.0)) == [107]
    assert error_codes(session.receive('{"id":1,"rpc":{"method":"unread"}}', 1.0)) == [107]
    assert session.state is State.CONNECTED


def test_the_id_of_a_malformed_command_is_used_too() -> None:
    session = connected()
    assert error_codes(session.receive('{"id":5,"rpc":7}', 1.0)) == [107]
    assert error_codes(session.receive('{"id":5,"ping":{}}', 1.0)) == [107]


def test_recent_ids_are_remembered() -> None:
    session = connected()
    for number in range(2, 2 + REMEMBERED_IDS):
        list(session.receive(f'{{"id":{number},"ping":{{}}}}', 1.0))
    assert sent(session.receive('{"id":1,"ping":{}}', 1.0)) == [{"id": 1, "ping": {}}]
    assert error_codes(session.receive('{"id":5,"ping":{}}', 1.0)) == [107]


# Rate limits


def flood(session: Session, count: int, now: float, first: int = 2) -> list[Effect]:
    """Send ``count`` commands, 100 per frame."""
    effects: list[Effect] = []
    for start in range(first, first + count, 100):
        numbers = range(start, min(start + 100, first + count))
        frame = "\n".join(f'{{"id":{number},"ping":{{}}}}' for number in numbers)
        effects += session.receive(frame, now)
    return effects


def test_a_burst_is_answered_and_commands_beyond_it_are_refused() -> None:
    session = connected()  # costs one command
    replies = sent(flood(session, 210, 0.0))
    assert [reply["id"] for reply in replies if "ping" in reply] == list(range(2, 201))
    assert [reply["error"]["code"] for reply in replies if "error" in reply] == [111] * 11
    assert all(reply["error"]["temporary"] for reply in replies if "error" in reply)


def test_the_command_allowance_refills_with_time() -> None:
    session = connected()
    flood(session, 300, 0.0)
    replies = sent(flood(session, 60, 1.0, first=1000))
    assert sum("ping" in reply for reply in replies) == 50


def test_the_command_allowance_is_at_most_the_burst() -> None:
    session = connected()
    replies = sent(flood(session, 250, 1e6))
    assert sum("ping" in reply for reply in replies) == 200


def test_a_client_that_keeps_flooding_is_disconnected_once() -> None:
    effects = flood(connected(), 200 + MAX_EXCESS_COMMANDS + 500, 0.0)
    assert effects[-1] == Close(codes.TOO_MANY_COMMANDS)
    assert sum(isinstance(effect, Close) for effect in effects) == 1
    assert codes.TOO_MANY_COMMANDS.reconnect


def test_sends_beyond_the_burst_are_dropped_and_too_many_disconnect() -> None:
    effects: list[Effect] = []
    session = connected()  # costs one command
    for _ in range(199 + MAX_EXCESS_COMMANDS):
        effects += session.receive(SEND, 0.0)
    assert [type(effect) for effect in effects] == [Perform] * 199
    assert list(session.receive(SEND, 0.0)) == closes(codes.TOO_MANY_COMMANDS)


def test_pongs_are_free() -> None:
    session = connected(command_burst=2, command_rate=1e-9)
    for _ in range(10):
        now = session.deadline
        assert sent(session.tick(now, {})) == [{}]
        assert list(session.receive("{}", now)) == [Arrived({})]
    assert sent(session.receive('{"id":2,"ping":{}}', now)) == [{"id": 2, "ping": {}}]


def test_unsolicited_pongs_cost_as_much_as_commands() -> None:
    session = connected(command_burst=3)
    assert list(session.receive("{}\n{}", 0.0)) == []
    assert list(session.receive("{}\n" * 20_000, 0.0)) == closes(codes.TOO_MANY_COMMANDS)


@pytest.mark.parametrize("state", ["new", "connected"])
def test_large_frames_cost_more_than_one_command(state: str) -> None:
    """Malformed commands of any size would be decoded at the rate of small ones otherwise."""
    large = '{"id":%d,"connect":{"data":"' + "x" * 64_000 + '","token":7}}'
    session = IN_STATE[state](JSON)
    effects = [effect for n in range(100, 120) for effect in session.receive(large % n, 1.0)]
    refused = [effect for effect in effects if isinstance(effect, Send)]
    assert len(refused) == 200 // 16  # each costs 15 more than the command in it
    assert effects[len(refused) :] == closes(codes.TOO_MANY_COMMANDS)


def test_a_frame_of_any_size_is_allowed_now_and_then() -> None:
    session = connected(command_burst=2, command_rate=1.0)
    large = '{"id":%d,"ping":{},"more":"' + "x" * 64_000 + '"}'
    for n in (2, 3):
        assert sent(session.receive(large % n, 10.0 * n)) == [{"id": n, "ping": {}}]


# Heartbeat


def test_pings_are_sent_at_the_interval() -> None:
    session = connected()
    assert session.deadline == 25.0
    assert session.tick(24.9, {}) == []
    assert session.tick(25.0, {}) == [Send(messages.PING)]
    assert list(session.receive("{}", 26.0)) == [Arrived({})]
    assert session.deadline == 50.0
    assert session.tick(50.0, {}) == [Send(messages.PING)]


@given(st.floats(0.0, 1.0))
def test_first_pings_are_spread(spread: float) -> None:
    session = Session(JSON, 0.0, LIMITS, spread)
    list(session.receive(CONNECT, 0.0))
    session.answer(1, CONNECTED, 100.0)
    assert session.deadline == pytest.approx(100.0 + 25.0 * spread)


def test_no_pong_ends_the_connection() -> None:
    session = connected()
    session.tick(25.0, {})
    assert session.deadline == 35.0
    assert session.tick(34.9, {}) == []
    assert session.tick(35.0, {}) == closes(codes.NO_PONG)


def test_commands_do_not_replace_a_pong() -> None:
    session = connected()
    session.tick(25.0, {})
    list(session.receive(RPC, 30.0))
    session.refuse(2, codes.INTERNAL)
    assert session.tick(35.0, {}) == closes(codes.NO_PONG)


def test_a_pong_behind_a_slow_request_is_awaited() -> None:
    """Frames are read in order: the pong may have arrived without having been read."""
    session = connected()
    frame = session.receive(RPC, 24.0)
    next(frame)
    assert session.tick(25.0, {"user:7": 5}) == [Send(messages.PING)]
    assert session.tick(35.0, {}) == []
    assert session.deadline == 45.0
    assert session.tick(45.0, {}) == []
    session.refuse(2, codes.INTERNAL)
    assert list(session.receive("{}", 46.0)) == [Arrived({"user:7": 5})]


def test_a_pong_missing_after_the_request_ends_the_connection() -> None:
    session = connected()
    next(session.receive(RPC, 24.0))
    session.tick(25.0, {})
    session.tick(35.0, {})
    session.refuse(2, codes.INTERNAL)
    assert session.tick(44.9, {}) == []
    assert session.tick(45.0, {}) == closes(codes.NO_PONG)


def test_a_pong_covers_what_was_written_before_its_ping() -> None:
    session = connected()
    session.tick(25.0, {"user:7": 5})
    # The positions are those passed with the ping: what is written later is not covered.
    assert list(session.receive("{}", 26.0)) == [Arrived({"user:7": 5})]
    session.tick(50.0, {"user:7": 9, "broadcast": 2})
    assert list(session.receive("{}", 51.0)) == [Arrived({"user:7": 9, "broadcast": 2})]


@pytest.mark.parametrize("codec", [JSON, PROTOBUF])
def test_a_pong_that_is_a_frame_of_its_own_can_be_taken_directly(codec: Codec) -> None:
    assert codec.pong is not None
    direct, received = connected(codec), connected(codec)
    assert not direct.is_awaiting_pong
    for session in (direct, received):
        session.tick(25.0, {"user:7": 5})
    assert direct.is_awaiting_pong
    assert [direct.take_pong()] == list(received.receive(codec.pong, 26.0))
    assert not direct.is_awaiting_pong
    assert direct.deadline == received.deadline


def test_no_pong_is_taken_directly_while_a_request_is_performed_or_after_the_end() -> None:
    session = connected()
    session.tick(25.0, {})
    next(session.receive(RPC, 26.0))
    assert not session.is_awaiting_pong
    session.refuse(2, codes.INTERNAL)
    assert session.is_awaiting_pong
    session.close(codes.SHUTDOWN)
    assert not session.is_awaiting_pong


def test_an_unsolicited_pong_acknowledges_nothing() -> None:
    session = connected()
    assert list(session.receive("{}", 1.0)) == []
    session.tick(25.0, {"user:7": 5})
    assert list(session.receive("{}\n{}\n{}", 26.0)) == [Arrived({"user:7": 5})]


def test_a_ping_that_a_blocked_socket_did_not_accept_does_not_count() -> None:
    session = connected()
    assert session.tick(25.0, None) == []
    assert session.owes_ping
    assert session.deadline == 26.0
    assert session.tick(26.0, None) == []
    # The socket has drained: the ping is written, and the time for its pong starts now.
    assert session.tick(27.0, {"user:7": 5}) == [Send(messages.PING)]
    assert not session.owes_ping
    assert session.deadline == 37.0
    assert session.tick(36.9, {}) == []
    assert list(session.receive("{}", 36.9)) == [Arrived({"user:7": 5})]
    assert session.deadline == 52.0
    assert session.tick(52.0, {}) == [Send(messages.PING)]


def test_a_ping_is_written_as_soon_as_the_socket_drains() -> None:
    session = connected()
    session.tick(25.0, None)
    assert session.tick(25.1, {}) == [Send(messages.PING)]
    assert session.tick(35.0, {}) == []
    assert session.tick(35.1, {}) == closes(codes.NO_PONG)


def test_a_ping_that_was_taken_back_does_not_count() -> None:
    session = connected()
    assert session.tick(25.0, {"user:7": 5}) == [Send(messages.PING)]
    assert session.take_back_ping(25.0) == []
    assert session.owes_ping
    assert list(session.receive("{}", 25.5)) == [], "it acknowledges nothing"
    assert session.tick(26.0, {"user:7": 6}) == [Send(messages.PING)]
    assert list(session.receive("{}", 26.5)) == [Arrived({"user:7": 6})]
    assert session.take_back_ping(26.5) == []
    assert session.deadline == 51.0


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_socket_that_never_accepts_a_ping_is_slow(is_seen: bool) -> None:
    """Either the session is told that the socket is blocked, or each write is refused."""
    session = connected()
    effects: list[Effect] = []
    while not effects:
        now = session.deadline
        effects = session.tick(now, None if is_seen else {})
        if not is_seen and effects == [Send(messages.PING)]:
            effects = session.take_back_ping(now)
        assert now < 1000
    assert (effects, now) == (closes(codes.SLOW), 45.0)
    assert codes.SLOW.reconnect


def test_an_earlier_block_does_not_shorten_the_slow_timeout() -> None:
    session = connected()
    for start in (25.0, 69.0, 113.0):
        for second in range(19):
            assert session.tick(start + second, None) == []
        assert session.tick(start + 19.0, {}) == [Send(messages.PING)]
        list(session.receive("{}", start + 19.0))


def test_credentials_expire_while_a_ping_is_owed() -> None:
    session = connected()
    session.renew(25.5)
    session.tick(25.0, None)
    assert session.deadline == 25.5
    assert session.tick(25.5, None) == closes(codes.EXPIRED)


def test_a_pong_without_a_ping_acknowledges_nothing_for_a_blocked_socket() -> None:
    session = connected()
    session.tick(25.0, {"user:7": 5})
    list(session.receive("{}", 26.0))
    session.tick(50.0, None)
    assert list(session.receive("{}", 51.0)) == []


# Expiry


def test_expired_credentials_end_the_connection() -> None:
    session = connecting()
    session.renew(12.0)
    assert session.deadline == 10.0
    session.answer(1, CONNECTED, 1.0)
    assert session.deadline == 12.0
    assert session.tick(11.9, {}) == []
    assert session.tick(12.0, {}) == closes(codes.EXPIRED)
    assert codes.EXPIRED.reconnect


def test_renewed_credentials_move_the_deadline() -> None:
    session = connecting()
    session.renew(12.0)
    session.answer(1, CONNECTED, 0.0)
    session.renew(100.0)
    assert session.deadline == 25.0
    assert session.tick(25.0, {}) == [Send(messages.PING)]
    list(session.receive("{}", 25.5))
    session.renew(None)
    assert session.tick(200.0, {}) == [Send(messages.PING)]


def test_credentials_expire_while_a_pong_is_awaited() -> None:
    session = connecting()
    session.renew(30.0)
    session.answer(1, CONNECTED, 0.0)
    assert session.tick(25.0, {}) == [Send(messages.PING)]
    assert session.deadline == 30.0
    assert session.tick(30.0, {}) == closes(codes.EXPIRED)


def test_expired_credentials_may_be_renewed_until_the_close_delay() -> None:
    session = connecting(expired_close_delay=5.0)
    session.renew(12.0)
    session.answer(1, CONNECTED, 0.0)
    assert session.deadline == 17.0
    assert session.tick(16.9, {}) == []
    session.renew(30.0)
    assert session.deadline == 25.0
    assert session.tick(25.0, {}) == [Send(messages.PING)]
    list(session.receive("{}", 25.5))
    assert session.tick(34.9, {}) == []
    assert session.tick(35.0, {}) == closes(codes.EXPIRED)


def test_credentials_that_expired_before_the_answer_last_until_the_delay() -> None:
    session = connecting(expired_close_delay=5.0)
    session.renew(-2.0)
    session.answer(1, CONNECTED, 0.0)
    assert session.deadline == 3.0
    assert session.tick(2.9, {}) == []
    assert session.tick(3.0, {}) == closes(codes.EXPIRED)


# Random sequences

STEPS = st.lists(
    st.one_of(
        st.sampled_from([case[0] for case in INPUTS] + [CONNECT, RPC, SEND]).map(
            lambda frame: ("frame", frame)
        ),
        st.just(("binary", "")),
        st.sampled_from([0.5, 3.0, 11.0, 26.0]).map(lambda seconds: ("wait", seconds)),
        st.sampled_from(["answer", "refuse"]).map(lambda how: ("next", how)),
    ),
    max_size=30,
)


@given(STEPS)
def test_any_sequence_closes_once_and_keeps_a_deadline(steps: list[Any]) -> None:
    session = new_session()
    effects: list[Effect] = []
    how, now = "answer", 0.0
    for kind, value in steps:
        if kind == "next":
            how = value
        elif kind == "wait":
            now += value
            effects += session.tick(now, {"user:7": 1})
        elif kind == "binary":
            effects += session.receive(b"{}", now)
        else:
            for effect in session.receive(value, now):
                effects.append(effect)
                if isinstance(effect, Perform):
                    effects += perform(session, effect, how, now)
        assert session.is_closed or session.deadline > now - 26.0
    closings = [n for n, effect in enumerate(effects) if isinstance(effect, Close)]
    assert len(closings) <= 1
    assert not closings or closings[0] == len(effects) - 1, "nothing comes after the end"


def perform(session: Session, effect: Perform, how: str, now: float) -> list[Effect]:
    if how == "refuse":
        return session.refuse(effect.command_id, codes.BAD_REQUEST)
    if isinstance(effect.request, commands.ConnectRequest):
        return session.answer(effect.command_id, CONNECTED, now)
    return session.answer(effect.command_id, messages.RPCResult(), now)


def test_a_pong_is_not_overdue_while_the_ping_may_be_in_a_blocked_socket() -> None:
    """Plain ASGI accepts a message, and only later reports that it could not be written."""
    session = connected()
    assert session.tick(25.0, {"user:7": 5}) == [Send(messages.PING)]
    assert session.tick(35.0, None) == []
    assert session.deadline == 36.0
    assert session.tick(36.0, None) == []
    # The socket has drained: only now can the client answer the ping.
    assert session.tick(37.0, {}) == []
    assert session.deadline == 47.0
    assert list(session.receive("{}", 46.0)) == [Arrived({"user:7": 5})]
    session.tick(50.0, {})
    assert session.tick(60.0, {}) == closes(codes.NO_PONG)


def test_a_pong_missing_after_the_socket_has_drained_ends_the_connection() -> None:
    session = connected()
    session.tick(25.0, {})
    assert session.tick(35.0, None) == []
    assert session.tick(36.0, {}) == []
    assert session.tick(46.0, {}) == closes(codes.NO_PONG)


def test_a_socket_that_stays_blocked_with_a_ping_in_it_is_slow() -> None:
    session = connected()
    session.tick(25.0, {})
    for now in range(35, 35 + round(LIMITS.slow_timeout)):
        assert session.tick(float(now), None) == []
    assert session.tick(35.0 + LIMITS.slow_timeout, None) == closes(codes.SLOW)
