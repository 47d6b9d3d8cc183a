"""Channels of namespaces: subscribing, publishing and history, by clients and by server code."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from notifications import apublish, notify, publish
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.models import Notification, Stream, Subscription
from notifications.signals import delivered, published
from notifications.streams.pruning import prune
from tests.hub.helpers import FICKLE, FickleLayer, peer_of, silently
from tests.peers import Peer, running_hub, until
from tests.rooms import LONG_AGO, hints, make_user, rolled_back
from tests.wire_forms import Form, in_each_form

pytestmark = pytest.mark.django_db(transaction=True)

#: Names of users whom ``is_member`` knows.
members: set[str] = set()


def is_member(user: Any, channel: str) -> bool:
    """A right of the host."""
    return user.username in members


def check_text(data: Any) -> None:
    """A schema of the host."""
    if not isinstance(data, dict) or not isinstance(data.get("text"), str):
        raise ValueError("text is missing")


NAMESPACES: dict[str, dict[str, Any]] = {
    "chat": {"durable": True, "publish": "authenticated"},
    "room": {"durable": True, "subscribe": f"{__name__}.is_member", "publish": "subscribers"},
    "whisper": {"subscribe": f"{__name__}.is_member"},
    "news": {"durable": True, "history": "authenticated"},
    "closed": {"durable": True, "history": "nobody"},
    "typing": {"publish": "authenticated"},
    "strict": {"publish": "authenticated", "schema": f"{__name__}.check_text"},
    "strict-log": {
        "durable": True,
        "publish": "authenticated",
        "schema": f"{__name__}.check_text",
    },
}


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    members.clear()
    async with running_hub(settings, NAMESPACES=NAMESPACES) as running:
        yield running


@pytest.fixture
async def peer(hub: Hub) -> Peer:
    return await peer_of(await in_database(make_user))


def reader() -> Any:
    """Return the user of the fixture ``peer``."""
    return get_user_model().objects.get(username="reader")


async def subscribe(peer: Peer, channel: str, **more: Any) -> dict[str, Any]:
    reply = await peer.call(subscribe={"channel": channel, **more})
    assert "subscribe" in reply, reply
    return dict(reply["subscribe"])


def publications(peer: Peer) -> list[dict[str, Any]]:
    return [push["pub"] for push in peer.pushes if "pub" in push]


async def wait_for(peer: Peer, *data: Any) -> None:
    """Wait until a peer has got these publications, in this order and no others."""
    await until(lambda: len(publications(peer)) >= len(data), f"{data}")
    assert [publication["data"] for publication in publications(peer)] == list(data)


# Durable namespaces


async def test_p1_a_durable_publication_reaches_subscribers_as_the_json_it_is(
    peer: Peer, hub: Hub
) -> None:
    result = await subscribe(peer, "chat:7")
    assert result["recoverable"] is result["positioned"] is True
    assert result["epoch"]
    assert "offset" not in result
    things: list[Any] = [{"text": "hello", "n": [1, 2.5, None, True]}, "text", 7, None, [], False]
    for thing in things:
        await apublish("chat:7", thing)
    await wait_for(peer, *things)
    assert [one["offset"] for one in publications(peer)] == [1, 2, 3, 4, 5, 6]
    assert all("info" not in one and one["time"] > 1.6e12 for one in publications(peer))


async def test_a_publication_is_the_same_live_recovered_and_in_history(peer: Peer) -> None:
    result = await subscribe(peer, "chat:7")
    await apublish("chat:7", {"b": 1, "a": "ü", "c": None}, tags={"kind": "note"})
    await until(lambda: publications(peer))
    await peer.call(unsubscribe={"channel": "chat:7"})
    again = await subscribe(peer, "chat:7", recover=True, epoch=result["epoch"], offset=0)
    history = await peer.call(history={"channel": "chat:7", "limit": -1})
    (live,) = publications(peer)
    assert live["tags"] == {"kind": "note"}
    assert [live] == again["publications"] == history["history"]["publications"]
    assert list(live["data"]) == ["b", "a", "c"]


async def test_a_client_resumes_a_channel_from_its_position(peer: Peer) -> None:
    result = await subscribe(peer, "chat:7")
    await apublish("chat:7", 1)
    await wait_for(peer, 1)
    await peer.end()
    for number in (2, 3):
        await apublish("chat:7", number)
    await peer.connect()
    again = await subscribe(peer, "chat:7", recover=True, epoch=result["epoch"], offset=1)
    assert again["recovered"] is again["was_recovering"] is True
    assert again["offset"] == 3
    assert [one["data"] for one in again["publications"]] == [2, 3]
    await apublish("chat:7", 4)
    await wait_for(peer, 1, 4)


async def test_p3_a_backlog_longer_than_a_page_follows_in_order(settings: Any) -> None:
    async with running_hub(settings, NAMESPACES=NAMESPACES, PAGE_SIZE=3):
        peer = await peer_of(await in_database(make_user))
        result = await subscribe(peer, "chat:7")
        await peer.call(unsubscribe={"channel": "chat:7"})
        for number in range(10):
            await apublish("chat:7", number)
        position = {"recover": True, "epoch": result["epoch"], "offset": 0}
        again = await subscribe(peer, "chat:7", **position)
        assert again["offset"] == 3
        assert [one["data"] for one in again["publications"]] == [0, 1, 2]
        await wait_for(peer, *range(3, 10))


async def test_without_a_position_a_client_begins_at_the_top(peer: Peer) -> None:
    await apublish("chat:7", 1)
    result = await subscribe(peer, "chat:7")
    assert result["offset"] == 1
    assert "publications" not in result
    assert "recovered" not in result


async def test_p8_a_position_that_cannot_be_resumed_is_told(peer: Peer) -> None:
    await apublish("chat:7", 1)
    lost: dict[str, Any] = {"recover": True, "epoch": "another", "offset": 1}
    assert await peer.error(subscribe={"channel": "chat:7", **lost, "flag": 2}) == 112
    result = await subscribe(peer, "chat:7", **lost)
    assert result["was_recovering"] is True
    assert "recovered" not in result


async def test_p3_a_publication_between_joining_and_reading_is_neither_lost_nor_doubled(
    peer: Peer, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = hub.streams.join

    async def join(name: str, until: float | None = None) -> Any:
        stream = await original(name, until)
        await apublish("chat:7", "between")
        return stream

    result = await subscribe(peer, "chat:7")
    await peer.call(unsubscribe={"channel": "chat:7"})
    monkeypatch.setattr(hub.streams, "join", join)
    again = await subscribe(peer, "chat:7", recover=True, epoch=result["epoch"], offset=0)
    await apublish("chat:7", "after")
    await wait_for(peer, "after")
    assert [one["data"] for one in again["publications"]] == ["between"]


async def test_only_who_may_read_history_recovers_from_the_beginning(peer: Peer) -> None:
    for channel in ("chat:7", "closed:7"):
        await apublish(channel, "before")
    beginning = {"recover": True, "epoch": "", "offset": 0}
    result = await subscribe(peer, "chat:7", **beginning)
    assert [one["data"] for one in result["publications"]] == ["before"]
    assert await peer.error(subscribe={"channel": "closed:7", **beginning}) == 103
    result = await subscribe(peer, "closed:7")
    await peer.call(unsubscribe={"channel": "closed:7"})
    await apublish("closed:7", "missed")
    position = {"epoch": result["epoch"], "offset": result["offset"]}
    result = await subscribe(peer, "closed:7", recover=True, **position)
    assert [one["data"] for one in result["publications"]] == ["missed"]


async def test_p4_a_lost_hint_is_repaired_by_the_position_check(peer: Peer, hub: Hub) -> None:
    await subscribe(peer, "chat:7")
    await silently(publish, "chat:7", "unannounced")
    await hub.position_check.run()
    await wait_for(peer, "unannounced")
    assert set(publications(peer)[0]) == {"data", "offset", "time"}


async def test_p3_a_gap_is_read_from_history(peer: Peer, hub: Hub) -> None:
    await subscribe(peer, "chat:7")
    await silently(publish, "chat:7", 1)
    await apublish("chat:7", 2)
    await wait_for(peer, 1, 2)


async def test_p5_a_blocked_reader_catches_up_in_order(peer: Peer) -> None:
    await subscribe(peer, "chat:7")
    peer.block()
    for number in range(20):
        await apublish("chat:7", number)
    peer.unblock()
    await wait_for(peer, *range(20))


async def test_p8_a_reset_channel_ends_the_connection(peer: Peer, hub: Hub) -> None:
    await subscribe(peer, "chat:7")
    await apublish("chat:7", 1)
    await in_database(Stream.objects.filter(name="chat:7").update, epoch="another")
    await hub.position_check.run()
    assert await peer.wait_closed() == 3010


async def test_readers_of_a_channel_whose_row_was_pruned_subscribe_again(
    peer: Peer, hub: Hub
) -> None:
    await subscribe(peer, "chat:7")
    await subscribe(peer, "chat:8")
    await apublish("chat:8", "used")
    await wait_for(peer, "used")
    await in_database(prune, LONG_AGO)
    await hub.position_check.run()
    await until(lambda: len(peer.pushes) == 2)
    push = {"code": 2500, "reason": "insufficient state"}
    assert peer.pushes[1] == {"channel": "chat:7", "unsubscribe": push}
    await subscribe(peer, "chat:7")
    await apublish("chat:7", "first")
    await wait_for(peer, "used", "first")
    assert peer.closed is None


async def test_p2_a_rolled_back_publication_is_neither_stored_nor_sent(peer: Peer) -> None:
    def fail() -> None:
        with rolled_back():
            publish("chat:7", "never")
            publish("typing:7", "never")

    for channel in ("chat:7", "typing:7"):
        await subscribe(peer, channel)
    await in_database(fail)
    for channel in ("chat:7", "typing:7"):
        await apublish(channel, "kept")
    await wait_for(peer, "kept", "kept")
    assert await in_database(Notification.objects.count) == 1


async def test_p2_nothing_is_sent_before_the_commit(peer: Peer) -> None:
    sent: list[Any] = []

    def run() -> None:
        with hints() as collected, transaction.atomic():
            publish("typing:7", "later")
            publish("chat:7", "later")
            sent.append(len(collected))
        sent.append([stream for stream, _ in collected])

    await in_database(run)
    assert sent == [0, ["typing:7", "chat:7"]]


async def test_readers_of_channels_get_no_subscription_rows_and_no_marks(
    peer: Peer, hub: Hub
) -> None:
    told: list[Any] = []

    def note(**kwargs: Any) -> None:
        told.append(kwargs["stream"])

    delivered.connect(note)
    try:
        before = await in_database(Subscription.objects.count)
        await subscribe(peer, "chat:7")
        await apublish("chat:7", 1)
        await wait_for(peer, 1)
        await peer.rpc("ack", channel="chat:7", offset=1)
        await hub.flush()
        assert await in_database(Subscription.objects.count) == before
        assert "chat:7" not in told
    finally:
        delivered.disconnect(note)


async def test_publications_are_no_notifications(peer: Peer, hub: Hub) -> None:
    user = await in_database(reader)
    told: list[Any] = []

    def note(notification: Any, **kwargs: Any) -> None:
        told.append(notification.title)

    published.connect(note)
    try:
        await subscribe(peer, "chat:7")
        await apublish("chat:7", 1)
        await wait_for(peer, 1)
        assert await peer.rpc("inbox") == {"entries": [], "unread": 0}

        def counts() -> list[int]:
            rows = Notification.objects
            return [rows.active(user).count(), rows.unread(user).count()]

        assert await in_database(counts) == [0, 0]
        assert told == []
    finally:
        published.disconnect(note)


# Clients publish


async def test_a_client_publishes_and_others_see_who(peer: Peer, hub: Hub) -> None:
    other = await peer_of(await in_database(make_user, "other"))
    for channel in ("chat:7", "typing:7"):
        await subscribe(other, channel)
        assert await peer.call(publish={"channel": channel, "data": {"text": channel}}) == {
            "id": peer._last_id,
            "publish": {},
        }
    await wait_for(other, {"text": "chat:7"}, {"text": "typing:7"})
    connection = peer.connection(hub)
    info = {"user": str(connection.user_id), "client": connection.client}
    assert [one["info"] for one in publications(other)] == [info, info]


@in_each_form
async def test_both_forms_publish_and_receive(hub: Hub, form: Form) -> None:
    peer = await Peer.of(await in_database(make_user), form)
    await peer.connect()
    for channel in ("chat:7", "typing:7"):
        await subscribe(peer, channel)
        assert "publish" in await peer.call(publish={"channel": channel, "data": {"a": [1, None]}})
        await apublish(channel, "text", tags={"kind": "note"})
    await until(lambda: len(peer.pushes) == 4)
    client = peer.connection(hub)
    info = {"user": str(client.user_id), "client": client.client}
    for mine, other in (publications(peer)[:2], publications(peer)[2:]):
        assert (mine["data"], mine["info"]) == ({"a": [1, None]}, info)
        assert (other["data"], other["tags"]) == ("text", {"kind": "note"})
    assert [one.get("offset", 0) for one in publications(peer)] == [1, 2, 0, 0]
    history = await peer.call(history={"channel": "chat:7", "limit": -1})
    assert history["history"]["publications"] == publications(peer)[:2]
    assert await peer.error(publish={"channel": "strict:1", "data": 7}) == 107


async def test_a_client_needs_the_right_to_publish(peer: Peer) -> None:
    assert await peer.error(publish={"channel": "news:1", "data": {}}) == 103
    assert await peer.error(publish={"channel": "room:1", "data": {}}) == 103
    assert await peer.error(publish={"channel": "unknown:1", "data": {}}) == 102
    members.add("reader")
    await subscribe(peer, "room:1")
    assert "publish" in await peer.call(publish={"channel": "room:1", "data": {}})
    await peer.call(unsubscribe={"channel": "room:1"})
    assert await peer.error(publish={"channel": "room:1", "data": {}}) == 103


@pytest.mark.parametrize("channel", ["strict:1", "strict-log:1", "chat:1", "typing:1"])
async def test_data_that_must_not_be_published_is_a_bad_request(peer: Peer, channel: str) -> None:
    await subscribe(peer, channel)
    bad: list[Any] = ["x" * 17_000, {"n": 2**60}, {"text": "\x00"}]
    bad += [7, {"text": 7}, None] if channel.startswith("strict") else []
    for data in bad:
        assert await peer.error(publish={"channel": channel, "data": data}) == 107
    assert await peer.error(publish={"channel": channel}) == 107
    good = {"text": "good"}
    assert "publish" in await peer.call(publish={"channel": channel, "data": good})
    await wait_for(peer, good)


async def test_a_refusal_tells_the_reason_of_the_schema(peer: Peer) -> None:
    reply = await peer.call(publish={"channel": "strict:1", "data": 7})
    assert reply["error"] == {"code": 107, "message": "bad request: text is missing"}


async def test_ephemeral_publications_count_against_the_rate_of_commands(
    settings: Any,
) -> None:
    async with running_hub(settings, NAMESPACES=NAMESPACES, COMMAND_RATE=0.001, COMMAND_BURST=5):
        peer = await peer_of(await in_database(make_user))
        for _ in range(5):
            peer.ask(publish={"channel": "typing:1", "data": {}})
        assert await peer.error(publish={"channel": "typing:1", "data": {}}) == 111


async def test_without_a_layer_an_ephemeral_publication_is_a_temporary_error(
    settings: Any,
) -> None:
    FickleLayer.mood = "good"
    try:
        async with running_hub(settings, FICKLE, NAMESPACES=NAMESPACES) as hub:
            peer = await peer_of(await in_database(make_user))
            FickleLayer.mood = "raises"
            for _ in range(2):  # when it fails, and when it is known to be down
                reply = await peer.call(publish={"channel": "typing:1", "data": {}})
                assert reply["error"]["code"] == 100
                assert reply["error"]["temporary"] is True
                assert not hub.streams.groups.is_up
    finally:
        FickleLayer.mood = "good"


# Ephemeral namespaces


async def test_an_ephemeral_publication_is_not_stored_and_has_no_offset(peer: Peer) -> None:
    result = await subscribe(peer, "typing:7")
    assert result == {}
    await apublish("typing:7", {"who": "ada"}, tags={"a": "b"})
    await wait_for(peer, {"who": "ada"})
    (one,) = publications(peer)
    assert set(one) == {"data", "tags", "time"}
    assert await in_database(Notification.objects.count) == 0
    assert not await in_database(Stream.objects.filter(name="typing:7").exists)


async def test_an_ephemeral_channel_has_no_history_and_no_recovery(peer: Peer) -> None:
    assert await peer.error(history={"channel": "typing:7", "limit": 1}) == 108
    recover: dict[str, Any] = {"recover": True, "epoch": "x", "offset": 3}
    assert await peer.error(subscribe={"channel": "typing:7", **recover, "flag": 2}) == 112
    assert await subscribe(peer, "typing:7", **recover) == {"was_recovering": True}


async def test_a_blocked_reader_misses_ephemeral_publications_and_nothing_else(
    peer: Peer, hub: Hub
) -> None:
    await subscribe(peer, "typing:7")
    peer.block()
    for number in range(5):
        await apublish("typing:7", number)
    stream = hub.streams.by_name["typing:7"]
    await until(lambda: peer.connection(hub).is_blocked)
    assert stream.live
    peer.unblock()
    await until(lambda: not peer.connection(hub).is_blocked)
    await apublish("typing:7", "last")
    await until(lambda: publications(peer) and publications(peer)[-1]["data"] == "last")
    assert peer.closed is None


async def test_an_unsubscribed_client_gets_nothing_more(peer: Peer, hub: Hub) -> None:
    for channel in ("typing:7", "chat:7"):
        await subscribe(peer, channel)
        assert "unsubscribe" in await peer.call(unsubscribe={"channel": channel})
        assert "unsubscribe" in await peer.call(unsubscribe={"channel": channel})
        await apublish(channel, "unseen")
    await subscribe(peer, "typing:8")
    await apublish("typing:8", "seen")
    await wait_for(peer, "seen")
    assert not hub.streams.by_name["typing:7"].readers


async def three_readers(channel: str) -> list[Peer]:
    user = await in_database(make_user)
    peers = [await peer_of(user) for _ in range(3)]
    for peer in peers:
        await subscribe(peer, channel)
    return peers


async def test_many_readers_get_ephemeral_publications_in_order(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.hub.delivery.ephemeral.SLICE", 1)
    peers = await three_readers("typing:7")
    for number in range(10):
        await apublish("typing:7", number)
    for peer in peers:
        await wait_for(peer, *range(10))


async def test_a_publication_does_not_overtake_one_that_waits(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.hub.delivery.ephemeral.SLICE", 2)
    peers = await three_readers("typing:7")
    deliver = hub.streams.ephemeral.deliver
    deliver("typing:7", b'{"data":"first"}', 0)  # waits, because it has three readers
    peers[0].connection(hub).readers["typing:7"].detach()
    deliver("typing:7", b'{"data":"second"}', 0)
    for peer in peers[1:]:
        await wait_for(peer, "first", "second")
    assert publications(peers[0]) == []


# Subscribing


async def test_subscribing_needs_the_right_of_the_namespace(peer: Peer) -> None:
    assert await peer.error(subscribe={"channel": "room:1"}) == 103
    members.add("reader")
    await subscribe(peer, "room:1")


@pytest.mark.parametrize("channel", ["unknown:1", "chat", "chat:", "", ":", "chat:\x00"])
async def test_a_channel_of_no_namespace_is_unknown(peer: Peer, channel: str) -> None:
    for request in ("subscribe", "unsubscribe", "history"):
        assert await peer.error(**{request: {"channel": channel}}) == 102, request
    assert await peer.error(publish={"channel": channel, "data": {"title": "x"}}) == 102


async def test_a_channel_without_a_colon_is_read_and_written_if_its_namespace_is_declared(
    settings: Any,
) -> None:
    async with running_hub(settings, NAMESPACES={"": NAMESPACES["chat"]}):
        peer = await peer_of(await in_database(make_user))
        result = await subscribe(peer, "lobby")
        assert result["recoverable"]
        await apublish("lobby", "hello")
        await wait_for(peer, "hello")
        for unknown in ("chat:7", ":7", "node"):
            assert await peer.error(subscribe={"channel": unknown}) == 102


async def test_a_second_subscription_is_refused(peer: Peer) -> None:
    for channel in ("typing:1", "chat:1"):
        await subscribe(peer, channel)
        assert await peer.error(subscribe={"channel": channel}) == 105


async def test_the_number_of_channels_of_a_connection_is_limited(settings: Any) -> None:
    async with running_hub(settings, NAMESPACES=NAMESPACES, MAX_CHANNELS_PER_CONNECTION=2):
        peer = await peer_of(await in_database(make_user))
        await subscribe(peer, "typing:1")
        await subscribe(peer, "chat:1")
        assert await peer.error(subscribe={"channel": "chat:2"}) == 106
        await subscribe(peer, "topic:news")
        await peer.call(unsubscribe={"channel": "typing:1"})
        await subscribe(peer, "chat:2")


async def test_p9_a_first_subscription_to_a_channel_is_charged_for_its_row(
    settings: Any,
) -> None:
    async with running_hub(
        settings, NAMESPACES=NAMESPACES, USER_WORK=0.001, USER_WORK_BURST=0.4
    ) as hub:
        peer = await peer_of(await in_database(make_user))
        await subscribe(peer, "chat:1")
        await peer.call(unsubscribe={"channel": "chat:1"})
        work = hub.turns.budgets[peer.connection(hub).user_id].work
        before = work.left(hub.loop.time())
        await subscribe(peer, "chat:1")
        await subscribe(peer, "chat:2")
        assert before - work.left(hub.loop.time()) >= 0.05
        await subscribe(peer, "chat:3")
        assert before - work.left(hub.loop.time()) >= 0.1


async def test_unusual_names_are_channels_like_others(peer: Peer) -> None:
    names = ["chat:a:b", "chat:ü 漢 🙂", "chat:#7", "chat:" + "x" * 250, "chat: "]
    for name in names:
        await subscribe(peer, name)
        await apublish(name, name)
    await wait_for(peer, *names)
    assert [push["channel"] for push in peer.pushes] == names


async def test_fields_that_ask_for_what_is_there_anyway_change_nothing(peer: Peer) -> None:
    plain = await subscribe(peer, "chat:7")
    for name, value in {"data": {"a": 1}, "positioned": True, "recoverable": True}.items():
        await peer.call(unsubscribe={"channel": "chat:7"})
        assert await subscribe(peer, "chat:7", **{name: value}) == plain


# History


async def test_history_needs_its_right_but_perhaps_no_subscription(peer: Peer) -> None:
    await apublish("chat:7", 1)
    await apublish("news:7", 1)
    assert await peer.error(history={"channel": "chat:7", "limit": 10}) == 103
    reply = await peer.call(history={"channel": "news:7", "limit": 10})
    assert [one["data"] for one in reply["history"]["publications"]] == [1]
    await subscribe(peer, "chat:7")
    reply = await peer.call(history={"channel": "chat:7", "limit": 10})
    assert reply["history"]["offset"] == 1


async def test_history_is_paged_in_both_directions(peer: Peer) -> None:
    for number in range(1, 6):
        await apublish("news:7", number)

    async def page(**more: Any) -> list[Any]:
        reply = await peer.call(history={"channel": "news:7", **more})
        return [one["data"] for one in reply["history"].get("publications", [])]

    epoch = (await peer.call(history={"channel": "news:7"}))["history"]["epoch"]
    assert await page(limit=2) == [1, 2]
    assert await page(limit=2, since={"offset": 2, "epoch": epoch}) == [3, 4]
    assert await page(limit=2, reverse=True) == [5, 4]
    assert await page(limit=2, reverse=True, since={"offset": 4, "epoch": epoch}) == [3, 2]
    wrong = {"offset": 2, "epoch": "another"}
    assert await peer.error(history={"channel": "news:7", "since": wrong}) == 112


async def test_the_history_of_an_unused_channel_is_empty_and_creates_nothing(peer: Peer) -> None:
    reply = await peer.call(history={"channel": "news:7", "limit": 10})
    assert reply["history"] == {}
    assert not await in_database(Stream.objects.filter(name="news:7").exists)


# Rights over time


async def test_p6_a_lost_right_ends_a_subscription(peer: Peer, hub: Hub) -> None:
    members.add("reader")
    await subscribe(peer, "room:1")
    await subscribe(peer, "chat:1")
    members.clear()
    await hub.rights.check_all()
    push = {"code": 2000, "reason": "permission denied"}
    await until(lambda: peer.pushes)
    assert peer.pushes == [{"channel": "room:1", "unsubscribe": push}]
    await apublish("room:1", "secret")
    await apublish("chat:1", "open")
    await wait_for(peer, "open")
    assert await peer.error(subscribe={"channel": "room:1"}) == 103


@pytest.mark.parametrize("channel", ["room:1", "whisper:1"])
async def test_p6_a_right_that_is_lost_while_subscribing_ends_the_subscription(
    peer: Peer, hub: Hub, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    members.add("reader")
    original = hub.streams.join

    async def join(name: str, until: float | None = None) -> Any:
        stream = await original(name, until)
        members.clear()
        hub.rights.suspect(f"user:{peer.connection(hub).user_id}")
        await until_idle(hub)
        return stream

    monkeypatch.setattr(hub.streams, "join", join)
    await subscribe(peer, channel)
    await until(lambda: any("unsubscribe" in push for push in peer.pushes))


async def until_idle(hub: Hub) -> None:
    await until(lambda: hub.rights.is_idle)


async def test_p6_deactivation_ends_it_all(peer: Peer, hub: Hub) -> None:
    await subscribe(peer, "typing:1")

    def deactivate() -> None:
        user = reader()
        user.is_active = False
        user.save()

    await in_database(deactivate)
    await hub.rights.check_all()
    assert await peer.wait_closed() == 3503
    assert not hub.streams.by_name["typing:1"].readers


# Server code


async def test_server_code_gets_a_clear_error(hub: Hub) -> None:
    wrong: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        (("unknown:1", {}), {}, "unknown:1"),
        (("user:1", {}), {}, "user:1"),
        (("chat", {}), {}, "chat"),
        (("chat:1", {"n": 2**60}), {}, "2\\^53"),
        (("chat:1", {"x": object()}), {}, "object"),
        (("chat:1", "x" * 17_000), {}, "at most 16384"),
        (("strict:1", 7), {}, "text is missing"),
        (("chat:1", 7), {"tags": {"a": 7}}, "tags"),
        (("chat:1", 7), {"tags": {"a": "x" * 300}}, "tags"),
        (("chat:1", 7), {"tags": {str(n): "" for n in range(17)}}, "at most 16"),
    ]
    for args, more, message in wrong:
        with pytest.raises(ValueError, match=message):
            await apublish(*args, **more)
    assert await in_database(Notification.objects.count) == 0


async def test_notifications_go_on_beside_channels(peer: Peer, hub: Hub) -> None:
    await subscribe(peer, "chat:1")
    user = await in_database(reader)
    await apublish("chat:1", 1)
    await in_database(notify, user, "hello")
    await peer.wait_for("hello")
    await wait_for(peer, 1)
