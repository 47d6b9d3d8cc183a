"""The life cycle of the hub: layer groups, loops, acknowledgements, presence and shutdown."""

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import uuid
import weakref
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import Group
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from prometheus_client import REGISTRY

from notifications import broadcast, notify
from notifications.database.lanes import DELIVERY, FLUSH, RECEIVERS, in_database
from notifications.group_names import group_name
from notifications.hub import Hub, get_hub, shutdown
from notifications.hub.acknowledgements import Acknowledgements, Mark
from notifications.hub.layer.groups import MEMBERSHIP_TIME
from notifications.hub.loops import Loops
from notifications.models import Connection, Stream, Subscription, Worker
from notifications.signals import connected, delivered, disconnected
from tests.hub.helpers import FICKLE, FickleLayer, counted_statements, peer_of
from tests.peers import Peer, rest, running_hub, until
from tests.rooms import fill, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    FickleLayer.mood = "good"
    FickleLayer.calls.clear()
    async with running_hub(settings, FICKLE, LAYER_TIMEOUT=0.05) as running:
        yield running


def calls(call: str, stream: str) -> int:
    return FickleLayer.calls.count((call, group_name(stream)))


def members(stream: str) -> int:
    return len(get_channel_layer("default").groups.get(group_name(stream), {}))


# Groups


async def test_a_group_is_joined_once_per_process_and_left_when_idle(hub: Hub, user: Any) -> None:
    peers = [await peer_of(user) for _ in range(3)]
    assert calls("join", "broadcast") == 1
    for peer in peers[:2]:
        await peer.end()
    await hub.streams.groups.sweep()
    assert calls("leave", "broadcast") == 0
    await peers[2].end()
    await hub.streams.groups.sweep()
    assert calls("leave", "broadcast") == 1
    assert members("broadcast") == 0
    assert not hub.streams.by_name
    await peers[0].connect()
    assert members("broadcast") == 1


