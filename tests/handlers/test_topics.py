"""Topics over the wire: ``unsubscribe`` ends one connection's reading, ``leave`` the user's."""

import asyncio
from collections.abc import AsyncIterator
from json import loads
from typing import Any

import pytest

from notifications import broadcast, inbox, notify
from notifications.database.lanes import RIGHTS, in_database
from notifications.hub import Hub
from notifications.models import Stream, Subscription
from tests.peers import Peer, rest, running_hub, until
from tests.rooms import hints, make_user

pytestmark = pytest.mark.django_db(transaction=True)

NEWS = "topic:news"

#: Slugs that ``moody`` refuses, and names of users for whom it raises.
refused: set[str] = set()
broken: set[str] = set()


def moody(user: Any, slug: str) -> bool:
    """A ``TOPIC_PERMISSION`` whose answer the tests can change."""
    if user.username in broken:
        raise RuntimeError(slug)
    return slug not in refused


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    refused.clear()
    broken.clear()
    permission = "tests.handlers.test_topics.moody"
    async with running_hub(settings, TOPIC_PERMISSION=permission) as running:
        yield running


async def devices(user: Any, count: int) -> list[Peer]:
    """Return connections of one user that read the topic."""
    found = []
    for _ in range(count):
        peer = await Peer.of(user)
        await peer.connect()
        await peer.call(subscribe={"channel": NEWS})
        found.append(peer)
    return found


def reasons(peer: Peer) -> list[tuple[str, int, str]]:
    """Return the ``unsubscribe`` pushes of this connection: channel, code and reason."""
    found = []
    for push in pushes(peer):
        if "unsubscribe" in push:
            told = push["unsubscribe"]
            found.append((push["channel"], told["code"], told["reason"]))
    return found


def pushes(peer: Peer) -> list[dict[str, Any]]:
    lines = [line for frame in peer.frames for line in frame.split("\n")]
    return [reply["push"] for reply in map(loads, lines) if "push" in reply]


async def test_unsubscribe_on_one_device_leaves_the_others_reading(hub: Hub, user: Any) -> None:
    phone, desk = await devices(user, 2)
    await phone.call(unsubscribe={"channel": NEWS})
    await hub.rights.check_all()
    await hub.position_check.run()
    await in_database(broadcast, "for the desk", to=NEWS)
    await desk.wait_for("for the desk")
    assert reasons(desk) == []
    assert phone.titles == []
    # A check of the user's rights does not subscribe it again either.
    await hub.rights.check_all()
    await rest()
    assert NEWS not in phone.connection(hub).readers
    assert [entry["title"] for entry in (await phone.rpc("inbox"))["entries"]] == ["for the desk"]


async def test_a_new_subscribe_recovers_what_was_published_in_between(hub: Hub, user: Any) -> None:
    peer = await Peer.of(user)
    await peer.connect()
    epoch = (await peer.call(subscribe={"channel": NEWS}))["subscribe"]["epoch"]
    await in_database(broadcast, "m1", to=NEWS)
    await until(lambda: "m1" in peer.frames[-1])
    await peer.call(unsubscribe={"channel": NEWS})
    for title in ("m2", "m3"):
        await in_database(broadcast, title, to=NEWS)
    where = {"recover": True, "epoch": epoch, "offset": 1}
    again = (await peer.call(subscribe={"channel": NEWS, **where}))["subscribe"]
    assert again["recovered"] is True
    assert [p["data"]["title"] for p in again["publications"]] == ["m2", "m3"]
    await in_database(broadcast, "m4", to=NEWS)
    await until(lambda: "m4" in peer.frames[-1])
    assert peer.closed is None


async def test_unsubscribing_twice_or_from_an_unread_topic_succeeds(hub: Hub, user: Any) -> None:
    (peer,) = await devices(user, 1)
    for name in (NEWS, NEWS, "topic:never-heard-of"):
        assert "unsubscribe" in await peer.call(unsubscribe={"channel": name})
    assert not await in_database(Stream.objects.filter(name="topic:never-heard-of").exists)


