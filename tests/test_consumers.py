"""Tests of the consumer: authentication, bad input (P7), and how connections end."""

import json
import logging
from typing import Any

import jwt
import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth import get_user_model
from django.db import OperationalError
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from notifications import broadcast, notify
from notifications.connect.authentication import make_token
from notifications.consumers import NotificationConsumer
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.models import Subscription
from notifications.shell import Shell
from tests.peers import QUIET, Peer, log_in, rest, running_hub, until
from tests.sockets import serving
from tests.wire_forms import JSON, PROTOBUF, Form, field, in_each_form, whole

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = str(QUIET["TOKEN_SECRET"])


def assert_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    for record in caplog.records:
        assert not record.exc_info, record.getMessage()
        assert record.levelno < logging.ERROR, record.getMessage()


# Authentication


async def test_a_session_cookie_connects(hub: Hub, user: Any) -> None:
    key = await in_database(log_in, user)
    result = await Peer(cookie=f"sessionid={key}").connect()
    assert result["data"] == {"unread": 0, "user": {"id": str(user.pk), "name": "reader"}}
    assert result["ping"] == 25
    assert result["pong"] is True
    assert "expires" not in result
    assert set(result["subs"]) == {f"user:{user.pk}", "broadcast"}


@pytest.mark.parametrize(
    "cookie",
    [
        'prefs={{"a": 1}}; sessionid={key}',
        "settings[dark]=1; sessionid={key}",
        "x=caf\xe9; sessionid={key}; y=,",
        "broken; sessionid={key}",
        "other=1;sessionid={key};",
    ],
)
async def test_malformed_other_cookies_do_not_hide_the_session(
    hub: Hub, user: Any, cookie: str
) -> None:
    key = await in_database(log_in, user)
    await Peer(cookie=cookie.format(key=key)).connect()


async def test_cookies_may_be_split_as_http2_does(hub: Hub, user: Any) -> None:
    key = await in_database(log_in, user)
    peer = Peer()
    peer.headers = [(b"cookie", b"a=1"), (b"cookie", f"sessionid={key}".encode()), (b"cookie", b"")]
    await peer.connect()


async def test_a_token_connects_and_expires(hub: Hub, user: Any) -> None:
    result = await (await Peer.of(user)).connect()
    assert result["expires"] is True
    assert 3590 <= result["ttl"] <= 3600


@pytest.mark.parametrize(
    "cookie",
    ["", "sessionid=", "sessionid=unknownunknownunknownunknown12345", 'sessionid="\\000\\377"'],
)
async def test_an_anonymous_client_is_refused_and_leaves_nothing_behind(
    hub: Hub, cookie: str
) -> None:
    peer = await Peer(cookie=cookie).open()
    assert await peer.error(connect={}) == 101
    assert not hub.connections.all
    assert not hub.streams.by_name


def forged(user_id: Any) -> str:
    return jwt.encode({"sub": str(user_id)}, "another secret that is long enough", "HS256")


def expired(user_id: Any) -> str:
    return jwt.encode({"sub": str(user_id), "exp": 1}, SECRET, "HS256")


async def test_an_expired_token_can_be_replaced(hub: Hub, user: Any) -> None:
    peer = await Peer().open()
    assert await peer.error(connect={"token": expired(user.pk)}) == 109
    peer.token = await in_database(make_token, user)
    assert "connect" in await peer.try_connect()


