"""The hub notices when the channel layer stops and resumes delivering messages."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from prometheus_client import REGISTRY

from notifications import broadcast
from notifications.database.lanes import in_database
from notifications.group_names import group_name
from notifications.hub import Hub
from notifications.hub.layer import probe
from notifications.hub.layer.probe import count_groups
from tests.hub.helpers import FICKLE, FickleLayer
from tests.peers import Peer, running_hub, until
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    FickleLayer.mood = "good"
    FickleLayer.calls.clear()
    async with running_hub(settings, FICKLE, LAYER_TIMEOUT=0.05, CHECK_INTERVAL_DOWN=7.0) as hub:
        yield hub


@pytest.fixture
async def peer() -> Peer:
    peer = await Peer.of(await in_database(make_user))
    await peer.connect()
    return peer


def is_up() -> bool:
    return REGISTRY.get_sample_value("notifications_layer_up") == 1


def beat_groups() -> list[str]:
    groups: dict[str, Any] = get_channel_layer("default").groups
    return [name for name, members in groups.items() if "beat" in name and members]


def lose_beats(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Drop all sent messages without an error; return the list of their groups."""
    lost: list[str] = []

    async def group_send(self: Any, group: str, message: dict[str, Any]) -> None:
        lost.append(group)

    monkeypatch.setattr(FickleLayer, "group_send", group_send)
    return lost


async def test_a_layer_that_delivers_beats_stays_up(hub: Hub, peer: Peer) -> None:
    for _ in range(3):
        await hub.maintain_groups()
    assert is_up()
    (group,) = beat_groups()
    assert FickleLayer.calls.count(("join", group)) == 1
    assert FickleLayer.calls.count(("send", group)) == 3


async def test_missing_beats_mark_the_layer_as_down_and_a_beat_as_up(
    hub: Hub, peer: Peer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await hub.maintain_groups()
    with monkeypatch.context() as patched:
        lost = lose_beats(patched)
        for _ in range(3):
            await hub.maintain_groups()
        assert len(lost) == 2 + 1 + 1, "only the first round asks twice"
        assert not is_up()
        assert hub.position_check.interval() == 7.0
    await hub.maintain_groups()
    assert is_up()
    assert hub.position_check.interval() == 3600.0
    texts = [record.message for record in caplog.records]
    assert texts == [
        "The channel layer is down (ProbeLost): delivery continues from the database, and groups "
        "will be rejoined.",
        "The channel layer is up again, and all groups are joined.",
    ]


async def test_one_lost_beat_is_tolerated(
    hub: Hub, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hub.maintain_groups()
    with monkeypatch.context() as patched:
        lost = lose_beats(patched)
        round_ = asyncio.create_task(hub.maintain_groups())
        await until(lambda: lost)
    await round_
    assert is_up()


async def test_lost_groups_are_joined_again(hub: Hub, peer: Peer) -> None:
    """As after a restart of Redis: no call fails, and no message arrives."""
    await hub.maintain_groups()
    get_channel_layer("default").groups.clear()
    await hub.maintain_groups()
    assert not is_up()
    await hub.maintain_groups()
    assert is_up()
    assert get_channel_layer("default").groups[group_name("broadcast")]
    await in_database(broadcast, "heard")
    await peer.wait_for("heard")


async def test_groups_lost_before_the_first_beat_are_joined_again(hub: Hub, peer: Peer) -> None:
    layer: Any = get_channel_layer("default")
    layer.groups.clear()  # the next beat does not reveal their loss
    await hub.maintain_groups()
    assert is_up()
    await hub.maintain_groups()
    assert layer.groups[group_name("broadcast")]


async def test_the_layer_is_up_only_when_all_groups_are_joined(
    hub: Hub, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    FickleLayer.mood = "raises"
    await hub.maintain_groups()
    FickleLayer.mood = "good"
    with monkeypatch.context() as patched:
        joined = FickleLayer.group_add

        async def group_add(self: Any, group: str, channel: str) -> None:
            if group == group_name("broadcast"):
                raise ConnectionError
            await joined(self, group, channel)

        patched.setattr(FickleLayer, "group_add", group_add)
        await hub.maintain_groups()
        assert not is_up()
    await hub.maintain_groups()
    assert is_up()


async def test_a_connect_does_not_wait_for_a_layer_that_is_down(hub: Hub, peer: Peer) -> None:
    FickleLayer.mood = "hangs"
    await hub.maintain_groups()
    FickleLayer.calls.clear()
    other = await Peer.of(await in_database(make_user, "other"))
    await other.connect()
    assert FickleLayer.calls == []


async def test_going_down_and_coming_back_start_the_position_check_at_once(
    hub: Hub, peer: Peer
) -> None:
    """The check interval is an hour here, so only these changes can have started the check."""
    FickleLayer.mood = "raises"
    await in_database(broadcast, "swallowed")
    await hub.maintain_groups()
    await peer.wait_for("swallowed")
    await in_database(broadcast, "swallowed too")
    FickleLayer.mood = "good"
    await hub.maintain_groups()
    await peer.wait_for("swallowed", "swallowed too")


async def test_a_hint_that_cannot_be_sent_marks_the_layer_as_down(hub: Hub, peer: Peer) -> None:
    await hub.maintain_groups()
    FickleLayer.mood = "raises"
    await in_database(broadcast, "swallowed")
    await peer.wait_for("swallowed")
    assert not is_up()


async def test_a_cancelled_receive_starts_again(
    hub: Hub, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    receive = FickleLayer.receive

    async def recorded(self: Any, channel: str) -> Any:
        steps.append("started")
        try:
            return await receive(self, channel)
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise

    monkeypatch.setattr(FickleLayer, "receive", recorded)
    await hub.maintain_groups()  # its message ends the call that is in progress
    await until(lambda: steps)
    hub.streams.groups.went_down(ConnectionError())
    await hub.streams.groups.reconnect()
    await until(lambda: steps[-2:] == ["cancelled", "started"])
    await hub.maintain_groups()
    assert is_up()


async def test_memberships_of_the_probe_are_renewed(
    hub: Hub, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hub.maintain_groups()
    (group,) = beat_groups()
    monkeypatch.setattr(probe, "MEMBERSHIP_TIME", 0.0)
    await hub.maintain_groups()
    assert FickleLayer.calls.count(("join", group)) == 2


@pytest.mark.parametrize(("hosts", "count"), [(None, 1), (["a"], 1), (["a", "b", "c"], 24)])
def test_beat_groups_are_counted_per_shard(
    settings: Any, hosts: list[str] | None, count: int
) -> None:
    config = {} if hosts is None else {"hosts": hosts}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": FICKLE, "CONFIG": config}}
    assert count_groups() == count
