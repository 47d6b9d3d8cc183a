"""The position check reads only what may have changed, and misses nothing by that (P4, P8)."""

from collections.abc import Mapping
from typing import Any

import pytest
from django.db import OperationalError, connection

from notifications import broadcast, notify
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.models import Stream
from notifications.streams import evidence
from notifications.streams.evidence import Found, Seen
from notifications.streams.revisions import touch
from tests.hub.helpers import counted_statements, own, peer_of, silently
from tests.peers import until
from tests.rooms import Backup, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """The ids of the streams that each look has read."""
    looks: list[set[int]] = []

    def look(seen: Mapping[int, Seen]) -> Found:
        looks.append(set(seen))
        return evidence.look(seen)

    monkeypatch.setattr("notifications.hub.position_check.look", look)
    return looks


async def make_users(count: int) -> list[Any]:
    return [await in_database(make_user, f"user {number}") for number in range(count)]


async def stream_id(name: str) -> int:
    stream = await in_database(Stream.objects.get, name=name)
    return int(stream.pk)


async def test_a_check_without_changes_is_at_most_one_query_and_reads_no_stream(
    hub: Hub, read: list[set[int]]
) -> None:
    used: list[int] = []
    for user in await make_users(40):
        await in_database(notify, user, "hello")
        await (await peer_of(user)).wait_for("hello")
        if len(hub.connections.all) in (4, 40):
            await hub.position_check.run()
            await hub.position_check.run()
            read.clear()
            with counted_statements('"notifications_stream"') as statements:
                await hub.position_check.run()
            used.append(len(statements))
            assert not read
    # PostgreSQL analyzes tables by itself at times, which is a commit.
    assert used == [0, 0] if connection.vendor == "sqlite" else max(used) <= 1


async def test_any_commit_makes_the_next_check_compare_the_streams(
    hub: Hub, user: Any, read: list[set[int]]
) -> None:
    await peer_of(user)
    for _ in range(2):
        await hub.position_check.run()
    await in_database(make_user, "somebody else")
    read.clear()
    with counted_statements('"notifications_stream"') as statements:
        await hub.position_check.run()
    assert len(statements) == 1
    assert not read


async def test_a_change_is_found_after_a_check_that_could_not_read_it(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written in between, so only the process itself knows that it has to look."""
    peer = await peer_of(user)
    await hub.position_check.run()
    await silently(broadcast, "unheard")

    def fail(seen: Mapping[int, Seen]) -> Found:
        raise OperationalError

    with monkeypatch.context() as patched:
        patched.setattr("notifications.hub.position_check.look", fail)
        with pytest.raises(OperationalError):
            await hub.position_check.run()
    await hub.position_check.run()
    await peer.wait_for("unheard")


async def test_only_streams_that_have_changed_are_read(hub: Hub, read: list[set[int]]) -> None:
    users = await make_users(4)
    peers = [await peer_of(user) for user in users]
    await hub.position_check.run()
    await silently(notify, users[2], "without a hint")
    await hub.position_check.run()
    await peers[2].wait_for("without a hint")
    assert read[1:] == [{await stream_id(own(users[2]))}]


async def test_a_stream_is_read_once_more_after_a_hint(
    hub: Hub, user: Any, read: list[set[int]]
) -> None:
    peer = await peer_of(user)
    await hub.position_check.run()
    await in_database(notify, user, "by a hint")
    await peer.wait_for("by a hint")
    for _ in range(3):
        await hub.position_check.run()
    assert read[1:] == [{await stream_id(own(user))}]


async def test_a_new_revision_is_found_among_streams_that_have_not_changed(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await peer_of(user)
    await hub.position_check.run()
    suspects: list[str] = []
    monkeypatch.setattr(hub.rights, "suspect", suspects.append)
    await silently(touch, [own(user)])
    await hub.position_check.run()
    await until(lambda: suspects == [own(user)], "the check of the user")


async def test_p8_a_row_that_is_again_as_the_check_last_read_it_is_noticed(
    hub: Hub, user: Any
) -> None:
    """A hint has moved the readers on, then a backup from before that is restored."""
    peer = await peer_of(user)
    await in_database(broadcast, "kept")
    await peer.wait_for("kept")
    await hub.position_check.run()
    backup = await in_database(Backup)
    await in_database(broadcast, "lost")
    await peer.wait_for("kept", "lost")
    await in_database(backup.restore)
    await hub.position_check.run()
    assert await peer.wait_closed() == 3010


async def test_p8_a_deleted_row_is_noticed_among_streams_that_have_not_changed(
    hub: Hub, user: Any
) -> None:
    peer = await peer_of(user)
    await hub.position_check.run()
    await in_database(lambda: Stream.objects.filter(name="broadcast").delete())
    await hub.position_check.run()
    assert await peer.wait_closed() == 3010
