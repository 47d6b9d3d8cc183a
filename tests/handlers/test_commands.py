"""Commands over the wire: rights, bad arguments, topics, history, procedures, refresh."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission

from notifications import broadcast, notify
from notifications.connect.authentication import make_token
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.metrics import SENDS_IGNORED
from notifications.models import Notification, Stream, Subscription
from notifications.protocol import codes
from notifications.protocol.effects import Close
from tests.peers import Peer, rest, running_hub, until
from tests.rooms import fill, make_user

pytestmark = pytest.mark.django_db(transaction=True)


def not_secret(user: Any, slug: str) -> bool:
    return slug != "secret"


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    async with running_hub(
        settings, MAX_TOPICS=3, TOPIC_PERMISSION="tests.handlers.test_commands.not_secret"
    ) as running:
        yield running


@pytest.fixture
async def peer(hub: Hub, user: Any) -> Peer:
    connected = await Peer.of(user)
    await connected.connect()
    return connected


def allow(user: Any, *codenames: str) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))


def own(user: Any) -> str:
    return f"user:{user.pk}"


UNKNOWN_NAMES = ["", "nobody", "user:", "topic:", "topic:.x", "topic:a b", "group:0", "topic:\x00"]


def fill_with_much(user: Any) -> None:
    """Fill the user's own stream with 60 publications of 36 KB."""
    fill(own(user), 60)
    Notification.objects.update(body="☃" * 9_000, data={"text": "x" * 9_000})


# Unavailable and unknown commands


@pytest.mark.parametrize("name", ["presence", "presence_stats", "sub_refresh"])
async def test_commands_that_this_server_lacks_are_not_available(peer: Peer, name: str) -> None:
    assert await peer.error(**{name: {"channel": "broadcast"}}) == 108


async def test_unknown_commands_and_procedures(peer: Peer) -> None:
    assert await peer.error(future={}) == 104
    assert await peer.error(rpc={"method": "nothing"}) == 104
    assert await peer.error(rpc={}) == 104


async def test_a_ping_of_the_client_is_answered(peer: Peer) -> None:
    assert (await peer.call(ping={}))["ping"] == {}


# Topics


async def test_unsubscribe_ends_the_topic_on_this_connection_only(peer: Peer, user: Any) -> None:
    await in_database(broadcast, "before", to="topic:news")
    result = (await peer.call(subscribe={"channel": "topic:news"}))["subscribe"]
    assert result["recoverable"] is True
    assert result["offset"] == 1
    assert "publications" not in result
    await in_database(broadcast, "after", to="topic:news")
    await until(lambda: '"after"' in peer.frames[-1])
    assert "unsubscribe" in await peer.call(unsubscribe={"channel": "topic:news"})
    await in_database(broadcast, "too late", to="topic:news")
    await in_database(broadcast, "for all")
    await until(lambda: "for all" in peer.titles)
    assert not any("too late" in frame for frame in peer.frames)
    # The user still follows it.
    assert "too late" in [entry["title"] for entry in (await peer.rpc("inbox"))["entries"]]


async def test_a_topic_resumes_at_the_clients_position(peer: Peer, hub: Hub) -> None:
    result = (await peer.call(subscribe={"channel": "topic:news"}))["subscribe"]
    await peer.end()
    await in_database(broadcast, "missed", to="topic:news")
    await peer.connect()
    position = {"recover": True, "epoch": result["epoch"], "offset": result.get("offset", 0)}
    again = (await peer.call(subscribe={"channel": "topic:news", **position}))["subscribe"]
    assert again["was_recovering"] is True
    assert again["recovered"] is True
    assert [p["data"]["title"] for p in again["publications"]] == ["missed"]


async def test_subscribing_twice_to_a_topic_is_an_error(peer: Peer) -> None:
    await peer.call(subscribe={"channel": "topic:news"})
    assert await peer.error(subscribe={"channel": "topic:news"}) == 105


