"""The periodic check of users is spread over its interval, and leaves nobody out (P6)."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError

from notifications.database.lanes import RIGHTS, in_database
from notifications.hub import Hub
from notifications.hub.rights_rounds import PARTS, RightsRounds
from tests.hub.helpers import peer_of
from tests.peers import Peer
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def checked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The users of each check."""
    calls: list[list[Any]] = []
    changed, everybody = hub.rights.check_changed, hub.rights.check_all

    async def check_changed(user_ids: list[Any]) -> None:
        calls.append(user_ids)
        await changed(user_ids)

    async def check_all() -> None:
        calls.append(list(hub.connections.by_user))
        await everybody()

    monkeypatch.setattr(hub.rights, "check_changed", check_changed)
    monkeypatch.setattr(hub.rights, "check_all", check_all)
    return calls


async def connect_users(count: int) -> list[Peer]:
    return [
        await peer_of(await in_database(make_user, f"user {number}")) for number in range(count)
    ]


def rounds_of(hub: Hub) -> RightsRounds:
    return RightsRounds(hub.connections, hub.rights)


async def test_every_user_is_checked_once_in_an_interval(
    hub: Hub, checked: list[list[Any]]
) -> None:
    await connect_users(2 * PARTS)
    rounds = rounds_of(hub)
    for _ in range(PARTS):
        await rounds.check_part()
    assert sorted(pk for part in checked for pk in part) == sorted(hub.connections.by_user)
    assert max(map(len, checked)) < 2 * PARTS, "not all at once"


async def test_a_user_keeps_the_turn_while_others_come_and_go(
    hub: Hub, checked: list[list[Any]]
) -> None:
    peers = await connect_users(PARTS)
    rounds = rounds_of(hub)
    for _ in range(PARTS):
        await rounds.check_part()
    turns = {pk: turn for turn, part in enumerate(checked) for pk in part}
    for peer in peers[: PARTS // 2]:
        await peer.end()
    newcomer = await peer_of(await in_database(make_user, "newcomer"))
    checked.clear()
    for _ in range(PARTS):
        await rounds.check_part()
    again = {pk: turn for turn, part in enumerate(checked) for pk in part}
    assert again.pop(newcomer.connection(hub).user_id) is not None
    assert len(again) == PARTS - PARTS // 2
    assert again.items() <= turns.items()


async def test_p6_a_change_without_a_signal_ends_the_connection_in_one_round(
    hub: Hub, user: Any
) -> None:
    peer = await peer_of(user)
    await in_database(lambda: get_user_model().objects.update(is_active=False))
    rounds = rounds_of(hub)
    for _ in range(PARTS):
        await rounds.check_part()
    assert await peer.wait_closed() == 3503


async def test_after_a_failure_all_users_are_checked(
    hub: Hub, checked: list[list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await connect_users(PARTS)
    rounds = rounds_of(hub)

    async def fail(*args: Any) -> None:
        raise OperationalError

    with monkeypatch.context() as patched:
        patched.setattr(RIGHTS, "run", fail)
        for _ in range(2):
            with pytest.raises(OperationalError):
                await rounds.check_part()
    checked.clear()
    await rounds.check_part()
    assert sorted(checked[0]) == sorted(hub.connections.by_user)
    await rounds.check_part()
    assert len(checked[1]) < PARTS
