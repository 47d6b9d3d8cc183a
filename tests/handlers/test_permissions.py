"""A ``TOPIC_PERMISSION`` that is slow for one user delays only that user (P9)."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from notifications import notify
from notifications.database.lanes import in_database
from notifications.host import permissions
from notifications.hub import Hub
from notifications.streams import topics
from notifications.streams.subscriptions import join
from tests.peers import Peer, running_hub, until
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)

NEWS = "topic:news"

#: While this is not set, the permission hangs for users whose names begin with "slow".
answered = threading.Event()


def hanging(user: Any, slug: str) -> bool:
    if user.username.startswith("slow"):
        assert answered.wait(120)
    return True


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    answered.clear()
    permission = "tests.handlers.test_permissions.hanging"
    async with running_hub(settings, TOPIC_PERMISSION=permission) as running:
        try:
            yield running
        finally:
            answered.set()


async def follower(name: str) -> Any:
    user = await in_database(make_user, name)
    await in_database(join, [user.pk], NEWS)
    return user


async def slow_ones(user: Any, count: int) -> list[Peer]:
    """Return connections whose connects are in progress, started one after the other."""
    found = []
    for _ in range(count):
        peer = await Peer.of(user)
        await peer.open()
        peer.ask(connect=peer.connect_request())
        found.append(peer)
        await asyncio.sleep(0.1)  # so that the next one is not in the same batch
    return found


async def test_p9_a_permission_hanging_for_one_user_does_not_delay_connects_of_others(
    hub: Hub,
) -> None:
    slow, quick = await follower("slow"), await follower("quick")
    await slow_ones(slow, 8)
    for _ in range(5):
        peer = await Peer.of(quick)
        reply = await asyncio.wait_for(peer.connect(), 5)
        assert reply["data"]["topics"] == [NEWS]
    assert not answered.is_set()


async def test_p9_a_hanging_permission_does_not_delay_connects_of_the_same_batch(hub: Hub) -> None:
    slow, quick = await follower("slow"), await follower("quick")
    peers = [await Peer.of(user) for user in (slow, quick, slow, quick)]
    for peer in peers:
        await peer.open()
    ids = [peer.ask(connect=peer.connect_request()) for peer in peers]
    for peer, command in list(zip(peers, ids, strict=True))[1::2]:
        reply = await asyncio.wait_for(peer.reply(command), 5)
        assert reply["connect"]["data"]["topics"] == [NEWS]


async def test_p9_permissions_hanging_for_five_users_do_not_delay_a_connect(
    hub: Hub,
) -> None:
    slow = [await follower(f"slow{number}") for number in range(5)]
    for user in slow:
        await slow_ones(user, 2)
    peer = await Peer.of(await in_database(make_user))
    await asyncio.wait_for(peer.connect(), 5)


async def test_p9_a_hanging_permission_does_not_delay_the_loss_of_rights_of_others(
    hub: Hub,
) -> None:
    slow, quick = await follower("slow"), await follower("quick")
    answered.set()
    reader, other = await Peer.of(slow), await Peer.of(quick)
    await reader.connect()
    await other.connect()
    answered.clear()
    hub.rights.check_user(slow.pk)
    hub.rights.check_user(quick.pk)
    await in_database(get_user_model().objects.filter(pk=quick.pk).update, is_active=False)
    await asyncio.wait_for(hub.rights.check_all(), 10)
    assert await other.wait_closed() == 3503
    # Changes that do not depend on the permission are seen for the slow user too.
    await in_database(get_user_model().objects.filter(pk=slow.pk).update, is_active=False)
    await asyncio.wait_for(hub.rights.check_all(), 10)
    assert await reader.wait_closed() == 3503


async def test_p9_a_hanging_permission_does_not_delay_the_inbox_of_others(hub: Hub) -> None:
    slow, quick = await follower("slow"), await follower("quick")
    answered.set()
    peers = [await Peer.of(slow) for _ in range(6)]
    other = await Peer.of(quick)
    for peer in [*peers, other]:
        await peer.connect()
    answered.clear()
    for peer in peers:
        peer.ask(rpc={"method": "inbox", "data": {}})
        peer.ask(rpc={"method": "topics", "data": {}})
    for _ in range(3):
        await asyncio.wait_for(other.rpc("inbox"), 5)


async def test_a_connect_waits_for_a_slow_permission(hub: Hub) -> None:
    slow = await follower("slow")
    (peer,) = await slow_ones(slow, 1)
    await asyncio.sleep(1.0)  # many times what a connect takes
    assert not peer.replies
    answered.set()
    await until(lambda: peer.replies)
    assert peer.replies[1]["connect"]["data"]["topics"] == [NEWS]


async def test_a_user_whose_permission_hangs_gets_everything_but_topics(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.handlers.connection.PERMISSION_TIMEOUT", 1.0)
    slow = await follower("slow")
    await in_database(notify, slow, "mine")
    peer = await Peer.of(slow)
    reply = await peer.connect()
    assert "topics" not in reply["data"]
    await peer.wait_for("mine")


async def test_p6_a_permission_that_hangs_too_long_counts_as_refused(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topics.permissions.logged_errors.clear()
    slow = await follower("slow")
    answered.set()
    peer = await Peer.of(slow)
    await peer.connect()
    await peer.call(subscribe={"channel": NEWS})
    answered.clear()
    await hub.rights.check_all()
    assert NEWS in peer.connection(hub).readers
    monkeypatch.setattr(permissions, "DENY_AFTER", 0.1)
    await until(lambda: NEWS in peer.unsubscribed)
    assert sum("TOPIC_PERMISSION took longer" in line for line in caplog.messages) == 1