async def test_a_user_cannot_exceed_the_limit_of_topics(peer: Peer) -> None:
    for number in range(3):
        assert "subscribe" in await peer.call(subscribe={"channel": f"topic:{number}"})
    assert await peer.error(subscribe={"channel": "topic:more"}) == 106
    assert not await in_database(Stream.objects.filter(name="topic:more").exists)
    await peer.call(unsubscribe={"channel": "topic:1"})
    assert await peer.error(subscribe={"channel": "topic:more"}) == 106
    await peer.rpc("leave", channel="topic:1")
    assert "subscribe" in await peer.call(subscribe={"channel": "topic:more"})


async def test_concurrent_connections_cannot_exceed_the_limit_of_topics(
    hub: Hub, user: Any
) -> None:
    peers = [await Peer.of(user) for _ in range(8)]
    for each in peers:
        await each.connect()
    asked = [
        (each, each.ask(subscribe={"channel": f"topic:{number}"}))
        for number, each in enumerate(peers)
    ]
    replies = [await each.reply(command_id) for each, command_id in asked]
    refused = [reply["error"]["code"] for reply in replies if "error" in reply]
    assert set(refused) == {106}
    assert len(refused) >= 5
    kept = await in_database(
        Subscription.objects.filter(user=user, stream__name__startswith="topic:").count
    )
    assert kept == len(replies) - len(refused)
    assert (await peers[0].call(ping={}))["ping"] == {}


