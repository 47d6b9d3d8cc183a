"""Clients that only listen: what they get, and what acknowledges that they have it."""

import json
import logging
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from notifications import broadcast, notify
from notifications.connect.authentication import make_token
from notifications.database.lanes import in_database
from notifications.hub import Connection, Hub
from notifications.models import Subscription
from tests.peers import log_in, running_hub, until
from tests.rooms import make_user
from tests.transports.requests import Request, answered

pytestmark = pytest.mark.django_db(transaction=True)


def listen(token: str, *, last: str | None = None, **options: Any) -> Request:
    headers = [] if last is None else [(b"last-event-id", last.encode())]
    return Request(
        "/connection/uni_sse", method="GET", connect={"token": token}, headers=headers, **options
    )


def delivered(user: Any) -> dict[str, int]:
    return dict(Subscription.objects.filter(user=user).values_list("stream__name", "delivered"))


def connection_of(hub: Hub) -> Connection:
    (connection,) = hub.connections.all
    return connection


async def test_messages_come_without_an_envelope(hub: Hub, user: Any, token: str) -> None:
    request = listen(token)
    result = await request.message("connect")
    assert result["data"] == {"unread": 0, "user": {"id": str(user.pk), "name": "reader"}}
    assert (result["ping"], "pong" in result, "session" in result) == (25, False, False)
    await in_database(notify, user, "one")
    await request.wait_for("one")
    name = f"user:{user.pk}"
    assert request.messages[-1] == {
        "channel": name,
        "pub": {"data": request.messages[-1]["pub"]["data"], "offset": 1},
    }
    await request.end()


