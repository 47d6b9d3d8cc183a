"""The groups that a process joins in the channel layer."""

from typing import Any

import pytest
from channels.layers import get_channel_layer

from notifications import broadcast, notify
from notifications.database.lanes import in_database
from notifications.group_names import PRIVATE_STREAMS, group_name, layer_group
from notifications.hub import Hub
from tests.hub.helpers import FICKLE, peer_of
from tests.peers import running_hub
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)


async def test_groups_in_memory_do_not_grow_with_users(settings: Any) -> None:
    async with running_hub(settings):
        layer = get_channel_layer("default")
        await peer_of(await in_database(make_user, "first"))
        before = set(layer.groups)
        for number in range(5):
            await peer_of(await in_database(make_user, f"user {number}"))
        assert set(layer.groups) == before
        assert PRIVATE_STREAMS in before


async def test_hints_in_memory_reach_only_the_user_they_concern(settings: Any) -> None:
    one, other, absent = [await in_database(make_user, name) for name in ("one", "other", "absent")]
    async with running_hub(settings):  # whose position check does not run by itself
        peers = [await peer_of(user) for user in (one, other)]
        for user in (absent, one, other):
            await in_database(notify, user, f"for {user.username}")
        await peers[0].wait_for("for one")
        await peers[1].wait_for("for other")
        assert [len(peer.publications) for peer in peers] == [1, 1]


async def test_a_user_who_leaves_takes_no_hints_from_others(settings: Any) -> None:
    one, other = [await in_database(make_user, name) for name in ("one", "other")]
    async with running_hub(settings) as hub:
        leaving, staying = await peer_of(one), await peer_of(other)
        await leaving.end()
        await hub.streams.groups.sweep()
        assert f"user:{one.pk}" not in hub.streams.by_name
        await in_database(notify, other, "still here")
        await staying.wait_for("still here")


async def test_the_group_of_private_streams_in_memory_is_joined_once(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [await in_database(make_user, f"user {number}") for number in range(4)]
    async with running_hub(settings) as hub:
        for _ in range(2):  # the second one because the probe begins with joining everything again
            await hub.maintain_groups()
        layer = get_channel_layer("default")
        joins: list[str] = []
        join = layer.group_add

        async def counted(group: str, channel: str) -> None:
            joins.append(group)
            await join(group, channel)

        monkeypatch.setattr(layer, "group_add", counted)
        for user in users[:3]:
            await peer_of(user)
        assert joins.count(PRIVATE_STREAMS) == 0, "it was joined when the hub started"
        assert all(stream.is_joined for stream in hub.streams.by_name.values())
        # A layer that has lost its memberships is joined again.
        hub.streams.groups.rejoin_all()
        layer.groups.clear()
        await hub.maintain_groups()
        peer = await peer_of(users[3])
        assert joins.count(PRIVATE_STREAMS) == 1
        await in_database(notify, users[3], "still here")
        await peer.wait_for("still here")


async def test_users_have_groups_of_their_own_in_other_layers(settings: Any) -> None:
    user = await in_database(make_user, "someone")
    name = f"user:{user.pk}"
    async with running_hub(settings, FICKLE):
        await peer_of(user)
        assert layer_group(name) == group_name(name)
        assert group_name(name) in get_channel_layer("default").groups


async def test_streams_are_looked_at_for_their_groups_only_now_and_then(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearly always all groups are joined: looking at all streams each second is wasted."""
    sweeps: list[float] = []
    groups = hub.streams.groups
    sweep = groups.sweep

    async def record(linger: float) -> None:
        sweeps.append(linger)
        await sweep()

    monkeypatch.setattr(groups, "sweep", record)
    leaving, staying = await peer_of(await in_database(make_user, "other")), await peer_of(user)
    for _ in range(2):  # the second one because the probe begins with joining everything again
        await hub.maintain_groups()
    sweeps.clear()
    await leaving.end()
    for _ in range(3):
        await hub.maintain_groups()
    assert not sweeps
    monkeypatch.setattr(groups, "_sweep_at", 0.0)
    await hub.maintain_groups()
    assert len(sweeps) == 1
    assert len(hub.streams.by_name) == 2, "that of the user who is still connected, and broadcast"
    assert staying.closed is None


async def test_the_group_of_a_user_who_comes_back_at_once_is_neither_left_nor_joined_again(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await in_database(make_user, "someone")
    group = group_name(f"user:{user.pk}")
    async with running_hub(settings, FICKLE) as hub:
        groups = get_channel_layer("default").groups
        peer = await peer_of(user)
        stream = hub.streams.by_name[f"user:{user.pk}"]
        await peer.end()
        for _ in range(2):
            monkeypatch.setattr(hub.streams.groups, "_sweep_at", 0.0)
            await hub.maintain_groups()
            assert group in groups
        peer = await peer_of(user)
        assert hub.streams.by_name[f"user:{user.pk}"] is stream
        await in_database(notify, user, "welcome back")
        await peer.wait_for("welcome back")
        await peer.end()
        await hub.maintain_groups()
        monkeypatch.setattr("notifications.hub.layer.groups.LINGER", 0.0)
        monkeypatch.setattr(hub.streams.groups, "_sweep_at", 0.0)
        await hub.maintain_groups()
        assert group not in groups
        assert f"user:{user.pk}" not in hub.streams.by_name


async def test_a_missing_group_is_joined_in_the_next_round(hub: Hub, user: Any) -> None:
    """The position check has found a publication that no hint announced."""
    await peer_of(user)
    for _ in range(2):
        await hub.maintain_groups()
    stream = hub.streams.by_name["broadcast"]
    del get_channel_layer("default").groups[group_name("broadcast")]
    await in_database(broadcast, "unheard")
    await hub.position_check.run()
    assert not stream.is_joined
    await hub.maintain_groups()
    assert stream.is_joined
    assert group_name("broadcast") in get_channel_layer("default").groups