async def test_concurrent_subscribes_and_unsubscribes_of_one_topic(
    hub: Hub, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    peers = [await Peer.of(user) for _ in range(4)]
    for each in peers:
        await each.connect()
    asked = [
        (each, each.ask(**{command: {"channel": "topic:news"}}))
        for _ in range(20)
        for each in peers
        for command in ("subscribe", "unsubscribe")
    ]
    for each, command_id in asked:
        reply = await each.reply(command_id)
        # 100 is temporary: the client retries.
        assert reply.get("error", {}).get("code") in {None, 100, 105}
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("name", UNKNOWN_NAMES)
async def test_unknown_channels_are_refused(peer: Peer, name: str) -> None:
    for command in ("subscribe", "unsubscribe", "history"):
        assert await peer.error(**{command: {"channel": name}}) == 102
    assert await peer.error(publish={"channel": name, "data": {"title": "x"}}) in {102, 103}
    assert await peer.error(rpc={"method": "mute", "data": {"channel": name}}) == 102
    assert await peer.error(rpc={"method": "ack", "data": {"channel": name, "offset": 1}}) == 107


async def test_channels_of_others_are_denied(peer: Peer, hub: Hub, user: Any) -> None:
    other = await in_database(make_user, "other")
    group = await in_database(lambda: Group.objects.create(name="crew"))
    await in_database(notify, other, "theirs")
    for name in (own(other), "staff", f"group:{group.pk}", "topic:secret"):
        for command in ("subscribe", "history"):
            assert await peer.error(**{command: {"channel": name}}) == 103
    assert all(stream.pins <= 1 for stream in hub.streams.by_name.values())


async def test_server_side_subscriptions_cannot_be_changed(peer: Peer, user: Any) -> None:
    assert await peer.error(subscribe={"channel": "broadcast"}) == 105
    assert await peer.error(unsubscribe={"channel": "broadcast"}) == 103
    assert await peer.error(unsubscribe={"channel": own(user)}) == 103
    await in_database(broadcast, "still here")
    await peer.wait_for("still here")


async def test_a_failed_subscribe_leaves_no_pin(peer: Peer, hub: Hub) -> None:
    for number in range(3):
        await peer.call(subscribe={"channel": f"topic:{number}"})
    await peer.error(subscribe={"channel": "topic:more"})
    pins = {name: stream.pins for name, stream in hub.streams.by_name.items()}
    assert sum(pins.values()) == 1, "the user's own stream, by its one connection"


# Publishing


async def test_a_permitted_user_publishes_to_another_user(peer: Peer, hub: Hub, user: Any) -> None:
    other = await in_database(make_user, "other")
    reader = await Peer.of(other)
    await reader.connect()
    data = {"title": "hello", "body": "you", "url": "/x/", "level": "success", "kind": "chat"}
    assert await peer.error(publish={"channel": own(other), "data": data}) == 103
    await in_database(allow, user, "send_private")
    assert (await peer.call(publish={"channel": own(other), "data": data}))["publish"] == {}
    await reader.wait_for("hello")
    notification = await in_database(Notification.objects.select_related("actor").get)
    assert notification.actor == user
    assert notification.level == "success"
    assert await peer.error(publish={"channel": "broadcast", "data": {"title": "x"}}) == 103


async def test_a_permitted_user_broadcasts(peer: Peer, user: Any) -> None:
    await in_database(allow, user, "send_broadcast")
    assert "publish" in await peer.call(publish={"channel": "broadcast", "data": {"title": "all"}})
    await peer.wait_for("all")
    assert await peer.error(publish={"channel": own(user), "data": {"title": "x"}}) == 103
    assert await peer.error(publish={"channel": "group:77", "data": {"title": "x"}}) == 102


@pytest.mark.parametrize(
    "data",
    [
        None,
        5,
        {},
        {"title": ""},
        {"title": 5},
        {"title": "x" * 201},
        {"title": "\x00"},
        {"title": "x", "body": "x" * 10_001},
        {"title": "x", "url": "javascript:alert(1)"},
        {"title": "x", "level": "shouting"},
        {"title": "x", "kind": "No Slug"},
        {"title": "x", "data": []},
        {"title": "x", "data": {"big": "x" * 20_000}},
        {"title": "x", "data": {"a\x00": 1}},
        {"title": "x", "key": "\x00"},
        {"title": "x", "actor": 1},
        {"title": "x", "publish_at": "2030-01-01"},
    ],
)
async def test_bad_content_is_refused(peer: Peer, user: Any, data: Any) -> None:
    await in_database(allow, user, "send_broadcast")
    assert await peer.error(publish={"channel": "broadcast", "data": data}) == 107
    assert await in_database(Notification.objects.count) == 0


@pytest.mark.parametrize("depth", [100, 400, 700, 950])
async def test_deeply_nested_content_is_handled(
    peer: Peer, user: Any, depth: int, caplog: pytest.LogCaptureFixture
) -> None:
    await in_database(allow, user, "send_broadcast")
    deep = '{"a":' * depth + "1" + "}" * depth
    peer.say(
        f'{{"id":50,"publish":{{"channel":"broadcast","data":{{"title":"x","data":{deep}}}}}}}'
    )
    await until(lambda: 50 in peer.replies or peer.closed is not None)
    assert peer.closed in {None, 3501}
    assert not any(record.exc_info for record in caplog.records)


async def test_the_same_key_publishes_once(peer: Peer, user: Any) -> None:
    await in_database(allow, user, "send_broadcast")
    for title in ("first", "second"):
        data = {"title": title, "key": "order-7"}
        assert "publish" in await peer.call(publish={"channel": "broadcast", "data": data})
    await rest()
    assert await in_database(Notification.objects.count) == 1


# History


async def test_history_is_read_forward_and_backward(peer: Peer, user: Any) -> None:
    await in_database(fill, own(user), 10)

    async def ask(**request: Any) -> list[int]:
        reply = await peer.call(history={"channel": own(user), **request})
        result = reply["history"]
        assert result["offset"] == 10
        return [publication["offset"] for publication in result.get("publications", [])]

    epoch = (await peer.call(history={"channel": own(user)}))["history"]["epoch"]
    assert await ask() == []
    assert await ask(limit=3) == [1, 2, 3]
    assert await ask(limit=-1) == [*range(1, 11)]
    assert await ask(limit=3, since={"offset": 4, "epoch": epoch}) == [5, 6, 7]
    assert await ask(limit=3, since={"offset": 4}) == [5, 6, 7]
    assert await ask(limit=3, reverse=True) == [10, 9, 8]
    assert await ask(limit=9, reverse=True, since={"offset": 3, "epoch": epoch}) == [2, 1]


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_page_of_history_is_bounded_in_bytes(peer: Peer, user: Any, reverse: bool) -> None:
    await in_database(fill_with_much, user)
    offsets: list[int] = []
    request: dict[str, Any] = {"channel": own(user), "limit": -1, "reverse": reverse}
    while len(offsets) < 60:
        page = (await peer.call(history=request))["history"]
        assert len(peer.frames[-1].encode()) <= 512 * 1024
        offsets += [found["offset"] for found in page["publications"]]
        request["since"] = {"epoch": page["epoch"], "offset": offsets[-1]}
    assert offsets == sorted(range(1, 61), reverse=reverse)


@pytest.mark.parametrize("since", [{"offset": 11}, {"offset": 2**63 - 1}, {"epoch": "other"}])
async def test_history_since_an_unknown_position_is_unrecoverable(
    peer: Peer, user: Any, since: Any
) -> None:
    await in_database(fill, own(user), 10)
    assert await peer.error(history={"channel": own(user), "limit": 5, "since": since}) == 112


async def test_history_begins_at_the_start_of_the_subscription(peer: Peer, hub: Hub) -> None:
    await in_database(broadcast, "old")
    late = await Peer.of(await in_database(make_user, "late"))
    await late.connect()
    await in_database(broadcast, "new")
    for request in ({"limit": 10}, {"limit": 10, "reverse": True}, {"limit": 9, "since": {}}):
        result = (await late.call(history={"channel": "broadcast", **request}))["history"]
        assert [p["data"]["title"] for p in result["publications"]] == ["new"]


# Procedures


async def test_the_inbox_is_listed_and_changed(peer: Peer, user: Any) -> None:
    ids = [(await in_database(notify, user, f"number {n}"))[0] for n in range(3)]
    await until(lambda: len(peer.publications) == 3)
    page = await peer.rpc("inbox", limit=2)
    assert [entry["title"] for entry in page["entries"]] == ["number 2", "number 1"]
    assert page["unread"] == 3
    entry = page["entries"][0]
    assert (entry["channel"], entry["offset"], entry["read"]) == (own(user), 3, False)
    rest_of_it = await peer.rpc("inbox", limit=2, before=page["next"])
    assert [entry["title"] for entry in rest_of_it["entries"]] == ["number 0"]
    assert "next" not in rest_of_it
    assert await peer.rpc("read", ids=ids[:2]) == {"ids": ids[:2], "unread": 1}
    assert await peer.rpc("unread", ids=ids[:1]) == {"ids": ids[:1], "unread": 2}
    assert await peer.rpc("unread") == {"unread": 2}
    assert await peer.rpc("archive", ids=ids[2:]) == {"ids": ids[2:], "unread": 1}
    assert await peer.rpc("read_all") == {"unread": 0}
    assert await peer.rpc("archive_all") == {"unread": 0}
    assert (await peer.rpc("inbox", folder="archived"))["entries"][0]["archived"] is True


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("read", {}),
        ("read", {"ids": "7"}),
        ("read", {"ids": [True]}),
        ("read", {"ids": ["7"]}),
        ("read", {"ids": [1.5]}),
        ("read", {"ids": list(range(1001))}),
        ("read", 5),
        ("inbox", {"folder": "secret"}),
        ("inbox", {"limit": 0}),
        ("inbox", {"limit": 101}),
        ("inbox", {"before": "nonsense"}),
        ("inbox", {"before": "2026-01-01T00:00:00Z_" + "9" * 30}),
        ("mute", {}),
        ("ack", {"channel": "broadcast"}),
        ("ack", {"channel": "broadcast", "offset": -1}),
        ("ack", {"channel": "broadcast", "offset": 10**30}),
        ("ack", {"channel": "broadcast", "offset": 1}),
    ],
)
async def test_bad_arguments_are_refused(peer: Peer, method: str, data: Any) -> None:
    assert await peer.error(rpc={"method": method, "data": data}) == 107


