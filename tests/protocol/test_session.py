"""The session without I/O: each state with each input, the clock, and what is too much."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.protocol import codes, messages
from notifications.protocol.effects import Arrived, Close, Effect, Limits, Perform, Send
from notifications.protocol.session import PATIENCE, REMEMBERED_IDS, Session, State

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


def new_session(**changes: Any) -> Session:
    return Session(0.0, LIMITS._replace(**changes))


def connecting(**changes: Any) -> Session:
    session = new_session(**changes)
    assert list(session.receive(CONNECT, 0.0)) == [Perform(1, messages.ConnectRequest())]
    return session


def connected(**changes: Any) -> Session:
    """A session that has connected at second 0; its first ping is due at second 25."""
    session = connecting(**changes)
    session.answer(1, CONNECTED, 0.0)
    return session


def closed(**changes: Any) -> Session:
    session = new_session(**changes)
    session.close(codes.NORMAL)
    return session


def sent(effects: Any) -> list[dict[str, Any]]:
    """The replies among effects that are all to be written."""
    replies = []
    for effect in effects:
        assert isinstance(effect, Send), effect
        replies.append(json.loads(effect.text))
    return replies


def error_codes(effects: Any) -> list[int]:
    return [reply["error"]["code"] for reply in sent(effects)]


def closes(disconnect: codes.Disconnect) -> list[Effect]:
    return [Close(disconnect)]


# Each state with each input

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
        Send(
            msgspec.json.encode(
                messages.Reply(id=2, error=messages.ErrorReply(*code)),
            ).decode()
        )
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
        [Perform(2, messages.ConnectRequest())],
        BAD,
        BAD,
    ),
    ('{"connect":{}}', BAD, BAD, BAD),
    (RPC, BAD, BAD, [Perform(2, messages.RPCRequest(method="unread"))]),
    ('{"id":2,"ping":{}}', BAD, BAD, [Send('{"id":2,"ping":{}}')]),
    (
        SEND,
        BAD,
        BAD,
        [Perform(0, messages.SendRequest(data=msgspec.Raw(b'{"method":"read_all"}')))],
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
    assert session.receive_binary() == []
    assert session.answer(1, CONNECTED, 1.0) == []
    assert session.refuse(1, codes.INTERNAL) == []
    assert session.close(codes.SHUTDOWN) == []
    assert session.tick(1e9, {}) == []
    assert session.state is State.CLOSED


@pytest.mark.parametrize("state", ["new", "connecting", "connected"])
def test_binary_frames_are_another_protocol(state: str) -> None:
    assert IN_STATE[state]().receive_binary() == closes(codes.INAPPROPRIATE_PROTOCOL)


@pytest.mark.parametrize("state", ["new", "connecting", "connected"])
def test_a_frame_too_long_ends_the_connection(state: str) -> None:
    effects = IN_STATE[state]().receive("x" * (64 * 1024 + 1), 1.0)
    assert list(effects) == closes(codes.MESSAGE_TOO_BIG)


def test_the_size_of_a_frame_is_counted_in_bytes() -> None:
    frame = '{"id":2,"rpc":{"method":"' + "é" * 40_000 + '"}}'
    assert list(connected().receive(frame, 1.0)) == closes(codes.MESSAGE_TOO_BIG)
    longest = '{"id":2,"ping":{}}'.ljust(64 * 1024)
    assert sent(connected().receive(longest, 1.0)) == [{"id": 2, "ping": {}}]


# Connecting


def test_a_batch_waits_for_its_connect() -> None:
    session = new_session()
    effects = session.receive(CONNECT + "\n" + RPC, 0.0)
    assert next(effects) == Perform(1, messages.ConnectRequest())
    assert sent(session.answer(1, CONNECTED, 0.0)) == [
        {"id": 1, "connect": {"client": "c", "ping": 25, "pong": True}}
    ]
    assert next(effects) == Perform(2, messages.RPCRequest(method="unread"))
    assert next(effects, None) is None


def test_a_batch_whose_connect_fails_for_good_goes_no_further() -> None:
    session = new_session()
    effects = session.receive(CONNECT + "\n" + RPC, 0.0)
    next(effects)
    assert error_codes(session.refuse(1, codes.UNAUTHORIZED)) == [101]
    assert next(effects) == Close(codes.BAD_FRAME)
    assert next(effects, None) is None


@pytest.mark.parametrize(
    "error", [codes.INTERNAL, codes.TOO_MANY_REQUESTS, codes.TOKEN_EXPIRED], ids=str
)
def test_what_comes_behind_a_connect_that_is_put_off_is_put_off_too(error: codes.Error) -> None:
    """SDKs send subscriptions together with it: nothing of that may keep them away for good."""
    session = new_session()
    frame = "\n".join([CONNECT, SEND, '{"id":3,"subscribe":{"channel":"topic:a"}}'])
    effects = session.receive(frame, 0.0)
    next(effects)
    assert error_codes(session.refuse(1, error)) == [error.code]
    (reply,) = sent(effects)
    assert reply["id"] == 3
    assert reply["error"]["temporary"] is True
    assert list(session.receive('{"id":4,"connect":{}}', 1.0)) == [
        Perform(4, messages.ConnectRequest())
    ]
    session.answer(4, CONNECTED, 1.0)
    assert session.state is State.CONNECTED


def test_a_batch_ends_with_its_session() -> None:
    session = connected()
    effects = session.receive(RPC + "\n" + '{"id":3,"ping":{}}', 0.0)
    next(effects)
    session.close(codes.SHUTDOWN)
    assert list(effects) == []


def test_who_was_refused_may_try_again_until_it_is_stale() -> None:
    session = connecting()
    session.refuse(1, codes.INTERNAL)
    assert session.state is State.NEW
    assert list(session.receive("{}", 1.0)) == []
    assert list(session.receive('{"id":2,"connect":{}}', 9.0)) == [
        Perform(2, messages.ConnectRequest())
    ]
    session.refuse(2, codes.UNAUTHORIZED)
    assert session.tick(9.9, {}) == []
    assert session.tick(10.0, {}) == closes(codes.STALE)


def test_who_was_refused_for_now_is_not_kept_away_for_good() -> None:
    session = connecting()
    session.refuse(1, codes.INTERNAL)
    (effect,) = session.tick(10.0, {})
    assert isinstance(effect, Close)
    assert effect.disconnect.reconnect


def test_an_answer_after_the_end_is_not_written() -> None:
    session = connecting()
    session.close(codes.SHUTDOWN)
    assert session.answer(1, CONNECTED, 1.0) == []
    assert session.state is State.CLOSED


def test_without_connect_it_is_stale() -> None:
    session = new_session()
    assert session.deadline == 10.0
    assert session.tick(9.99, {}) == []
    assert session.tick(10.0, {}) == closes(codes.STALE)


def test_a_slow_server_does_not_send_clients_away_for_good() -> None:
    """3502 would be terminal, although the client has done all it can."""
    (effect,) = connecting().tick(10.0, {})
    assert isinstance(effect, Close)
    assert effect.disconnect.reconnect


# Answers and errors


def test_results_are_answered_by_id() -> None:
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


def test_errors_are_answered_by_id() -> None:
    session = connected()
    assert sent(session.refuse(2, codes.INTERNAL)) == [
        {"id": 2, "error": {"code": 100, "message": "internal server error", "temporary": True}}
    ]
    assert sent(session.refuse(3, codes.PERMISSION_DENIED)) == [
        {"id": 3, "error": {"code": 103, "message": "permission denied"}}
    ]
    assert session.state is State.CONNECTED


def test_nobody_waits_for_the_answer_of_send() -> None:
    session = connected()
    list(session.receive(SEND, 1.0))
    assert session.answer(0, messages.PingResult(), 1.0) == []


@pytest.mark.parametrize("error", [codes.BAD_REQUEST, codes.METHOD_NOT_FOUND, codes.INTERNAL])
def test_a_send_that_fails_is_over(error: codes.Error) -> None:
    session = connected()
    assert session.refuse(0, error) == []
    assert session.state is State.CONNECTED


# Ids


def test_an_id_may_not_come_twice() -> None:
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


# Too much


def flood(session: Session, count: int, now: float, first: int = 2) -> list[Effect]:
    """``count`` commands, a few per frame."""
    effects: list[Effect] = []
    for start in range(first, first + count, 100):
        numbers = range(start, min(start + 100, first + count))
        frame = "\n".join(f'{{"id":{number},"ping":{{}}}}' for number in numbers)
        effects += session.receive(frame, now)
    return effects


def test_a_burst_is_answered_and_what_is_beyond_it_refused() -> None:
    session = connected()  # has cost one command
    replies = sent(flood(session, 210, 0.0))
    assert [reply["id"] for reply in replies if "ping" in reply] == list(range(2, 201))
    assert [reply["error"]["code"] for reply in replies if "error" in reply] == [111] * 11
    assert all(reply["error"]["temporary"] for reply in replies if "error" in reply)


def test_commands_are_earned_by_waiting() -> None:
    session = connected()
    flood(session, 300, 0.0)
    replies = sent(flood(session, 60, 1.0, first=1000))
    assert sum("ping" in reply for reply in replies) == 50


def test_no_more_than_a_burst_is_saved_up() -> None:
    session = connected()
    replies = sent(flood(session, 250, 1e6))
    assert sum("ping" in reply for reply in replies) == 200


def test_who_does_not_stop_is_disconnected_once() -> None:
    effects = flood(connected(), 200 + PATIENCE + 500, 0.0)
    assert effects[-1] == Close(codes.TOO_MANY_COMMANDS)
    assert sum(isinstance(effect, Close) for effect in effects) == 1
    assert codes.TOO_MANY_COMMANDS.reconnect


def test_sends_beyond_the_burst_are_dropped_until_there_is_no_end_of_them() -> None:
    effects: list[Effect] = []
    session = connected()  # has cost one command
    for _ in range(199 + PATIENCE):
        effects += session.receive(SEND, 0.0)
    assert [type(effect) for effect in effects] == [Perform] * 199
    assert list(session.receive(SEND, 0.0)) == closes(codes.TOO_MANY_COMMANDS)


def test_pongs_cost_nothing() -> None:
    session = connected(command_burst=2, command_rate=1e-9)
    for _ in range(10):
        now = session.deadline
        assert sent(session.tick(now, {})) == [{}]
        assert list(session.receive("{}", now)) == [Arrived({})]
    assert sent(session.receive('{"id":2,"ping":{}}', now)) == [{"id": 2, "ping": {}}]


def test_pongs_that_nobody_asked_for_cost_as_much_as_commands() -> None:
    session = connected(command_burst=3)
    assert list(session.receive("{}\n{}", 0.0)) == []
    assert list(session.receive("{}\n" * 20_000, 0.0)) == closes(codes.TOO_MANY_COMMANDS)


# Heartbeat


def test_pings_come_at_their_interval() -> None:
    session = connected()
    assert session.deadline == 25.0
    assert session.tick(24.9, {}) == []
    assert session.tick(25.0, {}) == [Send("{}")]
    assert list(session.receive("{}", 26.0)) == [Arrived({})]
    assert session.deadline == 50.0
    assert session.tick(50.0, {}) == [Send("{}")]


@given(st.floats(0.0, 1.0))
def test_first_pings_are_spread(spread: float) -> None:
    session = Session(0.0, LIMITS, spread)
    list(session.receive(CONNECT, 0.0))
    session.answer(1, CONNECTED, 100.0)
    assert session.deadline == pytest.approx(100.0 + 25.0 * spread)


def test_no_pong_ends_the_connection() -> None:
    session = connected()
    session.tick(25.0, {})
    assert session.deadline == 35.0
    assert session.tick(34.9, {}) == []
    assert session.tick(35.0, {}) == closes(codes.NO_PONG)


def test_commands_are_no_pong() -> None:
    session = connected()
    session.tick(25.0, {})
    list(session.receive(RPC, 30.0))
    session.refuse(2, codes.INTERNAL)
    assert session.tick(35.0, {}) == closes(codes.NO_PONG)


def test_a_pong_behind_a_request_that_takes_long_is_waited_for() -> None:
    """What a client sends is read in order: its pong is there, but not read yet."""
    session = connected()
    frame = session.receive(RPC, 24.0)
    next(frame)
    assert session.tick(25.0, {"user:7": 5}) == [Send("{}")]
    assert session.tick(35.0, {}) == []
    assert session.deadline == 45.0
    assert session.tick(45.0, {}) == []
    session.refuse(2, codes.INTERNAL)
    assert list(session.receive("{}", 46.0)) == [Arrived({"user:7": 5})]


def test_a_pong_that_is_missing_after_the_request_too_ends_the_connection() -> None:
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
    # What is written from now on is known to the hub, not to this ping.
    assert list(session.receive("{}", 26.0)) == [Arrived({"user:7": 5})]
    session.tick(50.0, {"user:7": 9, "broadcast": 2})
    assert list(session.receive("{}", 51.0)) == [Arrived({"user:7": 9, "broadcast": 2})]


def test_a_pong_that_nobody_asked_for_acknowledges_nothing() -> None:
    session = connected()
    assert list(session.receive("{}", 1.0)) == []
    session.tick(25.0, {"user:7": 5})
    assert list(session.receive("{}\n{}\n{}", 26.0)) == [Arrived({"user:7": 5})]


def test_a_ping_that_a_blocked_socket_did_not_take_is_no_ping() -> None:
    session = connected()
    assert session.tick(25.0, None) == []
    assert session.owes_ping
    assert session.deadline == 26.0
    assert session.tick(26.0, None) == []
    # Drained: the ping is written, and from now on a pong is due.
    assert session.tick(27.0, {"user:7": 5}) == [Send("{}")]
    assert not session.owes_ping
    assert session.deadline == 37.0
    assert session.tick(36.9, {}) == []
    assert list(session.receive("{}", 36.9)) == [Arrived({"user:7": 5})]
    assert session.deadline == 52.0
    assert session.tick(52.0, {}) == [Send("{}")]


def test_a_ping_is_written_as_soon_as_the_socket_drains() -> None:
    session = connected()
    session.tick(25.0, None)
    assert session.tick(25.1, {}) == [Send("{}")]
    assert session.tick(35.0, {}) == []
    assert session.tick(35.1, {}) == closes(codes.NO_PONG)


def test_a_ping_whose_write_was_refused_is_no_ping() -> None:
    session = connected()
    assert session.tick(25.0, {"user:7": 5}) == [Send("{}")]
    assert session.take_back_ping(25.0) == []
    assert session.owes_ping
    assert list(session.receive("{}", 25.5)) == [], "it acknowledges nothing"
    assert session.tick(26.0, {"user:7": 6}) == [Send("{}")]
    assert list(session.receive("{}", 26.5)) == [Arrived({"user:7": 6})]
    assert session.take_back_ping(26.5) == []
    assert session.deadline == 51.0


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_socket_that_never_takes_a_ping_is_slow(is_seen: bool) -> None:
    """Whether it is seen to be blocked, or refuses each time."""
    session = connected()
    effects: list[Effect] = []
    while not effects:
        now = session.deadline
        effects = session.tick(now, None if is_seen else {})
        if not is_seen and effects == [Send("{}")]:
            effects = session.take_back_ping(now)
        assert now < 1000
    assert (effects, now) == (closes(codes.SLOW), 45.0)
    assert codes.SLOW.reconnect


def test_a_socket_that_was_blocked_before_has_all_its_time_again() -> None:
    session = connected()
    for start in (25.0, 69.0, 113.0):
        for second in range(19):
            assert session.tick(start + second, None) == []
        assert session.tick(start + 19.0, {}) == [Send("{}")]
        list(session.receive("{}", start + 19.0))


def test_expiry_counts_while_a_ping_is_owed() -> None:
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


def test_credentials_run_out() -> None:
    session = connecting()
    session.renew(12.0)
    assert session.deadline == 10.0
    session.answer(1, CONNECTED, 1.0)
    assert session.deadline == 12.0
    assert session.tick(11.9, {}) == []
    assert session.tick(12.0, {}) == closes(codes.EXPIRED)
    assert codes.EXPIRED.reconnect


def test_credentials_are_renewed() -> None:
    session = connecting()
    session.renew(12.0)
    session.answer(1, CONNECTED, 0.0)
    session.renew(100.0)
    assert session.deadline == 25.0
    assert session.tick(25.0, {}) == [Send("{}")]
    list(session.receive("{}", 25.5))
    session.renew(None)
    assert session.tick(200.0, {}) == [Send("{}")]


def test_expiry_counts_while_a_pong_is_awaited() -> None:
    session = connecting()
    session.renew(30.0)
    session.answer(1, CONNECTED, 0.0)
    assert session.tick(25.0, {}) == [Send("{}")]
    assert session.deadline == 30.0
    assert session.tick(30.0, {}) == closes(codes.EXPIRED)


def test_expired_credentials_may_be_renewed_for_a_while() -> None:
    session = connecting(expired_close_delay=5.0)
    session.renew(12.0)
    session.answer(1, CONNECTED, 0.0)
    assert session.deadline == 17.0
    assert session.tick(16.9, {}) == []
    session.renew(30.0)
    assert session.deadline == 25.0
    assert session.tick(25.0, {}) == [Send("{}")]
    list(session.receive("{}", 25.5))
    assert session.tick(34.9, {}) == []
    assert session.tick(35.0, {}) == closes(codes.EXPIRED)


def test_credentials_that_ran_out_before_the_answer_last_until_the_delay_has_passed() -> None:
    session = connecting(expired_close_delay=5.0)
    session.renew(-2.0)
    session.answer(1, CONNECTED, 0.0)
    assert session.deadline == 3.0
    assert session.tick(2.9, {}) == []
    assert session.tick(3.0, {}) == closes(codes.EXPIRED)


# Whatever comes

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
def test_whatever_comes_it_closes_once_and_its_clock_goes_on(steps: list[Any]) -> None:
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
            effects += session.receive_binary()
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
    if isinstance(effect.request, messages.ConnectRequest):
        return session.answer(effect.command_id, CONNECTED, now)
    return session.answer(effect.command_id, messages.RPCResult(), now)


def test_a_pong_is_not_missing_while_the_ping_may_wait_in_a_blocked_socket() -> None:
    """Plain ASGI takes a message and tells only afterwards that it could not be written."""
    session = connected()
    assert session.tick(25.0, {"user:7": 5}) == [Send("{}")]
    assert session.tick(35.0, None) == []
    assert session.deadline == 36.0
    assert session.tick(36.0, None) == []
    # It has drained: now there is something to answer.
    assert session.tick(37.0, {}) == []
    assert session.deadline == 47.0
    assert list(session.receive("{}", 46.0)) == [Arrived({"user:7": 5})]
    session.tick(50.0, {})
    assert session.tick(60.0, {}) == closes(codes.NO_PONG)


def test_a_pong_that_is_missing_after_the_socket_has_drained_ends_the_connection() -> None:
    session = connected()
    session.tick(25.0, {})
    assert session.tick(35.0, None) == []
    assert session.tick(36.0, {}) == []
    assert session.tick(46.0, {}) == closes(codes.NO_PONG)


def test_a_socket_that_stays_blocked_with_the_ping_in_it_is_slow() -> None:
    session = connected()
    session.tick(25.0, {})
    for now in range(35, 35 + round(LIMITS.slow_timeout)):
        assert session.tick(float(now), None) == []
    assert session.tick(35.0 + LIMITS.slow_timeout, None) == closes(codes.SLOW)
