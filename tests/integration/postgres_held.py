"""Locks of other transactions on PostgreSQL block only the work that needs them (P9).

Run by test_postgres.py. The other transactions stay open while a test awaits its results, so these
must not depend on the locks.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections, transaction

from notifications import broadcast, notify
from notifications.conf import app_settings
from notifications.connect.authentication import make_token
from notifications.database.lanes import CONNECTS, FLUSH, TICKER, close_threads, in_database
from notifications.hub import Hub
from notifications.hub.beginnings import Beginnings
from notifications.models import Stream, Subscription
from notifications.publishing.sequencing import sequence_waiting
from notifications.streams.rows import ensure
from tests.peers import Peer, running_hub, until
from tests.rooms import make_old_users, make_user, write

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def no_threads_left() -> AsyncIterator[None]:
    yield
    await asyncio.to_thread(close_threads)


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    # Long timeouts, so that blocked work waits until the test releases it.
    async with running_hub(settings, LOCK_TIMEOUT=60.0, STATEMENT_TIMEOUT=120.0) as running:
        yield running


@asynccontextmanager
async def held(work: Callable[[], Any]) -> AsyncIterator[None]:
    """Do ``work`` in another transaction, which stays open until the block ends."""
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                work()
                begun.set()
                assert end.wait(60)
        finally:
            begun.set()
            connections.close_all()

    holding = asyncio.create_task(asyncio.to_thread(hold))
    try:
        await until(begun.is_set)
        yield
    finally:
        end.set()
        await holding


async def connected(user: Any) -> Peer:
    peer = Peer(token=make_token(user))
    await peer.connect()
    return peer


async def test_p9_an_uncommitted_notification_to_a_new_user_blocks_no_connect(
    hub: Hub,
) -> None:
    new, old = await in_database(lambda: (make_old_users(1)[0], make_user("old")))
    peers = []
    async with held(lambda: notify(new, "not yet committed")):
        peers += [await connected(old), await connected(new)]
        assert peers[1].publications == []
    await hub.beginnings.retry()
    await peers[1].wait_for("not yet committed")


async def test_p9_an_uncommitted_stream_blocks_no_connect(
    hub: Hub,
) -> None:
    """Raw SQL may create a stream like this, and so did workers of older versions."""
    new, old = await in_database(lambda: (make_old_users(1)[0], make_user("old")))
    name = f"user:{new.pk}"
    async with held(lambda: Stream.objects.create(name=name)):
        other = await connected(old)
        peer = await connected(new)
        assert name not in peer.positions
        await in_database(broadcast, "to all")
        await peer.wait_for("to all")
        await other.wait_for("to all")
    await hub.beginnings.retry()
    await until(lambda: name in peer.subscribed, "a push that subscribes")
    await in_database(notify, new, "to the new one")
    await peer.wait_for("to all", "to the new one")
    assert not peer.violations


async def test_p9_locked_rows_of_one_user_do_not_block_the_first_connect_of_others(
    hub: Hub,
) -> None:
    users = await in_database(make_old_users, 3)
    async with held(lambda: Stream.objects.create(name=f"user:{users[0].pk}")):
        for user in users[1:]:
            peer = await connected(user)
            await until(partial(_has, peer, f"user:{user.pk}"))


def _has(peer: Peer, name: str) -> bool:
    return name in peer.positions or name in peer.subscribed


async def test_p9_locked_rows_block_neither_the_position_check_nor_the_ticker_nor_connects(
    hub: Hub,
) -> None:
    """Only the acknowledgements and commands that need the locks wait."""
    user = await in_database(make_user)
    peer = await connected(user)
    await in_database(broadcast, "first")
    await peer.wait_for("first")

    def lock() -> None:
        list(Subscription.objects.select_for_update())

    def unmute_all() -> None:
        Subscription.objects.update(muted=False)

    async with held(lock):
        await peer.rpc("ack", channel="broadcast", offset=1)
        waiting = [hub.loop.create_task(hub.flush())]
        waiting += [
            hub.loop.create_task(in_database(unmute_all))
            for _ in range(app_settings.DATABASE_THREADS)
        ]
        await CONNECTS.run(write, "broadcast", title="left behind")
        await TICKER.run(sequence_waiting)
        await hub.position_check.run()
        await peer.wait_for("first", "left behind")
        late = await connected(await CONNECTS.run(make_user, "late"))
        assert late.publications == []
        assert not any(task.done() for task in waiting)
    for task in waiting:
        await task


async def test_database_connections_of_a_worker_have_timeouts() -> None:
    def timeouts() -> tuple[str, str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('lock_timeout')")
            lock = cursor.fetchone()[0]
            cursor.execute("SELECT current_setting('statement_timeout')")
            return lock, cursor.fetchone()[0]

    assert await FLUSH.run(timeouts) == ("5s", "20s")
    assert await in_database(timeouts) == ("5s", "20s")


def test_other_database_connections_keep_their_timeouts() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout')")
        assert cursor.fetchone()[0] == "0"


async def test_timeouts_are_not_set_behind_a_connection_pooler(settings: Any) -> None:
    def timeout() -> str:
        connection.close()
        connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = True
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT current_setting('lock_timeout')")
                return str(cursor.fetchone()[0])
        finally:
            connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = False
            connection.close()

    assert await FLUSH.run(timeout) == "0"


async def test_missing_rows_of_a_deleted_user_are_not_retried_forever() -> None:
    (user,) = await in_database(make_old_users, 1)
    await in_database(ensure, ["broadcast"])
    missing = [(user.pk, "broadcast")]
    await in_database(get_user_model().objects.all().delete)
    failures: list[str] = []
    beginnings = Beginnings(lambda user_id: None, lambda name, error: failures.append(name))
    beginnings.follow(missing)
    await until(lambda: beginnings.is_idle)
    assert failures == []