async def test_memberships_are_renewed_before_they_expire(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    for stream in hub.streams.by_name.values():
        stream.joined_at -= MEMBERSHIP_TIME + 1
    await hub.streams.groups.sweep()
    await hub.streams.groups.sweep()
    assert calls("join", "broadcast") == 2
    await in_database(broadcast, "still a member")
    await peer.wait_for("still a member")


async def test_a_lost_membership_is_restored(hub: Hub, user: Any) -> None:
    """As after a restart of Redis: the groups are empty, and no call fails."""
    peer = await peer_of(user)
    get_channel_layer("default").groups.clear()
    await in_database(broadcast, "unheard")
    await hub.position_check.run()
    await peer.wait_for("unheard")
    await hub.streams.groups.sweep()
    assert members("broadcast") == 1
    await in_database(broadcast, "heard")
    await peer.wait_for("unheard", "heard")


async def test_a_group_joined_while_being_left_stays_joined(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await peer.end()
    sweep = asyncio.create_task(hub.streams.groups.sweep())
    await peer.connect()
    await sweep
    await in_database(broadcast, "heard")
    await peer.wait_for("heard")
    assert members("broadcast") == 1


# A layer that fails (P4)


@pytest.mark.parametrize("mood", ["raises", "hangs"])
async def test_delivery_continues_from_the_database(
    hub: Hub, user: Any, mood: str, caplog: pytest.LogCaptureFixture
) -> None:
    FickleLayer.mood = mood
    peer = await peer_of(user)
    titles = [f"number {number}" for number in range(3)]
    for title in titles:
        await in_database(broadcast, title)
    await hub.position_check.run()
    await peer.wait_for(*titles)
    for _ in range(3):
        await hub.maintain_groups()
    about_groups = [record for record in caplog.records if "roups" in record.message]
    assert len(about_groups) == 1
    assert not any(record.exc_info for record in caplog.records)
    assert "secret" not in caplog.text
    FickleLayer.mood = "good"
    await hub.maintain_groups()
    assert members("broadcast") == 1
    await in_database(broadcast, "back")
    await peer.wait_for(*titles, "back")


async def test_a_hanging_layer_delays_one_join_and_no_check(settings: Any) -> None:
    users = await in_database(lambda: [make_user(f"user {number}") for number in range(8)])
    FickleLayer.mood = "good"
    async with running_hub(settings, FICKLE, LAYER_TIMEOUT=0.3) as hub:
        FickleLayer.mood = "hangs"
        started = time.monotonic()
        peers = [await peer_of(one) for one in users]
        sweep = asyncio.create_task(hub.streams.groups.sweep())
        await in_database(broadcast, "for all")
        await hub.position_check.run()
        for peer in peers:
            await peer.wait_for("for all")
        await sweep
        assert time.monotonic() - started < 4.0, "16 groups, each with its 0.3 seconds"
        FickleLayer.mood = "good"


async def test_connects_queued_behind_a_hanging_join_go_on_when_the_layer_is_down(
    settings: Any,
) -> None:
    users = await in_database(lambda: [make_user(f"user {number}") for number in range(10)])
    FickleLayer.mood = "good"
    FickleLayer.calls.clear()
    async with running_hub(settings, FICKLE, LAYER_TIMEOUT=0.5) as hub:
        peers = [await Peer.of(one) for one in users]
        FickleLayer.mood = "hangs"
        await asyncio.gather(*(peer.connect() for peer in peers))
        assert [call for call, _ in FickleLayer.calls] == ["join"], "nobody else has asked"
        assert not any(stream.is_joined for stream in hub.streams.by_name.values())
        await in_database(broadcast, "by the check")
        await hub.position_check.run()
        for peer in peers:
            await peer.wait_for("by the check")
        FickleLayer.mood = "good"
        await hub.maintain_groups()
        assert all(members(f"user:{one.pk}") == 1 for one in users)


async def test_idle_streams_are_forgotten_while_the_layer_is_down(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, other = await Peer.of(user), await Peer.of(await in_database(make_user, "other"))
    await peer.connect()
    await other.connect()

    async def refused(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr("notifications.hub.layer.groups.reconnect", refused)
    hub.streams.groups.went_down(ConnectionError())
    await peer.end()
    await hub.maintain_groups()
    assert f"user:{user.pk}" not in hub.streams.by_name
    assert "broadcast" in hub.streams.by_name
    await peer.connect()
    await in_database(notify, user, "by the check")
    await hub.position_check.run()
    await peer.wait_for("by the check")


async def test_a_waiting_connect_goes_on_as_soon_as_the_layer_is_down(
    hub: Hub, user: Any, settings: Any
) -> None:
    """Another failure has shown that the layer is down."""
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "LAYER_TIMEOUT": 3600.0}
    peer = await Peer.of(user)
    FickleLayer.mood = "hangs"
    connecting = asyncio.create_task(peer.connect())
    await until(lambda: FickleLayer.calls)
    hub.streams.groups.went_down(ConnectionError())
    await asyncio.wait_for(connecting, 30)
    assert peer.connection(hub).is_ready


async def test_a_connect_waits_no_longer_than_the_timeout_for_a_slow_layer(
    settings: Any,
) -> None:
    """The timeout covers all streams of a connect, and all joins queued before them."""

    def make() -> list[Any]:
        users = [make_user(f"user {number}") for number in range(10)]
        for user in users:
            user.groups.set(Group.objects.create(name=f"{user} {n}") for n in range(4))
        return users

    users = await in_database(make)
    FickleLayer.mood = "good"
    FickleLayer.calls.clear()
    async with running_hub(settings, FICKLE, LAYER_TIMEOUT=0.5) as hub:
        peers = [await Peer.of(one) for one in users]
        FickleLayer.mood = "slow"
        await asyncio.gather(*(peer.connect() for peer in peers))
        joined = [call for call, _ in FickleLayer.calls if call == "join"]
        assert len(joined) < 25, "51 joins of 0.1 seconds have not been waited for"
        assert hub.streams.groups.is_up
        await in_database(broadcast, "for all")
        await hub.position_check.run()
        for peer in peers:
            await peer.wait_for("for all")
        await hub.streams.groups.sweep()
        await until(lambda: hub.streams.groups.has_joined_all)
        assert all(members(name) == 1 for name in hub.streams.by_name)
        assert len(hub.streams.by_name) == 51
        FickleLayer.mood = "good"


async def test_a_join_is_not_cancelled_with_its_connect(hub: Hub, user: Any) -> None:
    """It is unknown whether a cancelled call has taken effect in the layer."""
    peer, other = await Peer.of(user), await Peer.of(user)
    FickleLayer.mood, FickleLayer.delay = "slow", 0.02
    await peer.open()
    peer.ask(connect=peer.connect_request())
    await until(lambda: calls("join", f"user:{user.pk}"))
    await peer.cancel()
    await other.connect()
    await hub.streams.groups.sweep()
    assert calls("join", f"user:{user.pk}") == 1
    assert all(
        stream.is_joined == bool(members(name)) for name, stream in hub.streams.by_name.items()
    )
    FickleLayer.mood = "good"
    await other.end()
    await hub.streams.groups.sweep()
    assert not hub.streams.by_name
    assert not members(f"user:{user.pk}")


async def test_a_join_during_which_the_layer_went_down_is_repeated(hub: Hub, user: Any) -> None:
    peer = await Peer.of(user)
    FickleLayer.mood, FickleLayer.delay = "slow", 0.02
    connecting = asyncio.create_task(peer.connect())
    await until(lambda: FickleLayer.calls)
    hub.streams.groups.went_down(ConnectionError())
    get_channel_layer("default").groups.clear()
    await connecting
    await until(lambda: not hub.streams.groups.is_joining)
    get_channel_layer("default").groups.clear()
    assert not any(stream.is_joined for stream in hub.streams.by_name.values())
    FickleLayer.mood = "good"
    await hub.maintain_groups()
    assert all(members(name) == 1 for name in hub.streams.by_name)
    assert hub.streams.groups.is_up


async def test_a_failure_is_logged_again_after_a_success(
    hub: Hub, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await peer_of(user)
    for _ in range(2):
        for mood in ("raises", "raises", "good"):
            FickleLayer.mood = mood
            await hub.maintain_groups()
    about = [record.message for record in caplog.records if "channel layer" in record.message]
    assert [" ".join(text.split()[3:6]) for text in about] == 2 * [
        "is down (ConnectionError):",
        "is up again,",
    ]


async def test_a_message_of_another_version_is_ignored(
    hub: Hub, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await peer_of(user)
    layer = get_channel_layer("default")
    await layer.group_send(group_name("broadcast"), {"type": "notifications.publication"})
    await layer.group_send(group_name("broadcast"), {"type": "other", "stream": "broadcast"})
    await in_database(broadcast, "after it")
    await peer.wait_for("after it")
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


async def test_a_cancelled_connect_leaves_no_pins(hub: Hub, user: Any) -> None:
    FickleLayer.mood = "hangs"
    peer = await Peer.of(user)
    await peer.open()
    peer.ask(connect=peer.connect_request())
    await until(
        lambda: ("join", "notifications.broadcast") in FickleLayer.calls or hub.streams.by_name
    )
    assert await peer.cancel()
    assert all(stream.is_idle for stream in hub.streams.by_name.values())
    assert not hub.connections.by_user
    assert not hub.connections.users


# Loops


async def test_a_loop_survives_exceptions_and_logs_them_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    loops = Loops()
    outcomes: list[Exception | None] = [OSError("secret"), OSError("secret"), None, ValueError()]

    async def work() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    for _ in range(4):
        await loops.guard("the work", work)
    texts = [record.message for record in caplog.records]
    assert texts == [
        "The work failed (OSError); retrying.",
        "The work works again.",
        "The work failed (ValueError); retrying.",
    ]
    assert [bool(record.exc_info) for record in caplog.records] == [False, False, True]
    assert "secret" not in caplog.text


async def test_an_unavailable_database_is_logged_once_and_once_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    loops = Loops(probe="ticker")
    away: list[Exception] = [OperationalError("secret")]

    async def work() -> None:
        if away:
            raise away[0]

    for _ in range(2):
        for name in ("check", "ticker", "flush"):
            await loops.guard(name, work)
        loops.database_failed(OperationalError("secret"))
    away[0] = InterfaceError("secret")
    await loops.guard("presence", work)
    away.clear()
    for name in ("check", "ticker", "flush", "presence", "ticker"):
        await loops.guard(name, work)
    assert [record.message for record in caplog.records] == [
        "The database is unavailable (OperationalError). Sockets stay open, and failed work is "
        "retried.",
        "The database is available again.",
    ]
    loops.database_failed(OperationalError("secret"))
    await loops.guard("ticker", work)
    assert len(caplog.records) == 4
    assert "secret" not in caplog.text


async def test_work_that_alone_fails_in_the_database_is_not_logged_in_each_round(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As with a lock that delays only this work, while the probe succeeds."""
    loops = Loops(probe="ticker")

    async def locked() -> None:
        raise OperationalError

    async def well() -> None:
        return

    for _ in range(5):
        await loops.guard("flush", locked)
        await loops.guard("ticker", well)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


async def test_hurry_starts_a_round_at_once_and_a_failure_is_retried_soon() -> None:
    loops = Loops()
    rounds: list[str] = []

    async def fail() -> None:
        rounds.append("fail")
        if len(rounds) == 1:
            raise OSError

    loops.start("work", lambda: 3600.0, fail)
    await rest()
    assert rounds == []
    loops.wake("work")
    await until(lambda: len(rounds) == 2)
    await loops.stop()
    loops.wake("nobody")


async def test_a_loop_repeats_and_stops() -> None:
    loops = Loops()
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1

    loops.start("work", 0, work)
    await until(lambda: rounds > 3)
    await loops.stop()
    before = rounds
    await rest()
    assert rounds == before


# Acknowledgements by themselves


async def test_only_the_highest_mark_is_written(user: Any) -> None:
    stream = await in_database(fill, "broadcast", 3)
    subscription = await in_database(lambda: Subscription.objects.get(stream__name="broadcast"))
    marks = Acknowledgements()
    for offset in (1, 3, 2):
        marks.add(user.pk, stream.pk, Mark("broadcast", stream.epoch, offset))
    told: list[dict[str, Any]] = []

    def listen(**kwargs: Any) -> None:
        told.append(kwargs)

    delivered.connect(listen)
    try:
        await marks.flush()
        await marks.flush()
        await RECEIVERS.run(bool)  # waits for the receivers called before
    finally:
        delivered.disconnect(listen)
    await in_database(subscription.refresh_from_db)
    assert subscription.delivered == 3
    assert [(call["stream"], call["offset"]) for call in told] == [("broadcast", 3)]


async def test_a_cancelled_flush_keeps_its_marks(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await in_database(broadcast, "one")
    subscription = await in_database(lambda: Subscription.objects.get(stream__name="broadcast"))
    marks = Acknowledgements()
    stream = await in_database(lambda: Stream.objects.get(name="broadcast"))
    marks.add(user.pk, stream.pk, Mark("broadcast", stream.epoch, 1))

    async def endless(*args: Any) -> None:
        await asyncio.sleep(3600)

    with monkeypatch.context() as patched:
        patched.setattr(FLUSH, "run", endless)
        flush = asyncio.create_task(marks.flush())
        await rest()
        flush.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flush
    await marks.flush()
    await in_database(subscription.refresh_from_db)
    assert subscription.delivered == 1


# Presence


async def test_connections_have_rows_while_they_are_open(hub: Hub, user: Any) -> None:
    told: list[tuple[str, Any]] = []

    def arrive(user_id: Any, **kwargs: Any) -> None:
        told.append(("connected", user_id))

    def leave(code: int, **kwargs: Any) -> None:
        told.append(("disconnected", code))

    connected.connect(arrive)
    disconnected.connect(leave)
    try:
        peer = Peer(token=(await Peer.of(user)).token)
        peer.headers = [(b"user-agent", b"Bro\x00wser/1.0 " + b"x" * 300)]
        await peer.connect()
        await hub.flush()
        row = await in_database(lambda: Connection.objects.select_related("worker").get())
        assert row.user_id == user.pk
        assert row.address == "192.0.2.7"
        assert row.user_agent.startswith("Browser/1.0 ")
        assert str(row.pk) == peer.connection(hub).client
        await peer.end()
        await hub.flush()
        assert await in_database(Connection.objects.count) == 0
        await RECEIVERS.run(bool)
    finally:
        connected.disconnect(arrive)
        disconnected.disconnect(leave)
    assert told == [("connected", user.pk), ("disconnected", 1006)]


@pytest.mark.parametrize("is_flushed", [True, False], ids=["flushed in between", "at once"])
async def test_a_connection_after_failed_connects_on_the_same_socket_has_a_row(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, is_flushed: bool
) -> None:
    told: list[str] = []

    def arrive(**kwargs: Any) -> None:
        told.append("connected")

    def leave(**kwargs: Any) -> None:
        told.append("disconnected")

    async def away(*args: Any) -> None:
        raise OperationalError

    connected.connect(arrive)
    disconnected.connect(leave)
    try:
        peer = await (await Peer.of(user)).open()
        for _ in range(2):
            with monkeypatch.context() as patched:
                patched.setattr(hub, "resume", away)
                assert (await peer.try_connect())["error"]["code"] == 100
            if is_flushed:
                await hub.flush()
        assert "connect" in await peer.try_connect()
        for _ in range(2):
            await hub.flush()
            present = await in_database(lambda: list(Connection.objects.values_list("pk")))
            assert present == [(uuid.UUID(peer.connection(hub).client),)]
        await peer.end()
        await hub.flush()
        assert await in_database(Connection.objects.count) == 0
        await RECEIVERS.run(bool)  # waits for the receivers called before
    finally:
        connected.disconnect(arrive)
        disconnected.disconnect(leave)
    assert told == ["connected", "disconnected"]


async def test_a_socket_that_never_connects_has_no_row(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(hub, "resume", away)
    peer = await (await Peer.of(user)).open()
    assert "error" in await peer.try_connect()
    with counted_statements(Connection._meta.db_table) as statements:
        await hub.flush()
        await peer.end()
        await hub.flush()
    assert not statements


async def test_rows_that_cannot_be_written_are_written_later(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await peer_of(user)

    def away(*args: Any) -> None:
        raise OperationalError

    with monkeypatch.context() as patched:
        patched.setattr("notifications.hub.presence.write_isolated", away)
        with pytest.raises(OperationalError):
            await hub.flush()
    await peer_of(user)
    await hub.flush()
    assert await in_database(Connection.objects.count) == 2


async def test_a_deleted_user_does_not_affect_the_rows_of_others(hub: Hub, user: Any) -> None:
    other = await in_database(make_user, "other")
    await peer_of(user)
    await peer_of(other)
    await in_database(user.delete)
    await hub.flush()
    rows = await in_database(lambda: list(Connection.objects.values_list("user", flat=True)))
    assert rows == [other.pk]


async def test_dead_workers_are_deleted(hub: Hub, user: Any) -> None:
    long_ago = timezone.now() - timedelta(days=1)

    def die() -> None:
        worker = Worker.objects.create(host="gone", pid=1, seen_at=long_ago)
        Connection.objects.create(id=uuid.uuid4(), user=user, worker=worker)

    await in_database(die)
    await peer_of(user)
    await hub.flush()
    await hub.presence.beat()
    workers = await in_database(lambda: list(Worker.objects.values_list("pk", flat=True)))
    assert workers == [hub.presence.worker.pk]
    assert await in_database(Connection.objects.count) == 1


async def test_a_worker_considered_dead_writes_its_rows_again(hub: Hub, user: Any) -> None:
    await peer_of(user)
    await hub.flush()
    await in_database(lambda: Worker.objects.all().delete())
    await hub.presence.beat()
    assert await in_database(Connection.objects.count) == 1


async def test_a_new_connection_restores_the_rows_of_the_others(hub: Hub, user: Any) -> None:
    """The worker was considered dead, and a user connects before its next beat."""
    await peer_of(user)
    await hub.flush()
    await in_database(lambda: Worker.objects.all().delete())
    await peer_of(user)
    await hub.flush()
    assert await in_database(Connection.objects.count) == 2


async def test_a_delayed_worker_does_not_consider_others_dead_at_once(
    hub: Hub, user: Any, settings: Any
) -> None:
    """After an outage of the database, all rows are old when the first worker is back."""
    long_ago = timezone.now() - timedelta(days=1)
    await in_database(lambda: Worker.objects.create(host="late", pid=1, seen_at=long_ago))
    usual = settings.NOTIFICATIONS
    settings.NOTIFICATIONS = {**usual, "WORKER_TIMEOUT": 1e-6}  # so this worker is late
    await hub.presence.beat()
    assert await in_database(Worker.objects.count) == 1
    settings.NOTIFICATIONS = usual
    await hub.presence.beat()
    assert await in_database(Worker.objects.count) == 0


async def test_a_worker_refreshes_its_row_with_the_database_time(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await peer_of(user)
    await hub.flush()
    monkeypatch.setattr(timezone, "now", lambda: datetime(2001, 1, 1, tzinfo=UTC))
    await hub.presence.beat()
    seen = await in_database(lambda: Worker.objects.values_list("seen_at", flat=True).get())
    assert seen.year > 2001


# The end


async def test_shutdown_closes_sockets_and_writes_pending_rows(settings: Any, user: Any) -> None:
    async with running_hub(settings) as hub:
        peer, blocked = await peer_of(user), await peer_of(user)
        await in_database(notify, user, "one")
        await peer.wait_for("one")
        await peer.rpc("ack", channel=f"user:{user.pk}", offset=1)
        await hub.flush()
        await in_database(notify, user, "two")
        await peer.wait_for("one", "two")
        await peer.rpc("ack", channel=f"user:{user.pk}", offset=2)
        blocked.block()
        before = REGISTRY.get_sample_value("notifications_connections")
        assert before is not None
        await asyncio.wait_for(shutdown(), 5)
        assert await peer.wait_closed() == 3001
        assert REGISTRY.get_sample_value("notifications_connections") == before - 2
    own = Subscription.objects.filter(stream__name=f"user:{user.pk}")
    assert await in_database(lambda: own.values_list("delivered", flat=True).get()) == 2
    assert await in_database(Worker.objects.count) == 0
    assert not hub.connections.all


async def test_each_event_loop_has_one_hub(hub: Hub) -> None:
    assert await get_hub() is hub
    await shutdown()
    await shutdown()
    assert await get_hub() is not hub


async def test_groups_are_joined_before_history_is_read(hub: Hub, user: Any) -> None:
    group = await in_database(lambda: Group.objects.create(name="crew"))
    await in_database(user.groups.add, group)
    joined_at_reading: list[set[str]] = []
    resume = hub.resume

    async def look(item: Any, deadline: float) -> Any:
        joined_at_reading.append({group for call, group in FickleLayer.calls if call == "join"})
        return await resume(item, deadline)

    hub.resume = look  # type: ignore[assignment]
    peer = await peer_of(user)
    # What was read before the group's stream was known is read again.
    assert joined_at_reading[-1] == {group_name(name) for name in peer.positions}
    assert f"group:{group.pk}" in peer.positions


async def test_a_stop_does_not_wait_for_stuck_work(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stuck work is a repair, and a flush that waits for another one in a frozen database."""
    monkeypatch.setattr("notifications.hub.hub.SHUTDOWN_TIMEOUT", 0.1)
    monkeypatch.setattr("notifications.database.lanes.CLOSE_TIMEOUT", 0.1)
    go_on = threading.Event()
    stuck: list[asyncio.Task[Any]] = []
    async with running_hub(settings) as hub:
        user = await in_database(make_user)
        peer = await Peer.of(user)
        await peer.connect()
        stuck += [asyncio.create_task(FLUSH.run(go_on.wait, 60))]
        stuck += [asyncio.create_task(DELIVERY.run(go_on.wait, 60)) for _ in range(2)]
        stream = hub.streams.by_name["broadcast"]
        stream.heard = stream.top + 1
        hub.streams.repairs.start(stream)
        await rest()
        assert hub.streams.repairs.tasks
        await asyncio.wait_for(shutdown(), 30)
        assert not go_on.is_set()
        go_on.set()
        await asyncio.gather(*stuck)


def test_hubs_of_loops_that_were_closed_without_a_shutdown_are_forgotten() -> None:
    """Such as those of a host's tests, or of a server that ignores the lifespan."""
    hubs = [weakref.ref(asyncio.run(get_hub())) for _ in range(3)]
    gc.collect()
    assert [hub() is not None for hub in hubs] == [False, False, True]
    asyncio.run(_stopped())


async def _stopped() -> None:
    await get_hub()
    await shutdown()


async def test_who_parts_while_the_last_rows_are_written_waits_for_its_own(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two consumers that the server cancels, the second comes while the first is written."""
    first, second = await peer_of(user), await peer_of(user)
    await hub.flush()
    began, go_on = threading.Event(), threading.Event()
    write = hub.presence._write

    def slow(*arguments: Any) -> Any:
        began.set()
        assert go_on.wait(30)
        return write(*arguments)

    monkeypatch.setattr(hub.presence, "_write", slow)
    one = asyncio.create_task(first.cancel())
    await until(began.is_set)
    other = asyncio.create_task(second.cancel())
    await until(lambda: not hub.connections.all)
    go_on.set()
    assert await one
    assert await other
    assert await in_database(Connection.objects.count) == 0


STOPPED_AT_EXIT = """
import asyncio, atexit, threading, django
django.setup()
from notifications import hub
from notifications.hub import acknowledgements
from notifications.hub.isolated_writes import Outcome

def start(thread):
    raise RuntimeError("can't create new thread at interpreter shutdown")

def write(marks):
    print("written", len(marks))
    return Outcome([], [])

async def serve():
    running = await hub.get_hub()
    running.acknowledgements.add(1, 1, acknowledgements.Mark("user:1", "epoch", 1))

acknowledgements.write_marks = write
# As Python 3.12 does; handlers run in the reverse order.
atexit.register(setattr, threading.Thread, "start", start)
asyncio.new_event_loop().run_until_complete(serve())
"""


def test_positions_are_written_at_exit_where_python_starts_no_more_threads() -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-W", "ignore", "-c", STOPPED_AT_EXIT]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "written 1\n", "")
