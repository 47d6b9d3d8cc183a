"""Draining a process: waves, connections that are still served, and refused ones."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications import broadcast, notify
from notifications.database.lanes import in_database
from notifications.hub import Hub, drain
from notifications.hub.sockets import drain as draining
from notifications.models import Connection, Subscription
from tests.peers import Peer, running_hub, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    async with running_hub(settings, DRAIN_SECONDS=3600.0) as running:
        yield running


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> asyncio.Semaphore:
    """Make waves of two sockets, and close one wave for each ``release``."""
    turns = asyncio.Semaphore(0)

    async def pause(hurry: asyncio.Event, seconds: float) -> None:
        if not hurry.is_set():
            await asyncio.wait_for(turns.acquire(), 10)
            await asyncio.sleep(0.01)  # the clients see their close before the next wave

    monkeypatch.setattr(draining, "PACE", 2 / draining.WAVE)
    monkeypatch.setattr(draining, "pause", pause)
    return turns


async def peers_of(user: Any, count: int) -> list[Peer]:
    peers = [await Peer.of(user) for _ in range(count)]
    for peer in peers:
        await peer.connect()
    return peers


def is_closed(peers: list[Peer]) -> list[Peer]:
    return [peer for peer in peers if peer.closed is not None]


# Splitting into waves


@given(st.integers(0, 20_000), st.floats(0, 100))
def test_every_socket_is_in_one_wave_and_the_time_suffices(count: int, seconds: float) -> None:
    sockets: Any = range(count)
    cut = list(draining.waves(sockets, seconds))
    assert [socket for wave in cut for socket in wave] == list(sockets)
    assert (len(cut) - 1) * draining.WAVE <= seconds + draining.WAVE / 2
    assert all(len(wave) == len(cut[0]) for wave in cut[:-1])


def test_few_sockets_are_closed_at_the_normal_pace() -> None:
    sockets: Any = range(30)
    assert [len(wave) for wave in draining.waves(sockets, 3600)] == [10, 10, 10]


def test_zero_seconds_make_one_wave() -> None:
    sockets: Any = range(1000)
    assert [len(wave) for wave in draining.waves(sockets, 0)] == [1000]


# Draining


async def test_sockets_close_in_waves_and_open_ones_are_still_served(
    hub: Hub, user: Any, turns: asyncio.Semaphore
) -> None:
    peers = await peers_of(user, 6)
    draining = asyncio.create_task(drain(asyncio.Event()))
    await until(lambda: len(is_closed(peers)) == 2)
    left = [peer for peer in peers if peer.closed is None]
    await in_database(broadcast, "meanwhile")
    for peer in left:
        await peer.wait_for("meanwhile")
    turns.release()
    await until(lambda: len(is_closed(peers)) == 4)
    for _ in range(100):
        turns.release()
    await draining
    assert [peer.closed for peer in peers] == [3001] * 6
    assert not hub.connections.all


async def test_no_connection_is_admitted_during_a_drain(
    hub: Hub, user: Any, turns: asyncio.Semaphore
) -> None:
    await peers_of(user, 1)
    late = await Peer.of(user)
    await late.open()
    draining = asyncio.create_task(drain(asyncio.Event()))
    await until(lambda: hub.connections.is_draining)
    late.ask(connect=late.connect_request())
    assert await late.wait_closed() == 3001
    assert late.replies == {}
    for _ in range(100):
        turns.release()
    await draining


async def test_hurry_cuts_all_waits_short(hub: Hub, user: Any, turns: asyncio.Semaphore) -> None:
    peers = await peers_of(user, 6)
    hurry = asyncio.Event()
    draining = asyncio.create_task(drain(hurry))
    await until(lambda: len(is_closed(peers)) == 2)
    hurry.set()
    turns.release()
    await draining
    for peer in peers:
        assert await peer.wait_closed() == 3001


async def test_a_blocked_socket_does_not_delay_the_drain_for_ever(hub: Hub, user: Any) -> None:
    blocked, other = await peers_of(user, 2)
    blocked.block()
    await in_database(broadcast, "does not get out")
    await other.wait_for("does not get out")
    await asyncio.wait_for(drain(asyncio.Event()), 10)
    assert other.closed == 3001
    assert not hub.connections.all


async def test_acknowledgements_are_written_before_the_drain_ends(hub: Hub, user: Any) -> None:
    (peer,) = await peers_of(user, 1)
    await in_database(notify, user, "one")
    await peer.wait_for("one")
    await peer.rpc("ack", channel=f"user:{user.pk}", offset=1)
    await drain(asyncio.Event())
    own = Subscription.objects.filter(stream__name=f"user:{user.pk}")
    assert await in_database(lambda: own.values_list("delivered", flat=True).get()) == 1
    assert await in_database(Connection.objects.count) == 0


async def test_a_hub_without_sockets_is_drained_at_once(hub: Hub, turns: asyncio.Semaphore) -> None:
    await asyncio.wait_for(drain(asyncio.Event()), 5)


async def test_a_loop_without_a_hub_has_nothing_to_drain() -> None:
    await drain(asyncio.Event())
