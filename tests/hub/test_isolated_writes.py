"""In a flush of many rows, only the bad ones fail, and they are given up at last."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections, transaction

from notifications import broadcast
from notifications.database.lanes import RECEIVERS, in_database
from notifications.hub import Hub
from notifications.hub.isolated_writes import MAX_ATTEMPTS
from notifications.models import Connection, Stream, Subscription
from notifications.signals import connected, delivered
from tests.peers import Peer
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)

ACKNOWLEDGE = "UPDATE ON notifications_subscription"
ARRIVE = "INSERT ON notifications_connection"
LEAVE = "DELETE ON notifications_connection"


@pytest.fixture
async def users() -> Any:
    return await in_database(lambda: [make_user(f"user {number}") for number in range(6)])


async def connect(users: list[Any]) -> list[Peer]:
    peers = [await Peer.of(user) for user in users]
    for peer in peers:
        await peer.connect()
    return peers


async def acknowledge(peers: list[Peer], offset: int) -> None:
    for peer in peers:
        await peer.rpc("ack", channel="broadcast", offset=offset)


def refuse(event: str, user: Any) -> None:
    """Create a trigger that raises an error on an event for the rows of this user."""
    row = "OLD" if event.startswith("DELETE") else "NEW"
    when = f"CREATE TRIGGER refusal BEFORE {event} FOR EACH ROW WHEN ({row}.user_id = {user.pk})"
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"{when} BEGIN SELECT RAISE(ABORT, 'refused'); END")
            return
        cursor.execute(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$"
        )
        cursor.execute(f"{when} EXECUTE FUNCTION refuse()")


def allow(event: str) -> None:
    table = f" {event.split(' ', 1)[1]}" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER IF EXISTS refusal{table}")


def delivered_to(users: list[Any]) -> list[int]:
    rows = Subscription.objects.filter(stream__name="broadcast", user__in=users)
    return list(rows.order_by("user").values_list("delivered", flat=True))


def present() -> set[Any]:
    return set(Connection.objects.values_list("user", flat=True))


async def fails(hub: Hub) -> bool:
    try:
        await hub.flush()
    except Exception:
        return True
    return False


async def test_an_acknowledgement_that_fails_does_not_block_others(
    hub: Hub, users: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []

    def listen(user_id: Any, **kwargs: Any) -> None:
        told.append(user_id)

    peers = await connect(users)
    await hub.flush()
    await in_database(broadcast, "one")
    await in_database(broadcast, "two")
    for peer in peers:
        await peer.wait_for("one", "two")
    await in_database(refuse, ACKNOWLEDGE, users[2])
    delivered.connect(listen)
    try:
        await acknowledge(peers, 1)
        assert await fails(hub), "it is reported"
        assert await in_database(delivered_to, users) == [1, 1, 0, 1, 1, 1]
        await RECEIVERS.run(bool)
        assert users[2].pk not in told
        rounds = 1
        with caplog.at_level(logging.WARNING):
            while await fails(hub):
                rounds += 1
        assert rounds == MAX_ATTEMPTS
        assert (
            f"Acknowledgements: gave up on 1 row(s) after {MAX_ATTEMPTS} failed attempts."
            in caplog.text
        )
        await in_database(allow, ACKNOWLEDGE)
        await acknowledge(peers, 2)
        await hub.flush()
        assert await in_database(delivered_to, users) == [2] * 6
        await RECEIVERS.run(bool)
        assert told.count(users[2].pk) == 1
        assert len(told) == 11
    finally:
        delivered.disconnect(listen)
        await in_database(allow, ACKNOWLEDGE)


async def test_a_temporary_failure_loses_no_acknowledgement(hub: Hub, users: list[Any]) -> None:
    peers = await connect(users)
    await in_database(broadcast, "one")
    for peer in peers:
        await peer.wait_for("one")
    await in_database(refuse, ACKNOWLEDGE, users[0])
    await acknowledge(peers, 1)
    assert await fails(hub)
    await in_database(allow, ACKNOWLEDGE)
    await hub.flush()
    assert await in_database(delivered_to, users) == [1] * 6


async def test_acknowledgements_of_deleted_users_and_streams_are_ignored(
    hub: Hub, users: list[Any]
) -> None:
    peers = await connect(users)
    await in_database(broadcast, "one")
    for peer in peers:
        await peer.wait_for("one")
    await acknowledge(peers, 1)
    gone = users.pop(1)
    await in_database(gone.delete)
    await in_database(lambda: Stream.objects.filter(name=f"user:{users[2].pk}").delete())
    await hub.flush()
    assert await in_database(delivered_to, users) == [1] * 5
    await hub.flush()


async def test_a_connection_row_that_cannot_be_inserted_does_not_block_others(
    hub: Hub, users: list[Any]
) -> None:
    told: list[Any] = []

    def listen(user_id: Any, **kwargs: Any) -> None:
        told.append(user_id)

    connected.connect(listen)
    try:
        await in_database(refuse, ARRIVE, users[2])
        peers = await connect(users)
        await fails(hub)
        others = {user.pk for user in users} - {users[2].pk}
        assert await in_database(present) == others
        await peers[0].end()
        await fails(hub)
        assert await in_database(present) == others - {users[0].pk}
        await RECEIVERS.run(bool)
        assert len(told) == len(set(told))
    finally:
        connected.disconnect(listen)
        await in_database(allow, ARRIVE)


async def test_a_connection_row_that_cannot_be_deleted_does_not_block_others(
    hub: Hub, users: list[Any]
) -> None:
    peers = await connect(users)
    await hub.flush()
    await in_database(refuse, LEAVE, users[2])
    try:
        for peer in peers[:4]:
            await peer.end()
        assert await fails(hub)
        assert await in_database(present) == {users[n].pk for n in (2, 4, 5)}
    finally:
        await in_database(allow, LEAVE)
    await hub.flush()
    assert await in_database(present) == {users[n].pk for n in (4, 5)}


async def test_failing_acknowledgements_do_not_block_connection_rows(
    hub: Hub, users: list[Any]
) -> None:
    peers = await connect(users[:1])
    await in_database(broadcast, "one")
    await peers[0].wait_for("one")
    await in_database(refuse, ACKNOWLEDGE, users[0])
    try:
        await acknowledge(peers, 1)
        assert await fails(hub)
        assert await in_database(present) == {users[0].pk}
    finally:
        await in_database(allow, ACKNOWLEDGE)


@contextmanager
def locked(subscription: Any) -> Iterator[None]:
    """Hold a lock on a row in another transaction."""
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            list(subscription.select_for_update())
            begun.set()
            end.wait(60)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait(60)
    try:
        yield
    finally:
        end.set()
        thread.join(60)


async def test_a_locked_row_does_not_block_others(hub: Hub, users: list[Any]) -> None:
    peers = await connect(users)
    await in_database(broadcast, "one")
    for peer in peers:
        await peer.wait_for("one")
    await hub.presence.flush()
    await acknowledge(peers, 1)
    row = Subscription.objects.filter(user=users[0], stream__name="broadcast")
    if connection.vendor == "postgresql":  # SQLite has one writer, so all rows wait
        with locked(row):
            assert await fails(hub)
            assert await in_database(delivered_to, users) == [0, 1, 1, 1, 1, 1]
    await hub.flush()
    assert await in_database(delivered_to, users) == [1] * 6
