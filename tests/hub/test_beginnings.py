"""Missing rows of a connecting user are created alongside the connect, not in it."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.db import OperationalError

from notifications import broadcast, notify
from notifications.database.lanes import close_threads, in_database
from notifications.hub import Hub
from notifications.hub import beginnings as module
from notifications.hub.beginnings import Beginnings
from notifications.models import Subscription
from notifications.streams.feeds import begin
from tests.peers import Peer, until
from tests.rooms import make_old_users, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def no_threads_left() -> AsyncIterator[None]:
    yield
    await asyncio.to_thread(close_threads)


async def test_a_first_connect_has_all_its_streams(hub: Hub) -> None:
    (user,) = await in_database(make_old_users, 1)
    peer = await Peer.of(user)
    await peer.connect()
    assert set(peer.positions) == {f"user:{user.pk}", "broadcast"}
    assert await in_database(Subscription.objects.filter(user=user).count) == 2
    await peer.end()


async def test_a_connect_does_not_wait_for_slow_rows_and_gets_them_pushed(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    (user,) = await in_database(make_old_users, 1)
    go_on = threading.Event()

    def slow(pairs: Any) -> None:
        assert go_on.wait(60)
        begin(pairs)

    monkeypatch.setattr(module, "CONNECT_WAIT", 0.01)
    monkeypatch.setattr(module, "begin", slow)
    peer = await Peer.of(user)
    await peer.connect()
    assert peer.positions == {}
    go_on.set()
    await until(lambda: set(peer.subscribed) == {f"user:{user.pk}", "broadcast"})
    await in_database(notify, user, "private")
    await in_database(broadcast, "to all")
    await until(lambda: set(peer.titles) == {"private", "to all"})
    assert not peer.violations
    await peer.end()


async def test_rows_of_one_user_that_fail_are_retried_and_do_not_block_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users = await in_database(make_old_users, 3)
    locked = {users[1].pk}
    made: list[Any] = []
    failures: list[str] = []

    def fickle(pairs: Any) -> None:
        if locked & {user_id for user_id, _ in pairs}:
            raise OperationalError("canceling statement due to lock timeout")
        begin(pairs)

    monkeypatch.setattr(module, "begin", fickle)
    beginnings = Beginnings(made.append, lambda name, error: failures.append(name))
    beginnings.follow([(user.pk, "broadcast") for user in users])
    await until(lambda: failures and len(made) == 2)
    assert sorted(made) == [users[0].pk, users[2].pk]
    locked.clear()
    await beginnings.retry()
    await until(lambda: len(made) == 3)
    await until(lambda: beginnings.is_idle)
    assert await in_database(Subscription.objects.count) == 3


async def test_a_stop_cancels_work_in_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(module, "begin", lambda pairs: go_on.wait(60))
    beginnings = Beginnings(lambda user_id: None, lambda name, error: None)
    beginnings.follow([(1, "broadcast")])
    await beginnings.stop()
    go_on.set()


async def test_a_bug_for_one_user_does_not_block_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users = await in_database(lambda: [make_user(f"user {number}") for number in range(3)])
    made: list[Any] = []
    failures: list[str] = []

    def buggy(pairs: Any) -> None:
        if users[1].pk in {user_id for user_id, _ in pairs}:
            raise KeyError("a bug")
        begin(pairs)

    monkeypatch.setattr(module, "begin", buggy)
    beginnings = Beginnings(made.append, lambda name, error: failures.append(name))
    beginnings.follow([(user.pk, "broadcast") for user in users])
    await until(lambda: failures and len(made) == 2)
    assert sorted(made) == [users[0].pk, users[2].pk]
    await beginnings.stop()
