"""Reading channels of namespaces as Durable Streams: rights, messages, live modes and refusals."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from notifications import apublish
from notifications.connect.authentication import make_token
from notifications.connect.tokens import make_subscription_token
from notifications.database.lanes import in_database
from notifications.hub import Hub, turns
from notifications.models import Notification, Stream
from notifications.streams import rights
from tests.hub.helpers import counted_statements
from tests.peers import PATIENCE, Peer, running_hub, until
from tests.rooms import make_user
from tests.transports.durable_streams.requests import Exchange, Reader

pytestmark = pytest.mark.django_db(transaction=True)

MODES = ["", "long-poll", "sse"]
LIVE = ["long-poll", "sse"]

NAMESPACES = {
    "chat": {"durable": True},
    "club": {"durable": True, "subscribe": f"{__name__}.is_member"},
    "secret": {"durable": True, "subscribe": "token"},
    "future": {"durable": True, "history": "nobody"},
    "typing": {},
}

#: Names of the members of the club.
members: set[str] = set()


def is_member(user: Any, channel: str) -> bool:
    if channel == "club:broken":
        raise ValueError("no such club")
    return user.get_username() in members


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    members.clear()
    async with running_hub(settings, PAGE_SIZE=3, NAMESPACES=NAMESPACES) as running:
        yield running
        await until(lambda: not running.connections.all, "the end of all connections")
        assert all(stream.is_idle for stream in running.streams.by_name.values())


@pytest.fixture
async def user() -> Any:
    return await in_database(make_user)


async def waiting(hub: Hub, name: str, count: int = 1) -> None:
    def live() -> int:
        return len(hub.streams.by_name[name].live) if name in hub.streams.by_name else 0

    await until(lambda: live() == count, f"{count} live readers")


async def test_a_channel_is_read_page_by_page_as_it_was_published(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user, "chat:7")
    data = [{"text": "Grüße\n☃"}, 2, "three", None, [5]]
    for one in data:
        await apublish("chat:7", one, tags={"kind": "note"})
    first = await reader.read("-1")
    assert (first.status, first.json, first.is_up_to_date) == (200, data[:3], False)
    second = await reader.read(first.offset)
    assert (second.json, second.is_up_to_date) == (data[3:], True)
    head = await reader.read(method="HEAD")
    assert (head.status, head.body, head.offset) == (200, b"", second.offset)
    assert (await reader.read("now")).offset == second.offset


async def test_the_offsets_are_those_of_the_socket(hub: Hub, user: Any) -> None:
    for number in range(2):
        await apublish("chat:7", number)
    page = await (await Reader.of(user, "chat:7")).read("-1")
    peer = await Peer.of(user)
    await peer.connect()
    reply = (await peer.call(subscribe={"channel": "chat:7"}))["subscribe"]
    assert page.offset == f"{reply['offset']:016x}_{reply['epoch']}"
    await peer.end()


@pytest.mark.parametrize("live", LIVE)
async def test_a_publication_wakes_a_waiting_reader_without_a_query(
    hub: Hub, user: Any, live: str
) -> None:
    reader = await Reader.of(user, "chat:7")
    exchange = reader.ask("now", live)
    await waiting(hub, "chat:7")
    with counted_statements('FROM "notifications_notification"') as statements:
        await apublish("chat:7", {"text": "hello"})
        await until(lambda: b"hello" in exchange.body, "the publication")
    assert [sql for sql in statements if "LEFT OUTER JOIN" in sql] == []
    if live == "sse":
        assert [content for kind, content in exchange.events if kind == "data"] == [
            [{"text": "hello"}]
        ]
        offset = exchange.last_control["streamNextOffset"]
        assert exchange.last_control["upToDate"] is True
        exchange.hang_up()
        await exchange.task
    else:
        await exchange.complete()
        offset = exchange.offset
        assert exchange.json == [{"text": "hello"}]
    rest = await reader.read(offset)
    assert (rest.json, rest.is_up_to_date) == ([], True)


async def test_a_slow_reader_of_a_channel_catches_up_from_history(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user, "chat:7")
    async with reader.events("now") as stream:
        await waiting(hub, "chat:7")
        stream.block()
        for number in range(8):
            await apublish("chat:7", number)
        await until(lambda: hub.streams.by_name["chat:7"].top == 8, "the publications")
        assert not hub.streams.by_name["chat:7"].live
        stream.unblock()
        await until(lambda: b"[7]" in stream.body, "all publications")
        found = [one for kind, batch in stream.events if kind == "data" for one in batch]
        assert found == list(range(8))


async def test_a_new_channel_is_empty_and_may_be_waited_for(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user, "chat:new")
    empty = await reader.read("-1")
    assert (empty.status, empty.json, empty.is_up_to_date) == (200, [], True)
    poll = reader.ask(empty.offset, "long-poll")
    await waiting(hub, "chat:new")
    await apublish("chat:new", "first")
    assert (await poll.complete()).json == ["first"]


async def test_new_channels_are_charged_to_the_budget_of_their_user(
    settings: Any, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "MAX_WAIT", 0.01)

    async def status(channel: str) -> int:
        return (await (await Reader.of(user, channel)).read("-1")).status

    async with running_hub(settings, NAMESPACES=NAMESPACES, USER_WORK=1e-6, USER_WORK_BURST=0.1):
        statuses = [await status("chat:0")]
        while statuses[-1] == 200 and len(statuses) < 1000:  # each takes milliseconds
            statuses.append(await status(f"chat:{len(statuses)}"))
        assert statuses[0] == 200
        assert statuses[-1] == 429
        assert await status("chat:refused") == 429
        assert not await in_database(Stream.objects.filter(name="chat:refused").exists)


async def test_lost_history_is_told_in_every_mode(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user, "chat:7")
    for number in range(3):
        await apublish("chat:7", number)
    old = (await reader.read("now")).offset
    above = old.replace("3_", "9_")
    for live in MODES:
        assert (await reader.read(above, live)).json["error"]["code"] == 112

    def prune() -> None:
        Notification.objects.filter(stream__name="chat:7", offset__lte=2).delete()
        Stream.objects.filter(name="chat:7").update(floor=2)

    await in_database(prune)
    assert (await reader.read(old.replace("3_", "1_"))).status == 410
    assert (await reader.read("-1")).json == [2]
    await in_database(Stream.objects.filter(name="chat:7").update, epoch="0ther")
    for live in MODES:
        assert (await reader.read(old, live)).status == 410


# Rights


@pytest.mark.parametrize("live", MODES)
async def test_who_may_not_subscribe_may_not_read(hub: Hub, user: Any, live: str) -> None:
    await apublish("club:7", "a secret")
    reader = await Reader.of(user, "club:7")
    for offset in ("-1", "now"):
        page = await reader.read(offset, live)
        assert (page.status, page.json["error"]["code"]) == (403, 103)
        assert "stream-next-offset" not in page.headers
    members.add(user.get_username())
    assert b"a secret" in (await reader.read("-1")).body


async def test_a_right_that_raises_is_refused(hub: Hub, user: Any) -> None:
    page = await (await Reader.of(user, "club:broken")).read("-1")
    assert (page.status, page.json["error"]["code"]) == (403, 103)


async def test_without_the_right_to_history_reading_begins_now(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user, "future:7")
    await apublish("future:7", "past")
    for live in MODES:
        refused = await reader.read("-1", live)
        assert (refused.status, refused.json["error"]["code"]) == (403, 103)
        assert "offset=now" in refused.json["error"]["message"]
    end = await reader.read("now")
    await apublish("future:7", "next")
    assert (await reader.read(end.offset)).json == ["next"]


@pytest.mark.parametrize("live", LIVE)
async def test_the_loss_of_the_right_ends_a_waiting_reader(hub: Hub, user: Any, live: str) -> None:
    members.add(user.get_username())
    exchange = (await Reader.of(user, "club:7")).ask("now", live)
    await waiting(hub, "club:7")
    members.clear()
    await in_database(rights.changed, [user.pk])
    await exchange.complete()
    await apublish("club:7", "a secret")
    assert b"secret" not in exchange.body


@pytest.mark.parametrize("live", LIVE)
async def test_a_loss_that_nobody_announces_is_noticed(hub: Hub, user: Any, live: str) -> None:
    members.add(user.get_username())
    exchange = (await Reader.of(user, "club:7")).ask("now", live)
    await waiting(hub, "club:7")
    members.clear()
    await hub.rights.check_all()  # each RIGHTS_INTERVAL
    await exchange.complete()


# Subscription tokens


async def with_token(user: Any, channel: str, token: str) -> Reader:
    reader = await Reader.of(user, channel)
    reader.headers["subscription-token"] = token
    return reader


async def test_a_subscription_token_grants_its_channel(hub: Hub, user: Any) -> None:
    await apublish("secret:7", "for you")
    assert (await (await Reader.of(user, "secret:7")).read("-1")).status == 403
    token = await in_database(make_subscription_token, user, "secret:7")
    reader = await with_token(user, "secret:7", token)
    assert (await reader.read("-1")).json == ["for you"]
    poll = reader.ask("now", "long-poll")
    await waiting(hub, "secret:7")
    await hub.rights.check_all()  # a token is not questioned
    await apublish("secret:7", "more")
    assert (await poll.complete()).json == ["more"]


async def test_a_token_for_anything_else_grants_nothing(hub: Hub, user: Any) -> None:
    other = await in_database(make_user, "other")
    tokens = [
        await in_database(make_subscription_token, other, "secret:7"),
        await in_database(make_subscription_token, user, "secret:8"),
        await in_database(make_token, user),
        "forged",
    ]
    for token in tokens:
        page = await (await with_token(user, "secret:7", token)).read("-1")
        assert (page.status, page.json["error"]["code"]) == (403, 103)
    expired = await in_database(make_subscription_token, user, "secret:7", -100)
    page = await (await with_token(user, "secret:7", expired)).read("-1")
    assert (page.status, page.json["error"]["code"]) == (403, 109)


async def test_a_subscription_token_alone_is_no_login(hub: Hub, user: Any) -> None:
    token = await in_database(make_subscription_token, user, "secret:7")
    for headers in ({"subscription-token": token}, {"authorization": f"Bearer {token}"}):
        assert (await Reader("secret:7", headers).read("-1")).status == 401


@pytest.mark.parametrize("live", LIVE)
async def test_a_response_does_not_outlive_its_subscription_token(
    hub: Hub, user: Any, live: str
) -> None:
    token = await in_database(make_subscription_token, user, "secret:7", 1)
    reader = await with_token(user, "secret:7", token)
    exchange = reader.ask("now", live)
    await asyncio.wait_for(exchange.complete(), PATIENCE)
    assert exchange.status in (200, 204)
    assert (await reader.read("now", live)).json["error"]["code"] == 109


# Names, caches and other clients


async def test_names_of_other_shapes_are_refused_clearly(hub: Hub, user: Any) -> None:
    refusals = {
        "typing:7": 108,  # nothing of it is stored
        "unknown:7": 102,
        "chat": 102,
        "chat:": 102,
        "chat:\0": 102,
        "Chat:7": 102,
        "node:7": 102,
        f"chat:{'x' * 300}": 102,
    }
    for name, code in refusals.items():
        for live in MODES:
            page = await (await Reader.of(user, name)).read("-1", live)
            assert (page.status, page.json["error"]["code"]) == (404, code), name
    for name in ("chat:ü/ö", "chat:a b", "chat:7:8", "chat:%2e"):
        assert (await (await Reader.of(user, name)).read("-1")).status == 200


async def test_strangers_do_not_learn_which_namespaces_there_are(hub: Hub) -> None:
    for name in ("chat:7", "typing:7", "unknown:7"):
        page = await Exchange(f"/streams/{name}").complete()
        assert (page.status, page.json["error"]["code"]) == (401, 101)


async def test_no_shared_cache_may_keep_a_channel(hub: Hub, user: Any) -> None:
    reader = await Reader.of(user, "chat:7")
    await apublish("chat:7", 1)
    page = await reader.read("-1")
    assert page.headers["cache-control"] == "private, no-cache"
    assert page.headers["vary"] == "Authorization, Cookie, Origin, Subscription-Token"
    same = await reader.read("-1", headers={"if-none-match": page.headers["etag"]})
    assert (same.status, same.body) == (304, b"")


async def test_a_reader_is_not_among_those_present(settings: Any, user: Any) -> None:
    namespaces = {"chat": {"durable": True, "presence": "authenticated", "join_leave": True}}
    async with running_hub(settings, NAMESPACES=namespaces) as hub:
        reader = await Reader.of(user, "chat:7")
        async with reader.events("now"):
            await waiting(hub, "chat:7")
            peer = await Peer.of(user)
            await peer.connect()
            reply = await peer.call(presence={"channel": "chat:7"})
            assert reply["presence"].get("presence", {}) == {}
            await peer.end()
