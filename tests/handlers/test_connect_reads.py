"""How often a connect asks the database, and how many statements that takes."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Group

from notifications import broadcast
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.models import Notification
from tests.hub.helpers import counted_statements
from tests.peers import Peer, log_in
from tests.rooms import make_old_users, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def counted_calls(hub: Hub) -> Iterator[list[str]]:
    """Collect the calls of the database that serve all waiting connects together."""
    calls: list[str] = []
    originals = {name: getattr(hub, name) for name in ("admit_callers", "resume")}

    def counted(name: str) -> Any:
        async def call(*args: Any) -> Any:
            calls.append(name)
            return await originals[name](*args)

        return call

    for name in originals:
        setattr(hub, name, counted(name))
    try:
        yield calls
    finally:
        for name, original in originals.items():
            setattr(hub, name, original)


async def reads(hub: Hub, peer: Peer) -> tuple[list[str], int]:
    """Connect and hang up; return the calls, and the number of SELECTs."""
    with counted_calls(hub) as calls, counted_statements("SELECT ") as statements:
        await peer.connect()
        selects = sum(statement.lstrip().startswith("SELECT ") for statement in statements)
    await peer.end()
    return calls, selects


async def test_a_connect_by_token_reads_once(hub: Hub) -> None:
    (user,) = await in_database(make_old_users, 1)
    peer = await Peer.of(user)
    calls, _ = await reads(hub, peer)
    assert calls == ["resume", "resume"]  # rows were missing, and have been created
    # Revision, user, groups, subscriptions, receipts.
    assert await reads(hub, peer) == (["resume"], 5)
    for number in range(10):
        await in_database(broadcast, f"missed {number}")
    # These, the offsets to count and the page that was missed.
    assert await reads(hub, peer) == (["resume"], 7)
    assert len(peer.titles) == 10
    assert not peer.violations


async def test_a_connect_by_session_reads_twice(hub: Hub, user: Any) -> None:
    await (first := await Peer.of(user)).connect()
    await first.end()
    peer = Peer(cookie=f"sessionid={await in_database(log_in, user)}")
    calls, selects = await reads(hub, peer)
    assert calls == ["admit_callers", "resume"]
    # Session, user and groups, and then as by token, with the session again.
    assert selects == 3 + 5 + 1


async def members_who_left(hub: Hub, count: int) -> tuple[Group, list[Peer]]:
    """Make a group whose members have connected and left, so that nobody reads its stream."""
    group = await in_database(Group.objects.create, name="crew")
    users = [await in_database(make_user, f"user {number}") for number in range(count)]
    for user in users:
        await in_database(user.groups.add, group)
    peers = [await Peer.of(user) for user in users]
    for peer in peers:
        await peer.connect()
        await peer.end()
    await hub.streams.groups.sweep()
    return group, peers


async def test_a_stream_of_a_group_that_is_read_here_takes_no_second_reading(hub: Hub) -> None:
    group, peers = await members_who_left(hub, 3)
    assert f"group:{group.pk}" not in hub.streams.by_name
    await in_database(broadcast, "for the crew", to=group)
    found = []
    for peer in peers:
        with counted_calls(hub) as calls:
            await peer.connect()
        found.append(len(calls))
        await peer.wait_for("for the crew")
    assert found == [2, 1, 1]
    await in_database(broadcast, "live", to=group)
    for peer in peers:
        await peer.wait_for("for the crew", "live")
        assert not peer.violations
        await peer.end()
    assert await in_database(Notification.objects.count) == 2


async def test_in_a_storm_only_the_first_members_of_a_group_are_read_twice(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client may have waited for its turn since before the stream of the group was joined."""
    monkeypatch.setattr("notifications.hub.batches.BATCH_SIZE", 1)
    group, peers = await members_who_left(hub, 8)
    await in_database(broadcast, "for the crew", to=group)
    with counted_calls(hub) as calls:
        await asyncio.gather(*(peer.connect() for peer in peers))
    assert len(peers) < len(calls) <= len(peers) + 3
    for peer in peers:
        await peer.wait_for("for the crew")
        assert not peer.violations
        await peer.end()


async def test_a_client_resumes_at_its_position_in_a_group_that_is_read_here(hub: Hub) -> None:
    group = await in_database(Group.objects.create, name="crew")
    users = [await in_database(make_user, f"user {number}") for number in range(2)]
    for user in users:
        await in_database(user.groups.add, group)
    staying, returning = [await Peer.of(user) for user in users]
    await staying.connect()
    await returning.connect()
    await in_database(broadcast, "seen", to=group)
    await returning.wait_for("seen")
    await returning.end()
    await in_database(broadcast, "missed", to=group)
    with counted_calls(hub) as calls:
        result = await returning.connect()
    assert calls == ["resume"]
    entry = result["subs"][f"group:{group.pk}"]
    assert entry["recovered"]
    assert [each["data"]["title"] for each in entry["publications"]] == ["missed"]
    await returning.end()
    await staying.end()
