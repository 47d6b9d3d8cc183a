"""Rights that change in the middle of a connect: nobody gets in by what was true before (P6)."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session

from notifications import broadcast, inbox
from notifications.database.lanes import CONNECTS, in_database
from notifications.hub import Hub
from notifications.streams import rights
from tests.peers import Peer, log_in, running_hub, until
from tests.rooms import hints, make_user

pytestmark = pytest.mark.django_db(transaction=True)

#: Calls of a connect behind which the change comes, and whether its hints arrive.
MOMENTS = [(moment, told) for moment in ("admit_callers", "resume") for told in ("with", "without")]


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    async with running_hub(settings) as running:
        yield running


@pytest.fixture
async def user() -> Any:
    return await in_database(make_user)


def behind(
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    moment: tuple[str, str],
    change: Callable[[], object],
) -> None:
    """Let ``change`` happen once, right behind a call of the next connect."""
    name, told = moment
    original = getattr(hub, name)

    def work() -> None:
        if told == "with":
            change()
            return
        with hints():
            change()

    async def call(item: Any) -> Any:
        result = await original(item)
        monkeypatch.setattr(hub, name, original)
        await CONNECTS.run(work)
        return result

    monkeypatch.setattr(hub, name, call)


async def try_to_connect(peer: Peer) -> None:
    await peer.open()
    command = peer.ask(connect=peer.connect_request())
    await until(lambda: command in peer.replies or peer.closed is not None)


@pytest.mark.parametrize("moment", MOMENTS, ids="-".join)
async def test_who_is_deactivated_does_not_read_on(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, moment: tuple[str, str]
) -> None:
    def deactivate() -> None:
        user.is_active = False
        user.save()

    peer = await Peer.of(user)
    behind(hub, monkeypatch, moment, deactivate)
    await try_to_connect(peer)
    await hub.check()
    assert await peer.wait_closed() in (3011, 3503)
    await until(lambda: not hub.connections.all)


@pytest.mark.parametrize("moment", MOMENTS, ids="-".join)
async def test_who_gets_another_password_has_to_come_back(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, moment: tuple[str, str]
) -> None:
    def change() -> None:
        user.set_password("another")
        user.save()

    peer = await Peer.of(user)
    behind(hub, monkeypatch, moment, change)
    await try_to_connect(peer)
    await hub.check()
    assert await peer.wait_closed() in (3011, 3500)


@pytest.mark.parametrize("moment", MOMENTS, ids="-".join)
async def test_who_logs_out_does_not_read_on(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, moment: tuple[str, str]
) -> None:
    key = await in_database(log_in, user)

    def log_out() -> None:
        Session.objects.all().delete()
        rights.changed([user.pk])

    peer = Peer(cookie=f"sessionid={key}")
    behind(hub, monkeypatch, moment, log_out)
    await try_to_connect(peer)
    await hub.check()
    assert await peer.wait_closed() == 3011


@pytest.mark.parametrize("moment", MOMENTS, ids="-".join)
async def test_who_leaves_a_group_does_not_read_it(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, moment: tuple[str, str]
) -> None:
    group = await in_database(Group.objects.create, name="crew")
    await in_database(user.groups.add, group)
    name = f"group:{group.pk}"
    peer = await Peer.of(user)
    behind(hub, monkeypatch, moment, lambda: user.groups.remove(group))
    await try_to_connect(peer)
    await hub.check()
    await until(lambda: name not in peer.connection(hub).readers)
    await in_database(broadcast, "for the crew", to=group)
    await in_database(broadcast, "for all")
    await peer.wait_for("for all")
    await peer.end()


@pytest.mark.parametrize("moment", MOMENTS, ids="-".join)
async def test_who_joins_a_group_reads_it(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, moment: tuple[str, str]
) -> None:
    group = await in_database(Group.objects.create, name="crew")
    peer = await Peer.of(user)
    behind(hub, monkeypatch, moment, lambda: user.groups.add(group))
    await try_to_connect(peer)
    await in_database(broadcast, "for the crew", to=group)
    await hub.check()
    await peer.wait_for("for the crew")
    assert not peer.violations
    await peer.end()


async def test_a_muted_own_stream_tells_of_changes_too(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without hints, as from a process that shares no layer."""
    first = await Peer.of(user)
    await first.connect()
    await first.end()
    await in_database(inbox.mute, user, f"user:{user.pk}")
    peer = await Peer.of(user)
    await peer.connect()
    assert list(peer.positions) == ["broadcast"]

    def deactivate() -> None:
        user.is_active = False
        with hints():
            user.save()

    await in_database(deactivate)
    await hub.check()
    assert await peer.wait_closed() == 3503
