"""Rights that change during a connect: the outdated ones give no access (P6)."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session

from notifications import broadcast, inbox
from notifications.database.lanes import CONNECTS, in_database
from notifications.hub import Hub
from notifications.streams import rights
from tests.peers import Peer, log_in, until
from tests.rooms import hints

pytestmark = pytest.mark.django_db(transaction=True)

#: The call of a connect after which the change is made, and whether its hints arrive. The first
#: call is made for a session only.
MOMENTS = [
    (moment, told) for moment in ("admit_callers", "join", "resume") for told in ("with", "without")
]


async def peer_of(user: Any, moment: tuple[str, str]) -> Peer:
    if moment[0] != "admit_callers":
        return await Peer.of(user)
    return Peer(cookie=f"sessionid={await in_database(log_in, user)}")


def behind(
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    moment: tuple[str, str],
    change: Callable[[], object],
) -> None:
    """Make ``change`` once, right after a call of the next connect."""
    name, told = moment
    owner = hub.streams if name == "join" else hub
    original = getattr(owner, name)

    def work() -> None:
        if told == "with":
            change()
            return
        with hints():
            change()

    async def call(*arguments: Any) -> Any:
        result = await original(*arguments)
        monkeypatch.setattr(owner, name, original)
        await CONNECTS.run(work)
        return result

    monkeypatch.setattr(owner, name, call)


async def try_to_connect(peer: Peer) -> dict[str, Any]:
    """Return the reply to ``connect``, empty if the socket was closed instead."""
    await peer.open()
    command = peer.ask(connect=peer.connect_request())
    await until(lambda: command in peer.replies or peer.closed is not None)
    return peer.replies.get(command, {})


@pytest.mark.parametrize("moment", MOMENTS, ids="-".join)
async def test_a_deactivated_user_is_disconnected(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, moment: tuple[str, str]
) -> None:
    def deactivate() -> None:
        user.is_active = False
        user.save()

    peer = await peer_of(user, moment)
    behind(hub, monkeypatch, moment, deactivate)
    await try_to_connect(peer)
    await hub.position_check.run()
    assert await peer.wait_closed() in (3011, 3500, 3503)
    await until(lambda: not hub.connections.all)


@pytest.mark.parametrize("moment", MOMENTS, ids="-".join)
async def test_a_changed_password_disconnects_the_user(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, moment: tuple[str, str]
) -> None:
    def change() -> None:
        user.set_password("another")
        user.save()

    peer = await peer_of(user, moment)
    behind(hub, monkeypatch, moment, change)
    reply = await try_to_connect(peer)
    await hub.position_check.run()
    if "error" in reply:  # the token was out of date when its user was read
        assert (moment[0], reply["error"]["code"]) == ("join", 109)
        assert not hub.connections.all
    else:
        assert await peer.wait_closed() in (3011, 3500)


@pytest.mark.parametrize("moment", MOMENTS, ids="-".join)
async def test_a_logged_out_user_is_disconnected(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, moment: tuple[str, str]
) -> None:
    key = await in_database(log_in, user)

    def log_out() -> None:
        Session.objects.all().delete()
        rights.changed([user.pk])

    peer = Peer(cookie=f"sessionid={key}")
    behind(hub, monkeypatch, moment, log_out)
    await try_to_connect(peer)
    await hub.position_check.run()
    assert await peer.wait_closed() == 3011


@pytest.mark.parametrize("moment", MOMENTS, ids="-".join)
async def test_a_user_who_leaves_a_group_does_not_read_its_stream(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, moment: tuple[str, str]
) -> None:
    group = await in_database(Group.objects.create, name="crew")
    await in_database(user.groups.add, group)
    name = f"group:{group.pk}"
    peer = await peer_of(user, moment)
    behind(hub, monkeypatch, moment, lambda: user.groups.remove(group))
    await try_to_connect(peer)
    await hub.position_check.run()
    await until(lambda: name not in peer.connection(hub).readers)
    await in_database(broadcast, "for the crew", to=group)
    await in_database(broadcast, "for all")
    await peer.wait_for("for all")
    await peer.end()


@pytest.mark.parametrize("moment", MOMENTS, ids="-".join)
async def test_a_user_who_joins_a_group_reads_its_stream(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, moment: tuple[str, str]
) -> None:
    group = await in_database(Group.objects.create, name="crew")
    peer = await peer_of(user, moment)
    behind(hub, monkeypatch, moment, lambda: user.groups.add(group))
    await try_to_connect(peer)
    await in_database(broadcast, "for the crew", to=group)
    await hub.position_check.run()
    await peer.wait_for("for the crew")
    assert not peer.violations
    await peer.end()


async def test_changes_are_found_through_a_muted_private_stream(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change sends no hints, as in a process without the channel layer."""
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
    await hub.position_check.run()
    assert await peer.wait_closed() == 3503