async def test_forged_tokens_and_tokens_without_a_user_are_refused_permanently(
    hub: Hub, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await in_database(get_user_model().objects.create, username="off", is_active=False)
    off = await in_database(get_user_model().objects.get, username="off")
    none = jwt.encode({"sub": str(user.pk)}, "", "none")
    tokens = [forged(user.pk), "x", "a.b.c", none, *map(signed, (10**6, 10**30, "x", off.pk))]
    for token in tokens:
        peer = await Peer(token=token).open()
        peer.ask(connect=peer.connect_request())
        assert await peer.wait_closed() == 3500
        assert token not in caplog.text
    assert not hub.connections.all
    assert_no_traceback(caplog)


def signed(user_id: Any) -> str:
    return jwt.encode({"sub": str(user_id)}, SECRET, "HS256")


async def test_a_bad_caller_does_not_affect_the_connects_of_others(hub: Hub, user: Any) -> None:
    """The callers are authenticated in one batch."""
    good = [await Peer.of(user) for _ in range(3)]
    bad = [Peer(cookie='sessionid="\\000"'), Peer(token="x"), Peer()]
    for peer in [*good, *bad]:
        await peer.open()
    for peer in [*bad[:1], *good, *bad[1:]]:
        peer.ask(connect=peer.connect_request())
    for peer in good:
        assert "connect" in await peer.reply(1)


async def test_connections_of_one_user_are_limited(settings: Any, user: Any) -> None:
    async with running_hub(settings, MAX_CONNECTIONS_PER_USER=2) as hub:
        peers = [await Peer.of(user) for _ in range(3)]
        for peer in peers[:2]:
            await peer.connect()
        await peers[2].open()
        peers[2].ask(connect=peers[2].connect_request())
        assert await peers[2].wait_closed() == 3504
        await peers[2].ended()
        assert len(hub.connections.all) == 2
        await peers[0].end()
        assert "connect" in await (await peers[2].open()).try_connect()


# Bad input

BAD_FRAMES = [
    ("nonsense", 3501),
    ("[]", 3501),
    ('{"id":1,"rpc":5,', 3501),
    ('{"id":1,"rpc":{"method":"unread"}}', 3501),  # no connect first
    ("[" * 50_000, 3501),
    ("x" * 65_537, 1009),
    ('{"id":1,"rpc":{"method":"' + "é" * 40_000 + '"}}', 1009),
]


@pytest.mark.parametrize(("frame", "code"), BAD_FRAMES, ids=[case[0][:20] for case in BAD_FRAMES])
async def test_bad_frames_close_only_their_own_connection(
    hub: Hub, user: Any, frame: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    neighbour = await Peer.of(user)
    await neighbour.connect()
    peer = await Peer().open()
    peer.say(frame)
    # Daphne accepts only 1000 and 3000 to 4999 as close codes of an application.
    assert await peer.wait_closed() == (3501 if code == 1009 else code)
    await peer.ended()
    await in_database(notify, user, "still here")
    await neighbour.wait_for("still here")
    assert frame[:500] not in caplog.text
    assert_no_traceback(caplog)


async def test_a_frame_of_the_other_form_closes_with_inappropriate_protocol(hub: Hub) -> None:
    peer = await Peer().open()
    peer.say_bytes(b"\x08\x01")
    assert await peer.wait_closed() == 3506
    peer = await Peer(form=PROTOBUF).open()
    peer.say('{"id":1,"connect":{}}')
    assert await peer.wait_closed() == 3506


BAD_BYTES = {
    "nonsense": (b"nonsense", 3501),
    "not whole": (b"\x05\x08\x01", 3501),
    "no connect first": (PROTOBUF.encode([{"id": 1, "rpc": {"method": "unread"}}]), 3501),
    "nested without end": (whole(field(1, 7) + b"\x9b\x06" * 30_000), 3501),
    "too long": (whole(b"x" * 65_536), 1009),
}


@pytest.mark.parametrize("name", BAD_BYTES)
async def test_bad_bytes_close_only_their_own_connection(
    hub: Hub, user: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    frame, code = BAD_BYTES[name]
    neighbour = await Peer.of(user, PROTOBUF)
    await neighbour.connect()
    peer = await Peer(form=PROTOBUF).open()
    peer.say_bytes(frame)
    assert await peer.wait_closed() == (3501 if code == 1009 else code)
    await peer.ended()
    await in_database(notify, user, "still here")
    await neighbour.wait_for("still here")
    assert_no_traceback(caplog)


async def test_data_that_is_not_json_is_a_bad_request(hub: Hub, user: Any) -> None:
    peer = await Peer.of(user, PROTOBUF)
    await peer.connect()
    for number, request in enumerate(
        (field(13, field(1, b"\xff") + field(2, b"inbox")), field(7, field(2, b"{"))), start=50
    ):
        peer.say_bytes(whole(field(1, number) + request))
        error = (await peer.reply(number))["error"]
        assert (error["code"], error["message"]) == (107, "bad request")
    peer.say_bytes(whole(field(12, field(1, b"\xff"))))  # has no answer
    assert await peer.rpc("unread") == {"unread": 0}


@pytest.mark.parametrize("query", [b"format=protobuf", b"cf_protocol=protobuf"])
async def test_a_url_may_ask_for_protobuf(hub: Hub, user: Any, query: bytes) -> None:
    peer = await Peer.of(user, PROTOBUF)
    peer.subprotocols, peer.query = [], query
    assert (await peer.connect())["data"]["unread"] == 0


@in_each_form
async def test_both_forms_offer_the_same(hub: Hub, user: Any, form: Form) -> None:
    await in_database(notify, user, "missed")
    peer = await Peer.of(user, form)
    result = await peer.connect()
    assert result["data"] == {"unread": 1, "user": {"id": str(user.pk), "name": "reader"}}
    assert set(result["subs"]) == {f"user:{user.pk}", "broadcast"}
    assert 3590 <= result["ttl"] <= 3600
    await in_database(notify, user, "live", body="“é”\nnext", data={"n": 2**53 - 1})
    await peer.wait_for("missed", "live")
    listed = (await peer.rpc("inbox", limit=1))["entries"][0]
    assert (listed["body"], listed["data"]) == ("“é”\nnext", {"n": 2**53 - 1})
    page = await peer.call(history={"channel": f"user:{user.pk}", "limit": 1, "reverse": True})
    assert [one["data"]["title"] for one in page["history"]["publications"]] == ["live"]
    assert (await peer.rpc("read_all")) == {"unread": 0}
    assert await peer.error(publish={"channel": "broadcast", "data": {"title": "no"}}) == 103
    assert peer.violations == []
    assert (await peer.call(subscribe={"channel": "topic:news"}))["subscribe"]["positioned"]
    await in_database(broadcast, "news", to="topic:news")
    await peer.wait_for("missed", "live", "news")


async def test_devices_of_both_forms_receive_one_notification(hub: Hub, user: Any) -> None:
    peers = [await Peer.of(user, form) for form in (JSON, PROTOBUF, JSON, PROTOBUF)]
    for peer in peers:
        await peer.connect()
    await in_database(notify, user, "for all")
    for peer in peers:
        await peer.wait_for("for all")
    # Encoded once for each form.
    assert peers[0].frames[-1] is peers[2].frames[-1]
    assert peers[1].frames[-1] is peers[3].frames[-1]


@in_each_form
async def test_the_pong_of_each_form_acknowledges(hub: Hub, user: Any, form: Form) -> None:
    peer = await Peer.of(user, form)
    await peer.connect()
    await in_database(notify, user, "one")
    await peer.wait_for("one")
    connection = peer.connection(hub)
    hub.visit(connection, now=connection.session.deadline)
    await until(lambda: peer.pings == 1, "a ping")
    peer.pong()
    reader = connection.readers[f"user:{user.pk}"]
    await until(lambda: reader.acked == 1, "an acknowledgement")


async def test_thousands_of_commands_at_once_end_only_their_connection(
    hub: Hub, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    neighbour = await Peer.of(user)
    await neighbour.connect()
    peer = await Peer.of(user)
    await peer.connect()
    for start in range(2, 3002, 500):
        lines = [f'{{"id":{n},"rpc":{{"method":"nothing"}}}}' for n in range(start, start + 500)]
        peer.say("\n".join(lines))
    assert await peer.wait_closed() == 3013
    answered = [reply["error"]["code"] for reply in peer.replies.values() if "error" in reply]
    assert set(answered) == {104, 111}
    await in_database(notify, user, "still here")
    await neighbour.wait_for("still here")
    assert_no_traceback(caplog)


async def test_a_second_connect_ends_the_connection(hub: Hub, user: Any) -> None:
    peer = await Peer.of(user)
    await peer.connect()
    peer.ask(connect=peer.connect_request())
    assert await peer.wait_closed() == 3501


async def test_a_batch_may_begin_with_its_connect(hub: Hub, user: Any) -> None:
    peer = await Peer.of(user)
    await peer.open()
    connect = {"id": 1, "connect": peer.connect_request()}
    peer.say(json.dumps(connect) + '\n{"id":2,"rpc":{"method":"unread"}}')
    assert (await peer.reply(2))["rpc"] == {"data": {"unread": 0}}


async def test_a_batch_ends_when_its_connect_fails(hub: Hub) -> None:
    peer = await Peer().open()
    peer.say('{"id":1,"connect":{}}\n{"id":2,"rpc":{"method":"unread"}}')
    assert await peer.wait_closed() == 3501
    assert peer.replies[1]["error"]["code"] == 101
    assert 2 not in peer.replies


# Ends


async def test_a_bug_ends_one_connection_and_leaves_nothing_behind(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await Peer.of(user)
    await peer.connect()

    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("notifications.protocol.session.Session.receive", fail)
    peer.say("{}")
    assert await peer.wait_closed() == 3004
    await peer.ended()
    assert not hub.connections.all
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_a_command_that_fails_in_the_database_gets_a_temporary_error(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await Peer.of(user)
    await peer.connect()

    def away(*args: Any) -> None:
        raise OperationalError("the password is secret")

    with monkeypatch.context() as patched:
        patched.setattr("notifications.connect.authentication.active_users", away)
        reply = await peer.call(rpc={"method": "unread"})
    assert reply["error"] == {"code": 100, "message": "internal server error", "temporary": True}
    assert (await peer.rpc("unread")) == {"unread": 0}
    assert "secret" not in caplog.text
    assert_no_traceback(caplog)


async def test_a_connect_that_fails_in_the_database_can_be_retried(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any) -> None:
        raise OperationalError

    peer = await Peer.of(user)
    await peer.open()
    with monkeypatch.context() as patched:
        patched.setattr("notifications.streams.feeds.read_inboxes", away)
        assert await peer.error(connect=peer.connect_request()) == 100
    assert not hub.connections.all
    assert all(stream.pins == 0 for stream in hub.streams.by_name.values())
    assert "connect" in await peer.try_connect()
    assert len(hub.connections.all) == 1
    await peer.end()
    assert not hub.connections.all
    assert not hub.connections.by_user


async def test_a_cancelled_consumer_leaves_nothing_behind(hub: Hub, user: Any) -> None:
    peer = await Peer.of(user)
    await peer.connect()
    assert await peer.cancel()
    assert not hub.connections.all
    assert not any(stream.readers for stream in hub.streams.by_name.values())


async def test_private_data_does_not_reach_the_log(
    hub: Hub, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "notifications")
    key = await in_database(log_in, user)
    peer = Peer(cookie=f"sessionid={key}")
    await peer.connect()
    await peer.call(rpc={"method": "read", "data": {"ids": "a private body"}})
    await peer.call(publish={"channel": "user:1", "data": {"title": 5, "body": "a private body"}})
    peer.hang_up()
    await in_database(notify, user, "a private title")
    await peer.ended()
    await rest()
    for secret in (key, "a private body", "a private title"):
        assert secret not in caplog.text


async def test_the_consumer_works_with_the_communicator_of_channels(hub: Hub, user: Any) -> None:
    driver = WebsocketCommunicator(NotificationConsumer.as_asgi(), "/connection/websocket")
    accepted, _ = await driver.connect()
    assert accepted
    token = await in_database(make_token, user)
    await driver.send_json_to({"id": 1, "connect": {"token": token}})
    reply = json.loads(await driver.receive_from())
    assert reply["connect"]["data"]["user"]["id"] == str(user.pk)
    await in_database(notify, user, "hello")
    push = json.loads(await driver.receive_from())["push"]
    assert push["pub"]["data"]["title"] == "hello"
    await driver.disconnect()
    await until(lambda: not hub.connections.all)


@in_each_form
async def test_over_our_server_a_pong_acknowledges_without_waking_the_consumer(
    settings: Any, user: Any, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str | bytes] = []
    take_pong = Shell.take_pong

    def record(shell: Shell, frame: str | bytes) -> bool:
        is_taken = take_pong(shell, frame)
        if is_taken:
            taken.append(frame)
        return is_taken

    monkeypatch.setattr(Shell, "take_pong", record)
    await in_database(notify, user, "delivered")
    async with running_hub(settings, PING_INTERVAL=0.1) as hub:
        token = await in_database(make_token, user)
        async with (
            serving(NotificationConsumer.as_asgi()) as (_, port),
            connect(
                f"ws://127.0.0.1:{port}/", subprotocols=[Subprotocol(form.subprotocol)]
            ) as client,
        ):
            await client.send(form.encode([{"id": 1, "connect": {"token": token}}]))
            await client.recv()
            ping = await client.recv()
            assert form.decode(ping) == [{}]
            await client.send(ping)
            await until(lambda: taken == [ping])
        await hub.flush()
    marks = Subscription.objects.filter(user=user, stream__name=f"user:{user.pk}")
    assert (await in_database(marks.get)).delivered == 1