@pytest.mark.parametrize("body", [b" \n", b'{"data":' + b"1" * 5000 + b"}"])
async def test_an_unusual_request_with_an_id_is_answered(
    hub: Hub, user: Any, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    key = await in_database(log_in, user)
    headers = [(b"cookie", f"sessionid={key}".encode()), (b"last-event-id", b"{}")]
    request = Request("/connection/uni_sse", body, headers=headers)
    await request.message("connect")
    await request.end()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_lines_carry_the_same_messages(hub: Hub, user: Any, token: str) -> None:
    await in_database(notify, user, "before")
    request = Request("/connection/uni_http_stream", {"token": token})
    await request.message("connect")
    await in_database(notify, user, "after")
    await request.wait_for("before", "after")
    assert request.headers["content-type"] == "application/x-ndjson"
    await request.end()
    assert not hub.connections.all


async def test_a_session_cookie_and_no_request_at_all_suffice(hub: Hub, user: Any) -> None:
    key = await in_database(log_in, user)
    headers = [(b"cookie", f"sessionid={key}".encode())]
    for options in ({"method": "GET"}, {"body": b""}, {"body": b"null"}, {"body": b"{}"}):
        request = Request("/connection/uni_sse", headers=headers, **options)
        await request.message("connect")
        await request.end()


# Positions


async def test_every_event_that_moves_a_position_has_all_positions(
    hub: Hub, user: Any, token: str
) -> None:
    request = listen(token)
    await request.message("connect")
    await in_database(notify, user, "one")
    await in_database(broadcast, "to all")
    await request.wait_for("one", "to all")
    own = f"user:{user.pk}"
    ids = [json.loads(name) for name, _ in request.events if name]
    assert [{name: offset for name, (_, offset) in each.items()} for each in ids] == [
        {own: 0, "broadcast": 0},
        {own: 1, "broadcast": 0},
        {own: 1, "broadcast": 1},
    ]
    await request.end()


async def test_the_last_event_id_resumes_each_channel_where_it_was(
    hub: Hub, user: Any, token: str
) -> None:
    first = listen(token)
    await first.message("connect")
    for title in ("one", "two", "three"):
        await in_database(notify, user, title)
    await in_database(broadcast, "to all")
    await first.wait_for("one", "two", "three", "to all")
    last = next(name for name, data in first.events if data.get("pub", {}).get("offset") == 2)
    await first.end()
    again = listen(token, last=last)
    result = await again.message("connect")
    assert result["subs"][f"user:{user.pk}"]["recovered"]
    await again.wait_for("three", "to all")
    await again.end()


async def test_only_positions_that_come_back_acknowledge_delivery(
    hub: Hub, user: Any, token: str
) -> None:
    """P1: what a client is not known to have stays undelivered, however often it was written."""
    own = f"user:{user.pk}"
    first = listen(token)
    await first.message("connect")
    for title in ("one", "two"):
        await in_database(notify, user, title)
    await first.wait_for("one", "two")
    connection = connection_of(hub)
    hub.visit(connection, now=connection.session.deadline)
    await until(lambda: {} in first.messages, "a ping")
    ids = [name for name, _ in first.events if name]
    await first.end()
    await hub.flush()
    assert (await in_database(delivered, user))[own] == 0
    again = listen(token, last=ids[-2])
    await again.wait_for("two")
    await hub.flush()
    assert (await in_database(delivered, user))[own] == 1
    await again.end()
    without = listen(token)
    await without.wait_for("two")
    await without.end()


async def test_positions_in_the_connect_request_count_too(hub: Hub, user: Any, token: str) -> None:
    own = f"user:{user.pk}"
    first = Request("/connection/uni_http_stream", {"token": token})
    epoch = (await first.message("connect"))["subs"][own]["epoch"]
    for title in ("one", "two"):
        await in_database(notify, user, title)
    await first.wait_for("one", "two")
    await first.end()
    subs = {own: {"recover": True, "epoch": epoch, "offset": 1}}
    again = Request("/connection/uni_http_stream", {"token": token, "subs": subs})
    await again.wait_for("two")
    await hub.flush()
    assert (await in_database(delivered, user))[own] == 1
    await again.end()


@pytest.mark.parametrize(
    ("epoch", "offset"), [("forged00", 1), (None, 2**62), (None, 99)], ids=["epoch", "huge", "top"]
)
async def test_forged_positions_acknowledge_nothing_and_are_told(
    hub: Hub, user: Any, token: str, epoch: str | None, offset: int
) -> None:
    own = f"user:{user.pk}"
    await in_database(notify, user, "one")
    first = listen(token)
    known = (await first.message("connect"))["subs"][own]["epoch"]
    await first.end()
    again = listen(token, last=json.dumps({own: [epoch or known, offset]}))
    result = await again.message("connect")
    assert result["subs"][own].get("recovered", False) is False
    await again.end()
    await hub.flush()
    assert (await in_database(delivered, user))[own] == 0


async def test_nobody_acknowledges_for_another_user(hub: Hub, user: Any, token: str) -> None:
    own = f"user:{user.pk}"
    await in_database(notify, user, "one")
    first = listen(token)
    await first.wait_for("one")
    ids = [name for name, _ in first.events if name]
    await first.end()
    other = await in_database(make_user, "other")
    again = listen(await in_database(make_token, other), last=ids[-1])
    assert own not in (await again.message("connect"))["subs"]
    await again.end()
    await hub.flush()
    assert (await in_database(delivered, user))[own] == 0


@pytest.mark.parametrize(
    "last", ["x", "7", "[]", '{"a":1}', '{"a":["e",-1]}', '{"a":["e",1e99]}', "[" * 9000, "\x80"]
)
async def test_an_id_of_another_server_is_refused(hub: Hub, token: str, last: str) -> None:
    request = listen(token, last=last)
    assert (await request.ended()).error == (400, 400)


# Heartbeat and slow readers


async def test_pings_need_no_pong(hub: Hub, token: str) -> None:
    request = listen(token)
    await request.message("connect")
    connection = connection_of(hub)
    for count in range(1, 4):
        hub.visit(connection, now=connection.session.deadline)
        await until(partial(_has_pings, request, count), "a ping")
    assert connection.closing is None
    await request.end()


async def test_a_listener_that_never_reads_is_closed_with_3008(settings: Any, user: Any) -> None:
    async with running_hub(settings, SLOW_TIMEOUT=0.05, PING_INTERVAL=0.05) as hub:
        request = listen(await in_database(make_token, user))
        await request.message("connect")
        connection = connection_of(hub)
        request.block()
        await until(lambda: connection.closing is not None, "a close")
        assert connection.closing is not None
        assert connection.closing.code == 3008
        await request.ended()
        assert not hub.connections.all


def _has_pings(request: Request, count: int) -> bool:
    return request.messages.count({}) == count


# Refusals and ends


async def test_who_is_not_logged_in_gets_401(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """EventSource gives up then; after an answer with 200 it would try again for ever."""
    for path in ("/connection/uni_sse", "/connection/uni_http_stream"):
        request = await answered(path, b"{}")
        assert request.error == (401, 3507)
        request = await answered(path, {"token": "forged.token.here"})
        assert request.error == (401, 3500)
    assert "forged" not in caplog.text
    assert not hub.connections.all


async def test_an_expired_token_is_refused_with_401(settings: Any, user: Any) -> None:
    async with running_hub(settings):
        token = await in_database(make_token, user, -60)
        assert (await answered("/connection/uni_sse", {"token": token})).error == (401, 3005)


async def test_connections_of_one_user_are_limited(settings: Any, user: Any) -> None:
    async with running_hub(settings, MAX_CONNECTIONS_PER_USER=1):
        token = await in_database(make_token, user)
        first = listen(token)
        await first.message("connect")
        assert (await listen(token).ended()).error == (429, 3504)
        await first.end()


async def test_a_stopping_server_sends_clients_away_with_a_message(hub: Hub, token: str) -> None:
    """With another status than 200, EventSource would not come back."""
    request = listen(token)
    await request.message("connect")
    hub.connections.is_draining = True
    late = await listen(token).ended()
    assert late.status == 200
    expected = {"code": 3001, "reason": "shutdown", "reconnect": True}
    assert late.messages == [{"disconnect": expected}]
    await hub.stop()
    await request.ended()
    assert request.messages[-1] == {"disconnect": expected}


async def test_a_deactivated_user_is_told_and_refused_from_then_on(
    hub: Hub, user: Any, token: str
) -> None:
    request = listen(token)
    await request.message("connect")

    def deactivate() -> None:
        found = get_user_model().objects.get(pk=user.pk)
        found.is_active = False
        found.save()

    await in_database(deactivate)
    assert (await request.message("disconnect"))["code"] == 3503
    await request.ended()
    assert (await listen(token).ended()).status in (401, 403)


@pytest.mark.parametrize("text", ["x", "[]", "7", '{"token":7}', '{"subs":[]}', "[" * 50_000])
async def test_a_malformed_connect_request_is_refused(hub: Hub, text: str) -> None:
    assert (await answered("/connection/uni_sse", text)).error == (400, 400)
    assert (await answered("/connection/uni_http_stream", text)).error == (400, 400)
    if len(text) < 1000:
        request = await answered("/connection/uni_sse", method="GET", connect=text)
        assert request.error == (400, 400)