async def test_a_page_of_the_inbox_is_bounded_in_bytes(peer: Peer, user: Any) -> None:
    await in_database(fill_with_much, user)
    titles: list[str] = []
    following: dict[str, Any] = {}
    while True:
        page = await peer.rpc("inbox", folder="all", limit=100, **following)
        assert len(peer.frames[-1].encode()) <= 512 * 1024
        titles += [entry["title"] for entry in page["entries"]]
        if "next" not in page:
            break
        following = {"before": page["next"]}
    assert titles == [f"number {offset}" for offset in range(60, 0, -1)]


async def test_an_entry_larger_than_a_reply_is_sent_alone(
    peer: Peer, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await in_database(fill, own(user), 3)
    monkeypatch.setattr("notifications.streams.recovery.MAX_REPLY_SIZE", 1)
    page = await peer.rpc("inbox", folder="all")
    assert [entry["title"] for entry in page["entries"]] == ["number 3"]
    page = await peer.rpc("inbox", folder="all", before=page["next"], limit=1)
    assert [entry["title"] for entry in page["entries"]] == ["number 2"]
    page = await peer.rpc("inbox", folder="all", before=page["next"])
    assert "next" not in page


async def test_ids_of_others_and_unknown_ids_change_nothing(peer: Peer) -> None:
    other = await in_database(make_user, "other")
    (theirs,) = await in_database(notify, other, "theirs")
    for ids in ([theirs], [10**30], [-1], [0]):
        assert await peer.rpc("read", ids=ids) == {"ids": [], "unread": 0}


async def test_send_calls_a_procedure_without_a_reply(peer: Peer, user: Any) -> None:
    (pk,) = await in_database(notify, user, "one")
    peer.say(f'{{"send":{{"data":{{"method":"read","data":{{"ids":[{pk}]}}}}}}}}')
    await until(lambda: '"one"' in "".join(peer.frames))
    assert await peer.rpc("unread") == {"unread": 0}


FREE_FORM: list[Any] = [
    {"hello": 1},
    {"method": "nothing"},
    {"method": "read"},
    {"method": "read", "data": {"ids": "all"}},
    {"method": "ack", "data": {"channel": "topic:unknown", "offset": 3}},
    {"method": 7},
    "text",
    7,
    None,
    [],
    {},
]


async def test_a_send_that_calls_no_procedure_is_ignored_and_counted(peer: Peer) -> None:
    """A send has no reply, and every SDK lets its application send arbitrary messages."""
    before = SENDS_IGNORED._value.get()
    for data in FREE_FORM:
        peer.say(json.dumps({"send": {"data": data}}))
        peer.say(json.dumps({"id": 900 + FREE_FORM.index(data), "send": {"data": data}}))
    peer.say('{"send":{}}')
    assert await peer.rpc("unread") == {"unread": 0}
    assert SENDS_IGNORED._value.get() == before + 2 * len(FREE_FORM) + 1
    assert len(peer.replies) == 2
    assert peer.closed is None


async def test_a_change_by_send_is_pushed_to_the_same_client(
    peer: Peer, hub: Hub, user: Any
) -> None:
    """A send has no reply that could carry the new count."""
    (pk,) = await in_database(notify, user, "one")
    await peer.wait_for("one")
    peer.say(json.dumps({"send": {"data": {"method": "read", "data": {"ids": [pk]}}}}))
    await until(lambda: peer.messages)
    assert peer.messages[0]["type"] == "read"
    assert peer.messages[0]["unread"] == 0


async def test_a_deactivated_user_is_disconnected_by_the_next_command(
    peer: Peer, user: Any
) -> None:
    users = type(user).objects.filter(pk=user.pk)
    await in_database(lambda: users.update(is_active=False))
    peer.ask(rpc={"method": "unread"})
    assert await peer.wait_closed() == 3503


# Refresh


async def test_a_token_is_refreshed(peer: Peer, hub: Hub, user: Any) -> None:
    session = peer.connection(hub).session
    assert session.expires_at is not None
    before = session.expires_at
    longer = await in_database(make_token, user, 7200)
    result = (await peer.call(refresh={"token": longer}))["refresh"]
    assert result["expires"] is True
    assert 7190 <= result["ttl"] <= 7200
    assert session.expires_at > before + 3000


async def test_a_refresh_needs_a_valid_token(peer: Peer) -> None:
    assert await peer.error(refresh={}) == 107
    peer.ask(refresh={"token": "nonsense"})
    assert await peer.wait_closed() == 3500


async def test_a_refresh_with_an_expired_token_lets_the_client_reconnect(
    peer: Peer, user: Any
) -> None:
    """After an error, SDKs would give up for good."""
    peer.ask(refresh={"token": await in_database(make_token, user, -5)})
    assert await peer.wait_closed() == 3005


async def test_a_token_made_before_a_new_password_has_expired(hub: Hub, user: Any) -> None:
    """After 109, an SDK asks its application for a new token, and tries again."""
    peer = await Peer.of(user)
    await in_database(change_password, user)
    await peer.open()
    assert (await peer.try_connect())["error"] == {"code": 109, "message": "token expired"}
    token, peer.token = peer.token, await in_database(make_token, user)
    assert "connect" in await peer.try_connect()
    peer.ask(refresh={"token": token})
    assert await peer.wait_closed() == 3005


def change_password(user: Any) -> None:
    user.set_password("another")
    user.save()


async def test_a_connection_survives_its_token_by_the_close_delay(hub: Hub, user: Any) -> None:
    peer = Peer(token=await in_database(make_token, user, 1.5))
    result = await peer.connect()
    assert result["expires"] is True
    assert result["ttl"] == 1
    session = peer.connection(hub).session
    assert session.expires_at is not None
    assert session.expires_at < time.monotonic() + 2
    assert session.tick(session.expires_at + 24.9, {}) != [Close(codes.EXPIRED)]
    longer = await in_database(make_token, user, 3600)
    assert (await peer.call(refresh={"token": longer}))["refresh"]["expires"] is True
    assert session.expires_at > time.monotonic() + 3000


async def test_a_refresh_with_the_token_of_another_user_ends_the_connection(peer: Peer) -> None:
    other = await in_database(make_user, "other")
    peer.ask(refresh={"token": await in_database(make_token, other)})
    assert await peer.wait_closed() == 3500


async def test_an_expired_connection_is_closed(settings: Any, user: Any) -> None:
    async with running_hub(settings, EXPIRED_CLOSE_DELAY=0) as hub:
        peer = Peer(token=await in_database(make_token, user, 1.5))
        await peer.connect()
        assert peer.connection(hub)
        assert await peer.wait_closed() == 3005


async def test_a_subscribe_creates_the_stream_of_its_topic(peer: Peer) -> None:
    await peer.call(subscribe={"channel": "topic:news"})
    names = await in_database(lambda: list(Stream.objects.values_list("name", flat=True)))
    assert "topic:news" in names
    assert "topic:secret" not in names


async def test_strange_tokens_do_not_keep_other_clients_out(hub: Hub) -> None:
    """The tokens are authenticated in one batch."""
    users = await in_database(lambda: [make_user(f"user {number}") for number in range(8)])
    peers = [await Peer.of(one) for one in users]
    strange = [
        Peer(token=await in_database(make_token, type(users[0])(pk=pk))) for pk in (2**70, 2**64)
    ]
    for peer in (*strange, *peers):
        await peer.open()
    for peer in (*strange[:1], *peers, *strange[1:]):
        peer.ask(connect=peer.connect_request())
    for peer in peers:
        assert "connect" in await peer.reply(1)
    for peer in strange:
        assert await peer.wait_closed() == 3500


async def test_the_ttl_of_a_token_with_a_distant_expiry_is_limited(hub: Hub, user: Any) -> None:
    peer = Peer(token=await in_database(make_token, user, 1e15))
    result = await peer.connect()
    assert result["expires"]
    assert 0 < result["ttl"] < 2**31