@pytest.mark.parametrize("is_told", [True, False])
async def test_leaving_ends_the_topic_on_every_device_with_the_right_reason(
    hub: Hub, user: Any, is_told: bool
) -> None:
    phone, desk, shut = await devices(user, 3)
    await shut.call(unsubscribe={"channel": NEWS})
    await in_database(broadcast, "one", to=NEWS)
    await desk.wait_for("one")
    if is_told:
        assert await phone.rpc("leave", channel=NEWS) == {"unread": 0}
        assert reasons(phone) == [(NEWS, 2000, "left")], "before the reply"
    else:

        def leave() -> None:
            with hints():
                inbox.leave(user, NEWS)

        await in_database(leave)
        await hub.position_check.run()
    await until(lambda: reasons(phone) == reasons(desk) == [(NEWS, 2000, "left")])
    await hub.rights.check_all()
    assert reasons(shut) == []
    if is_told:
        told = {"type": "leave", "ids": [], "channel": NEWS, "unread": 0}
        await until(lambda: any(told.items() <= said.items() for said in desk.messages))
        # A check in progress may push the count, but the client's own change is not pushed to it.
        assert "leave" not in {message["type"] for message in phone.messages}
    await in_database(broadcast, "too late", to=NEWS)
    await in_database(notify, user, "own")
    await desk.wait_for("one", "own")
    assert all(peer.closed is None for peer in (phone, desk, shut))


async def test_leaving_is_idempotent_and_only_for_topics(hub: Hub, user: Any) -> None:
    (peer,) = await devices(user, 1)
    for _ in range(2):
        assert await peer.rpc("leave", channel=NEWS) == {"unread": 0}
    own = f"user:{user.pk}"
    for name in ("broadcast", own):
        assert await peer.error(rpc={"method": "leave", "data": {"channel": name}}) == 103
    assert await peer.error(rpc={"method": "leave", "data": {"channel": "topic:"}}) == 102
    assert await peer.error(rpc={"method": "leave", "data": {}}) == 107
    assert own in peer.connection(hub).readers


async def test_a_topic_deleted_with_its_last_follower_closes_no_connection(
    hub: Hub, user: Any
) -> None:
    """The position check finds the row gone before the rights are checked."""
    phone, desk = await devices(user, 2)

    def leave() -> None:
        with hints():
            inbox.leave(user, NEWS)

    await in_database(leave)
    assert not await in_database(Stream.objects.filter(name=NEWS).exists)
    await hub.position_check.run()
    await until(lambda: reasons(phone) == reasons(desk) == [(NEWS, 2000, "left")])
    assert (phone.closed, desk.closed) == (None, None)


async def test_a_topic_can_be_followed_again_right_after_leaving(hub: Hub, user: Any) -> None:
    """The topic has a new row, which the hub has never read."""
    (peer,) = await devices(user, 1)
    before = hub.streams.by_name[NEWS].id
    await peer.rpc("leave", channel=NEWS)
    again = (await peer.call(subscribe={"channel": NEWS}))["subscribe"]
    stream = hub.streams.by_name[NEWS]
    assert stream.id == (await in_database(Stream.objects.get, name=NEWS)).pk
    assert (stream.epoch, before) != (again["epoch"], 0)
    await in_database(broadcast, "heard", to=NEWS)
    await until(lambda: "heard" in peer.titles)
    await hub.position_check.run()
    await rest()
    assert peer.closed is None


