"""Connections that a backend closes or lets expire, at any age: server API and a real hub."""

import time
from typing import Any

import msgspec
import pytest

from notifications.connect.tokens import make_token
from notifications.database.lanes import in_database
from notifications.hub import Hub
from notifications.models import Connection
from notifications.protocol import messages
from tests.api.backends import Caller
from tests.hub.helpers import peer_of
from tests.peers import Peer, rest, until
from tests.rooms import hints

#: A push that fills the socket of a client that does not read.
FILLER = messages.Push(message=messages.Message(msgspec.Raw(b'{"type":"filler"}')))

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


async def expire_in(user: Any, seconds: int, **request: Any) -> None:
    at = int(time.time()) + seconds
    await call("refresh", user=str(user.pk), expire_at=at, **request)


def left(peer: Peer, hub: Hub) -> float:
    """Seconds until the connection expires: the tokens of these tests last for an hour."""
    expires_at = peer.connection(hub).session.expires_at
    assert expires_at is not None
    return expires_at - time.monotonic()


async def test_connections_expire_when_a_backend_says_and_clients_are_told(
    user: Any, peers: list[Peer], hub: Hub
) -> None:
    await expire_in(user, 1000)
    await until(lambda: all(peer.refreshes for peer in peers), "the pushes")
    for peer in peers:
        assert 990 < left(peer, hub) <= 1000
        (told,) = peer.refreshes
        assert told["expires"] is True
        assert 990 < told["ttl"] <= 1000


async def test_one_client_alone_can_be_limited(user: Any, peers: list[Peer], hub: Hub) -> None:
    await expire_in(user, 1000, client=peers[0].connection(hub).client)
    await until(lambda: peers[0].refreshes, "the push")
    assert all(left(peer, hub) > 3500 for peer in peers[1:])
    assert [peer.refreshes for peer in peers[1:]] == [[], []]


async def test_p4_a_lost_hint_about_an_expiry_is_made_up_for_by_the_rows(
    user: Any, peers: list[Peer], hub: Hub
) -> None:
    await hub.flush()
    with hints():
        await expire_in(user, 1000)
    for _ in range(2):  # each client is told once, however often the rows are read
        await hub.rights.check_all()
    assert [len(peer.refreshes) for peer in peers] == [1] * 3
    assert all(left(peer, hub) <= 1000 for peer in peers)


async def test_a_later_token_counts_again(user: Any, hub: Hub) -> None:
    peer = await peer_of(user)
    await hub.flush()
    await expire_in(user, 100)
    await until(lambda: peer.refreshes, "the push")
    assert left(peer, hub) <= 100
    token = await in_database(make_token, user, 5000)
    await peer.call(refresh={"token": token})
    await hub.rights.check_all()
    assert 4990 < left(peer, hub) <= 5000
    await expire_in(user, 200)
    await until(lambda: len(peer.refreshes) == 2, "the second push")
    assert left(peer, hub) <= 200


async def test_a_connection_that_expires_is_closed_after_the_delay(
    user: Any, hub: Hub, settings: Any
) -> None:
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "EXPIRED_CLOSE_DELAY": 0.1}
    peer = await peer_of(user)
    await expire_in(user, 2)
    assert await peer.wait_closed() == 3005
    assert len(peer.refreshes) == 1


async def test_a_time_that_has_passed_ends_connections_now(user: Any, peers: list[Peer]) -> None:
    await expire_in(user, -1)
    assert [await peer.wait_closed() for peer in peers] == [3005] * 3


async def test_a_client_that_does_not_read_is_told_when_it_reads_again(
    user: Any, peers: list[Peer], hub: Hub
) -> None:
    blocked, reading = peers[:2]
    blocked.block()
    hub.rights.subscriptions.push_surely(blocked.connection(hub), FILLER)
    await rest()
    await expire_in(user, 1000)
    await until(lambda: reading.refreshes, "the push to another client")
    assert left(blocked, hub) <= 1000
    assert blocked.refreshes == []
    blocked.unblock()
    await until(lambda: blocked.refreshes, "the push")
