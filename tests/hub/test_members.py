"""Members of channels: their rows, over flushes, failures and the deaths of workers."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models.functions import Now

from notifications import presence, presence_stats
from notifications.connect.tokens import make_subscription_token
from notifications.database.lanes import FLUSH, in_database
from notifications.hub import Hub
from notifications.models import Member, Worker
from tests.hub.helpers import peer_of, silently
from tests.peers import Peer, rest, running_hub, until
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)

#: Names of users to whom ``moody`` says no.
refused: set[str] = set()


def moody(user: Any, channel: str) -> bool:
    """A right of the host whose answer the tests change."""
    return user.username not in refused


NAMESPACES = {
    "chat": {"subscribe": "authenticated", "presence": "subscribers"},
    "durable": {"durable": True, "presence": "subscribers"},
    "named": {"presence": "authenticated", "show_names": True},
    "moody": {"presence": "authenticated", "subscribe": f"{__name__}.moody"},
    "plain": {},
}

CHAT = "chat:7"


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    refused.clear()
    async with running_hub(settings, NAMESPACES=NAMESPACES) as running:
        yield running


async def subscribe(peer: Peer, channel: str = CHAT, **more: Any) -> str:
    """Subscribe a peer to a channel, and return its client id."""
    reply = await peer.call(subscribe={"channel": channel, **more})
    assert "subscribe" in reply, reply
    (client,) = [one["connect"]["client"] for one in peer.replies.values() if "connect" in one]
    return str(client)


async def unsubscribe(peer: Peer, channel: str = CHAT) -> None:
    assert "unsubscribe" in await peer.call(unsubscribe={"channel": channel})


async def token_of(user: Any, channel: str, info: Any) -> str:
    return await in_database(partial(make_subscription_token, user, channel, info=info))


async def listed(channel: str = CHAT) -> set[str]:
    return set(await in_database(presence, channel))


async def test_a_member_is_listed_and_counted_after_a_flush(hub: Hub, user: Any) -> None:
    other = await in_database(make_user, "other")
    users = {await peer_of(one): one for one in (user, user, other)}
    clients = {await subscribe(peer): one for peer, one in users.items()}
    assert await listed() == set()
    await hub.flush()
    assert await in_database(presence, CHAT) == {
        client: {"user": str(one.pk), "client": client} for client, one in clients.items()
    }
    assert await in_database(presence_stats, CHAT) == {"num_clients": 3, "num_users": 2}
    await unsubscribe(next(iter(users)))
    await hub.flush()
    assert await listed() == set(list(clients)[1:])
    assert await in_database(presence_stats, CHAT) == {"num_clients": 2, "num_users": 2}


async def test_channels_are_apart(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    for channel in ("chat:1", "chat:2", "chat:2:3", "durable:2"):
        await subscribe(peer, channel)
    await unsubscribe(peer, "chat:2")
    await hub.flush()
    occupied = [
        name for name in ("chat:1", "chat:2", "chat:2:3", "durable:2") if await listed(name)
    ]
    assert occupied == ["chat:1", "chat:2:3", "durable:2"]


async def test_a_namespace_without_presence_costs_no_rows(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await subscribe(peer, "plain:7")
    await hub.flush()
    assert not await in_database(Member.objects.exists)
    assert hub.members.find(peer.connection(hub), "plain:7") is None


async def test_names_are_told_only_where_the_namespace_says_so(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    for channel in (CHAT, "named:7"):
        await subscribe(peer, channel, token=await token_of(user, channel, {"role": "host"}))
    await hub.flush()
    (silent,) = (await in_database(presence, CHAT)).values()
    (named,) = (await in_database(presence, "named:7")).values()
    assert silent["chan_info"] == named["chan_info"] == {"role": "host"}
    assert "conn_info" not in silent
    assert named["conn_info"] == {"id": str(user.pk), "name": user.username}


@pytest.mark.parametrize("is_written_between", [True, False])
async def test_a_client_that_comes_and_goes_quickly_leaves_no_row(
    hub: Hub, user: Any, is_written_between: bool
) -> None:
    peer = await peer_of(user)
    for _ in range(3):
        await subscribe(peer)
        if is_written_between:
            await hub.flush()
        await unsubscribe(peer)
    await hub.flush()
    assert not await in_database(Member.objects.exists)


async def test_a_client_that_goes_and_comes_back_quickly_is_listed(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await subscribe(peer)
    await hub.flush()
    await unsubscribe(peer)
    await subscribe(peer, token=await token_of(user, CHAT, "second"))
    await hub.flush()
    (found,) = (await in_database(presence, CHAT)).values()
    assert found["chan_info"] == "second"


async def test_a_closed_connection_leaves_all_its_channels(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    for channel in (CHAT, "named:7", "durable:7"):
        await subscribe(peer, channel)
    await hub.flush()
    assert await in_database(Member.objects.count) == 3
    await peer.end()
    await hub.flush()
    assert not await in_database(Member.objects.exists)
    assert not hub.members._all


async def test_a_subscription_ended_by_the_server_leaves_the_channel(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await subscribe(peer, "moody:7")
    await hub.flush()
    refused.add(user.username)
    await hub.rights.check_all()
    await until(lambda: peer.pushes and "unsubscribe" in peer.pushes[-1])
    await hub.flush()
    assert await listed("moody:7") == set()


async def test_settling_writes_a_channel_that_is_behind_and_no_other(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    client = await subscribe(peer)
    await hub.members.settle("chat:8")
    assert await listed() == set()
    await hub.members.settle(CHAT)
    assert await listed() == {client}
    await unsubscribe(peer)
    await hub.members.settle(CHAT)
    assert await listed() == set()


async def test_questions_during_a_slow_flush_gather_no_flushes(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    client = await subscribe(peer)
    monkeypatch.setattr("notifications.hub.members.SETTLE_TIMEOUT", 0.0)
    database_is_back = asyncio.Event()
    write = FLUSH.run

    async def slow(*args: Any) -> Any:
        await database_is_back.wait()
        return await write(*args)

    monkeypatch.setattr(FLUSH, "run", slow)
    for _ in range(20):
        await hub.members.settle(CHAT)
        await rest()
    waiting = len(hub.members._tasks)
    database_is_back.set()
    assert waiting == 2  # one that is stuck, and the next one
    await until(lambda: not hub.members._tasks, "the end of both")
    assert await listed() == {client}
    # After that, a question has its own flush again.
    monkeypatch.undo()
    await unsubscribe(peer)
    await hub.members.settle(CHAT)
    assert await listed() == set()


@pytest.mark.parametrize("changes_again", [False, True])
async def test_rows_that_fail_are_written_by_a_later_flush(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, changes_again: bool
) -> None:
    staying, leaving = [await peer_of(user) for _ in range(2)]
    client = await subscribe(leaving)
    await hub.flush()
    other = await subscribe(staying)
    await unsubscribe(leaving)

    async def fail(*args: Any) -> Any:
        raise OperationalError("away")

    with monkeypatch.context() as patched:
        patched.setattr(FLUSH, "run", fail)
        with pytest.raises(OperationalError):
            await hub.members.flush()
        await hub.members.settle(CHAT)  # reports the failure, and raises nothing
    assert await listed() == {client}
    if changes_again:  # before the retry
        await unsubscribe(staying)
        await subscribe(leaving)
    await hub.flush()
    assert await listed() == {client if changes_again else other}


async def test_the_rows_of_a_deleted_user_vanish(hub: Hub, user: Any) -> None:
    other = await in_database(make_user, "other")
    mine, theirs = await peer_of(user), await peer_of(other)
    await subscribe(mine)
    client = await subscribe(theirs)
    await hub.flush()
    await silently(user.delete)
    assert await listed() == {client}


async def test_a_user_who_is_deleted_before_the_flush_keeps_nobody_out(hub: Hub, user: Any) -> None:
    other = await in_database(make_user, "other")
    mine, theirs = await peer_of(user), await peer_of(other)
    await hub.flush()
    await subscribe(mine)
    client = await subscribe(theirs)
    await silently(user.delete)
    await hub.members.flush()  # raises nothing
    assert await listed() == {client}
    assert not hub.members._changed


async def test_a_worker_whose_rows_were_deleted_writes_them_again(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    client = await subscribe(peer)
    await hub.flush()
    await in_database(Worker.objects.all().delete)
    assert not await in_database(Member.objects.exists)
    await hub.presence.beat()
    await hub.flush()
    assert await listed() == {client}
    await in_database(Worker.objects.all().delete)
    await subscribe(peer, "named:7")
    await hub.members.flush()  # with the row of the worker
    await hub.members.flush()
    assert (await listed(), await listed("named:7")) == ({client}, {client})


def dead_worker(user: Any, *channels: str) -> tuple[Worker, list[Member]]:
    """Write the rows that a killed worker has left a long time ago."""
    worker = Worker.objects.create(host="gone", pid=1)
    rows = [
        Member.objects.create(client=uuid.UUID(int=number), channel=name, user=user, worker=worker)
        for number, name in enumerate(channels, 1)
    ]
    Worker.objects.filter(pk=worker.pk).update(seen_at=Now() - timedelta(hours=5))
    return worker, rows


async def test_members_of_a_dead_worker_are_neither_listed_nor_kept(hub: Hub, user: Any) -> None:
    await in_database(dead_worker, user, CHAT, "named:7")
    assert await listed() == set()
    assert await in_database(presence_stats, CHAT) == {"num_clients": 0, "num_users": 0}
    assert await in_database(Member.objects.count) == 2
    await hub.presence.beat()
    assert await in_database(Member.objects.count) == 0


async def test_a_stopping_hub_leaves_no_rows(settings: Any, user: Any) -> None:
    async with running_hub(settings, NAMESPACES=NAMESPACES) as hub:
        client = await subscribe(await peer_of(user))
        await hub.flush()
        assert await listed() == {client}
    assert not await in_database(Member.objects.exists)
