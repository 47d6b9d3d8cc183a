"""Connections that another backend closes, at any age: over the server API, on a real hub."""

from typing import Any

import pytest

from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.models import Connection
from tests.api.backends import Caller
from tests.hub.helpers import peer_of
from tests.peers import Peer
from tests.rooms import hints

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def peers(hub: Hub, user: Any) -> list[Peer]:
    """Three connections of one user, which have no rows yet."""
    found = [await peer_of(user) for _ in range(3)]
    assert await in_database(Connection.objects.count) == 0
    return found


async def call(method: str, **request: Any) -> None:
    assert await in_database(lambda: Caller().result(method, **request)) == {}


async def test_young_connections_are_closed_too(user: Any, peers: list[Peer]) -> None:
    how = {"code": 4001, "reason": "moved"}
    await call("disconnect", user=str(user.pk), disconnect=how)
    assert [await peer.wait_closed() for peer in peers] == [4001] * 3


async def test_a_client_and_a_whitelist_choose_young_connections(
    user: Any, peers: list[Peer], hub: Hub
) -> None:
    first, _, third = (peer.connection(hub).client for peer in peers)
    await call("disconnect", user=str(user.pk), client=first)
    assert await peers[0].wait_closed() == 3503
    await call("disconnect", user=str(user.pk), whitelist=[third.upper(), "nonsense"])
    assert await peers[1].wait_closed() == 3503
    assert peers[2].closed is None
    await call("refresh", user=str(user.pk), client=third, expired=True)
    assert await peers[2].wait_closed() == 3005


async def test_connections_of_other_users_stay(user: Any, peers: list[Peer], hub: Hub) -> None:
    mine = peers[0].connection(hub).client
    for request in ({"user": f"{user.pk}0"}, {"user": "0", "client": mine}):
        await call("disconnect", **request)
    await call("disconnect", user=str(user.pk), client=mine)
    await peers[0].wait_closed()
    assert [peer.closed for peer in peers[1:]] == [None] * 2


async def test_p4_a_lost_hint_is_made_up_for_by_the_rows(
    user: Any, peers: list[Peer], hub: Hub
) -> None:
    await hub.flush()
    with hints():
        await call("disconnect", user=str(user.pk))
    await hub.rights.check_all()
    assert [await peer.wait_closed() for peer in peers] == [3503] * 3