async def test_a_reader_of_a_recreated_row_gets_insufficient_state(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, desk = await devices(user, 2)

    def leave_and_join() -> None:
        with hints():
            inbox.leave(user, NEWS)
            inbox.join(user, NEWS)

    # A check of rights in between would find that the topic was left.
    await until(lambda: hub.rights.is_idle)
    go_on, run = asyncio.Event(), RIGHTS.run

    async def held(*args: Any) -> Any:
        await go_on.wait()
        return await run(*args)

    monkeypatch.setattr(RIGHTS, "run", held)
    await in_database(leave_and_join)
    await hub.position_check.run()
    go_on.set()
    assert await phone.wait_closed() == 3010
    assert await desk.wait_closed() == 3010


async def test_the_reason_of_an_unsubscribe_is_accurate(hub: Hub, user: Any) -> None:
    (peer,) = await devices(user, 1)
    refused.add("news")
    await hub.rights.check_all()
    await until(lambda: reasons(peer) == [(NEWS, 2000, "permission denied")])
    refused.clear()
    await peer.call(subscribe={"channel": NEWS})
    await peer.rpc("mute", channel=NEWS)
    await until(lambda: reasons(peer)[1:] == [(NEWS, 2000, "muted")])


async def test_a_permission_that_raises_for_one_user_ends_only_that_users_topics(
    hub: Hub, user: Any
) -> None:
    """The changes of other users' rights still take effect."""
    other = await in_database(make_user, "other")
    gone = await in_database(make_user, "gone")
    (mine,), (theirs,) = await devices(user, 1), await devices(other, 1)
    leaving = await Peer.of(gone)
    await leaving.connect()
    broken.add(user.username)

    def deactivate() -> None:
        with hints():
            type(gone).objects.filter(pk=gone.pk).update(is_active=False)

    await in_database(deactivate)
    await hub.rights.check_all()
    await until(lambda: reasons(mine) == [(NEWS, 2000, "permission denied")])
    assert await leaving.wait_closed() == 3503
    assert reasons(theirs) == []
    assert await mine.error(subscribe={"channel": NEWS}) == 103
    assert await mine.error(history={"channel": NEWS}) == 103
    assert (await mine.rpc("inbox"))["entries"] == []
    await mine.end()
    assert "topics" not in (await mine.connect())["data"]


async def test_a_blocked_socket_gets_the_unsubscribe_when_it_drains(hub: Hub, user: Any) -> None:
    phone, desk = await devices(user, 2)
    desk.block()
    await in_database(notify, user, "fills the socket")
    await until(lambda: desk.connection(hub).is_blocked)
    await phone.rpc("leave", channel=NEWS)
    await until(lambda: NEWS not in desk.connection(hub).readers)
    desk.unblock()
    await until(lambda: reasons(desk) == [(NEWS, 2000, "left")])


async def test_a_connect_reply_lists_the_followed_topics(hub: Hub, user: Any) -> None:
    (peer,) = await devices(user, 1)
    await peer.call(subscribe={"channel": "topic:beta"})
    await peer.rpc("mute", channel="topic:beta")
    await peer.end()
    assert (await peer.connect())["data"]["topics"] == [NEWS]
    followed = [{"channel": "topic:beta", "muted": True}, {"channel": NEWS, "muted": False}]
    assert await peer.rpc("topics") == {"topics": followed}
    await peer.rpc("leave", channel=NEWS)
    await peer.end()
    assert "topics" not in (await peer.connect())["data"]


async def test_joining_on_one_device_is_pushed_to_the_others(hub: Hub, user: Any) -> None:
    phone, desk = await Peer.of(user), await Peer.of(user)
    await phone.connect()
    await desk.connect()
    await phone.call(subscribe={"channel": NEWS})
    told = {"type": "join", "ids": [], "channel": NEWS, "unread": 0}
    await until(lambda: any(told.items() <= said.items() for said in desk.messages))
    await desk.call(subscribe={"channel": NEWS})
    await rest()
    assert "join" not in {message["type"] for message in phone.messages}


async def test_p7_an_undeclared_topic_is_refused_before_a_row_is_created(
    settings: Any, user: Any
) -> None:
    async with running_hub(settings, TOPICS=["news"], TOPIC_PERMISSION=""):
        peer = await Peer.of(user)
        await peer.connect()
        before = await in_database(Stream.objects.count)
        for slug in ("new", "newsx", "other", "NEWS"):
            name = f"topic:{slug}"
            assert await peer.error(subscribe={"channel": name}) == 103
            assert await peer.error(history={"channel": name}) == 103
            assert await peer.error(publish={"channel": name, "data": {"title": "x"}}) == 103
            await peer.call(unsubscribe={"channel": name})
            await peer.rpc("leave", channel=name)
        assert await in_database(Stream.objects.count) == before
        assert "subscribe" in await peer.call(subscribe={"channel": NEWS})


async def test_concurrent_subscribes_and_leaves_succeed(hub: Hub) -> None:
    peers = []
    for number in range(4):
        peer = await Peer.of(await in_database(make_user, f"user{number}"))
        await peer.connect()
        peers.append(peer)

    async def change(peer: Peer) -> None:
        for _ in range(8):
            assert "subscribe" in await peer.call(subscribe={"channel": NEWS})
            await peer.rpc("leave", channel=NEWS)

    await asyncio.gather(*(change(peer) for peer in peers))
    assert not await in_database(Subscription.objects.filter(stream__name=NEWS).exists)
    assert not await in_database(Stream.objects.filter(name=NEWS).exists)
