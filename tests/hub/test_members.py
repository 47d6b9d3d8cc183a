"""Members of channels: their rows, over flushes, failures and the deaths of workers."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models.functions import Now

from notifications import presence, presence_stats
from notifications.database.lanes import FLUSH, in_database
from notifications.hub import Connection, Hub
from notifications.models import Member, Worker
from notifications.namespaces import find_namespace
from notifications.streams.members import describe_client
from tests.hub.helpers import peer_of
from tests.peers import running_hub
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)

NAMESPACES = {
    "chat": {"presence": "subscribers"},
    "named": {"presence": "authenticated", "show_names": True},
    "told": {"presence": "authenticated", "join_leave": True},
    "plain": {},
}

CHAT = "chat:7"


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    async with running_hub(settings, NAMESPACES=NAMESPACES) as running:
        yield running


async def connect(hub: Hub, user: Any) -> Connection:
    return (await peer_of(user)).connection(hub)


def join(hub: Hub, connection: Connection, user: Any, channel: str = CHAT) -> None:
    info = describe_client(find_namespace(channel), user, connection.client)
    hub.members.join(connection, channel, info, told=False)


async def listed(channel: str = CHAT) -> set[str]:
    return set(await in_database(presence, channel))


async def test_a_member_is_listed_and_counted_after_a_flush(hub: Hub, user: Any) -> None:
    other = await in_database(make_user, "other")
    connections = [await connect(hub, one) for one in (user, user, other)]
    for connection, one in zip(connections, (user, user, other), strict=True):
        join(hub, connection, one)
    assert await listed() == set()
    await hub.flush()
    assert await in_database(presence, CHAT) == {
        connection.client: {"user": str(connection.user_id), "client": connection.client}
        for connection in connections
    }
    assert await in_database(presence_stats, CHAT) == {"num_clients": 3, "num_users": 2}
    hub.members.leave(connections[0], CHAT)
    await hub.flush()
    assert await listed() == {connection.client for connection in connections[1:]}
    assert await in_database(presence_stats, CHAT) == {"num_clients": 2, "num_users": 2}


async def test_channels_are_apart(hub: Hub, user: Any) -> None:
    connection = await connect(hub, user)
    for channel in ("chat:1", "chat:2", "chat:2:3"):
        join(hub, connection, user, channel)
    hub.members.leave(connection, "chat:2")
    await hub.flush()
    occupied = [name for name in ("chat:1", "chat:2", "chat:2:3") if await listed(name)]
    assert occupied == ["chat:1", "chat:2:3"]


async def test_a_namespace_without_presence_costs_no_rows(hub: Hub, user: Any) -> None:
    connection = await connect(hub, user)
    join(hub, connection, user, "plain:7")
    await hub.flush()
    assert not await in_database(Member.objects.exists)
    assert hub.members.find(connection, "plain:7") is None
    with pytest.raises(ValueError, match="keeps no presence"):
        await in_database(presence, "plain:7")
    with pytest.raises(ValueError, match="no namespace"):
        await in_database(presence_stats, "broadcast")


async def test_names_are_told_only_where_the_namespace_says_so(hub: Hub, user: Any) -> None:
    connection = await connect(hub, user)
    for channel in (CHAT, "named:7"):
        info = describe_client(
            find_namespace(channel), user, connection.client, b'{"role": "host"}'
        )
        hub.members.join(connection, channel, info, told=False)
    await hub.flush()
    (silent,) = (await in_database(presence, CHAT)).values()
    (named,) = (await in_database(presence, "named:7")).values()
    assert silent == {**silent, "chan_info": {"role": "host"}}
    assert "conn_info" not in silent
    assert named["conn_info"] == {"id": str(user.pk), "name": user.username}
    assert named["chan_info"] == {"role": "host"}


@pytest.mark.parametrize("is_written_between", [True, False])
async def test_a_client_that_comes_and_goes_quickly_leaves_no_row(
    hub: Hub, user: Any, is_written_between: bool
) -> None:
    connection = await connect(hub, user)
    for _ in range(3):
        join(hub, connection, user)
        if is_written_between:
            await hub.flush()
        hub.members.leave(connection, CHAT)
    await hub.flush()
    assert not await in_database(Member.objects.exists)


async def test_a_client_that_goes_and_comes_back_quickly_is_listed(hub: Hub, user: Any) -> None:
    connection = await connect(hub, user)
    join(hub, connection, user)
    await hub.flush()
    hub.members.leave(connection, CHAT)
    info = describe_client(find_namespace(CHAT), user, connection.client, b'"second"')
    hub.members.join(connection, CHAT, info, told=False)
    await hub.flush()
    (found,) = (await in_database(presence, CHAT)).values()
    assert found["chan_info"] == "second"


async def test_a_closed_connection_leaves_all_its_channels(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    connection = peer.connection(hub)
    for channel in (CHAT, "named:7"):
        join(hub, connection, user, channel)
    await hub.flush()
    await peer.end()
    await hub.flush()
    assert not await in_database(Member.objects.exists)


async def test_settling_writes_a_channel_that_is_behind_and_only_then(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await connect(hub, user)
    join(hub, connection, user)
    await hub.members.settle("chat:8")
    assert await listed() == set()
    await hub.members.settle(CHAT)
    assert await listed() == {connection.client}
    hub.members.leave(connection, CHAT)
    await hub.members.settle(CHAT)
    assert await listed() == set()


async def test_rows_that_fail_are_written_by_a_later_flush(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    staying, leaving = [await connect(hub, user) for _ in range(2)]
    join(hub, leaving, user)
    await hub.flush()
    join(hub, staying, user)
    hub.members.leave(leaving, CHAT)

    async def fail(*args: Any) -> Any:
        raise OperationalError("away")

    with monkeypatch.context() as patched:
        patched.setattr(FLUSH, "run", fail)
        with pytest.raises(OperationalError):
            await hub.members.flush()
        await hub.members.settle(CHAT)  # reports the failure, and raises nothing
    assert await listed() == {leaving.client}
    # The state may have changed again before the retry.
    hub.members.leave(staying, CHAT)
    join(hub, leaving, user)
    await hub.flush()
    assert await listed() == {leaving.client}


async def test_the_rows_of_a_deleted_user_vanish_and_do_not_come_back(hub: Hub, user: Any) -> None:
    other = await in_database(make_user, "other")
    mine, theirs = await connect(hub, user), await connect(hub, other)
    join(hub, mine, user)
    join(hub, theirs, other)
    await hub.flush()
    await in_database(user.delete)
    assert await listed() == {theirs.client}
    join(hub, mine, type(user)(pk=mine.user_id), "named:7")
    join(hub, theirs, other, "named:7")
    await hub.flush()
    assert await listed("named:7") == {theirs.client}


async def test_a_worker_whose_rows_were_deleted_writes_them_again(hub: Hub, user: Any) -> None:
    connection = await connect(hub, user)
    join(hub, connection, user)
    await hub.flush()
    await in_database(Worker.objects.all().delete)
    assert not await in_database(Member.objects.exists)
    await hub.presence.beat()
    await hub.flush()
    assert await listed() == {connection.client}
    await in_database(Worker.objects.all().delete)
    join(hub, connection, user, "named:7")
    await hub.members.flush()  # with the row of the worker
    await hub.members.flush()
    assert (await listed(), await listed("named:7")) == ({connection.client}, {connection.client})


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
        connection = await connect(hub, user)
        join(hub, connection, user)
        await hub.flush()
        assert await listed() == {connection.client}
    assert not await in_database(Member.objects.exists)
