"""Users for whom nothing has changed are not checked in full, and every change is noticed (P6)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.db import DataError
from django.utils import timezone

from notifications.database.lanes import in_database
from notifications.hub import Hub, grounds, rights, verdicts
from notifications.hub.grounds import read_grounds
from notifications.hub.rights_rounds import PARTS, RightsRounds
from notifications.models import Connection, Subscription
from tests.hub.helpers import counted_statements, peer_of, silently
from tests.peers import Peer, log_in, running_hub, until
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The users about whom a verdict was sought."""
    users: list[Any] = []

    def find(user_ids: list[Any], *args: Any) -> verdicts.Findings:
        users.extend(user_ids)
        return verdicts.find(user_ids, *args)

    monkeypatch.setattr(rights, "find", find)
    return users


async def one_round(hub: Hub) -> None:
    rounds = RightsRounds(hub.connections, hub.rights)
    for _ in range(PARTS):
        await rounds.check_part()
    await until(lambda: hub.rights.is_idle)


async def settle(hub: Hub, checked: list[Any]) -> None:
    """Check until no user has anything new."""
    for _ in range(4):
        checked.clear()
        await one_round(hub)
    assert not checked


async def with_session(user: Any) -> Peer:
    key = await in_database(log_in, user)
    peer = Peer(cookie=f"sessionid={key}")
    await peer.connect()
    return peer


async def test_users_are_checked_in_two_rounds_after_they_connect_and_then_rest(
    hub: Hub, user: Any, checked: list[Any]
) -> None:
    """Two, because a replica may lag behind in the first one."""
    for connect in (peer_of, with_session):
        await connect(user)
        for count in (1, 1, 0):
            checked.clear()
            await one_round(hub)
            assert len(checked) == count


async def test_resting_users_take_as_many_statements_however_many_there_are(
    hub: Hub, checked: list[Any]
) -> None:
    used: list[int] = []
    for number in range(100):
        await peer_of(await in_database(make_user, f"user {number}"))
        if number in (9, 99):
            await settle(hub, checked)
            with counted_statements("") as statements:
                await hub.rights.check_changed(list(hub.connections.by_user))
            used.append(len(statements))
    assert used == [1, 1]
    assert not checked


def change(**values: Any) -> Callable[[Any], object]:
    return lambda user: get_user_model().objects.filter(pk=user.pk).update(**values)


def mute(user: Any) -> object:
    return Subscription.objects.filter(user=user, stream__name="broadcast").update(muted=True)


def leave_group(user: Any) -> object:
    return type(user).groups.through.objects.filter(user=user).delete()


def join_group(user: Any) -> object:
    return type(user).groups.through.objects.create(user=user, group=Group.objects.get(name="new"))


def end_sessions(user: Any) -> object:
    return Session.objects.all().delete()


def expire_sessions(user: Any) -> object:
    return Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))


def disconnect(user: Any) -> object:
    return Connection.objects.filter(user=user).update(closing=True)


def expire_connections(user: Any) -> object:
    expired = timezone.now() - timedelta(hours=1)
    return Connection.objects.filter(user=user).update(expires_at=expired)


@pytest.mark.parametrize(
    ("alter", "shows"),
    [
        (change(is_active=False), lambda peer: peer.closed == 3503),
        (change(password="another"), lambda peer: peer.closed == 3011),
        (change(is_staff=True), lambda peer: peer.subscribed == ["staff"]),
        (lambda user: user.delete(), lambda peer: peer.closed == 3503),
        (mute, lambda peer: peer.unsubscribed == ["broadcast"]),
        (leave_group, lambda peer: len(peer.unsubscribed) == 1),
        (join_group, lambda peer: len(peer.subscribed) == 1),
        (end_sessions, lambda peer: peer.closed == 3011),
        (expire_sessions, lambda peer: peer.closed == 3011),
        (disconnect, lambda peer: peer.closed == 3503),
        (expire_connections, lambda peer: peer.closed == 3005),
    ],
)
async def test_p6_a_change_that_nothing_announces_is_noticed_in_one_round(
    hub: Hub,
    user: Any,
    checked: list[Any],
    alter: Callable[[Any], object],
    shows: Callable[[Peer], bool],
) -> None:
    def prepare() -> None:
        user.groups.add(Group.objects.create(name="old"))
        Group.objects.create(name="new")

    await in_database(prepare)
    others = [await peer_of(await in_database(make_user, f"user {number}")) for number in range(3)]
    peer = await with_session(user)
    await hub.flush()
    await settle(hub, checked)
    pk = user.pk  # deleting the user unsets it
    await silently(alter, user)
    await one_round(hub)
    await until(lambda: shows(peer))
    assert set(checked) == {pk}
    assert not any(other.is_gone or other.closed for other in others)


async def test_p6_what_is_changed_and_changed_back_during_a_check_is_noticed(
    hub: Hub, user: Any, checked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict saw a state that was neither there before nor afterwards."""
    await in_database(mute, user)
    peer = await peer_of(user)
    await settle(hub, checked)
    find = verdicts.find

    def find_in_between(user_ids: list[Any], *args: Any) -> verdicts.Findings:
        before = read_grounds(user_ids, [])
        Subscription.objects.update(muted=False)
        found = find(user_ids, *args)
        mute(user)
        return found._replace(grounds=before)

    with monkeypatch.context() as patched:
        patched.setattr(rights, "find", find_in_between)
        await hub.rights.check_all()
    await until(lambda: peer.subscribed == ["broadcast"])
    await one_round(hub)
    await until(lambda: peer.unsubscribed == ["broadcast"])


async def test_p6_users_whose_state_the_project_computes_are_always_checked(
    hub: Hub, user: Any, checked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    await settle(hub, checked)
    banned: set[Any] = set()
    is_active = property(lambda self: self.pk not in banned, lambda self, value: None)
    monkeypatch.setattr(type(user), "is_active", is_active)
    await one_round(hub)
    assert peer.closed is None
    banned.add(user.pk)
    await one_round(hub)
    assert await peer.wait_closed() == 3503


async def test_p6_users_whose_session_hash_the_project_computes_are_always_checked(
    hub: Hub, user: Any, checked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await with_session(user)
    await settle(hub, checked)
    known = user.get_session_auth_hash()
    hashes = [known]
    monkeypatch.setattr(type(user), "get_session_auth_hash", lambda self: hashes[-1])
    await one_round(hub)
    assert peer.closed is None
    hashes.append("another")
    await one_round(hub)
    assert await peer.wait_closed() == 3011


async def test_p6_topics_of_a_function_of_the_host_are_asked_about_in_every_round(
    settings: Any, user: Any
) -> None:
    permission = f"{__name__}.may_read"
    allowed.clear()
    allowed.add("news")
    async with running_hub(settings, TOPIC_PERMISSION=permission) as hub:
        peer = await peer_of(user)
        assert "subscribe" in await peer.call(subscribe={"channel": "topic:news"})
        for _ in range(4):
            await one_round(hub)
        assert not peer.unsubscribed
        allowed.clear()
        await one_round(hub)
        await until(lambda: peer.unsubscribed == ["topic:news"])


async def test_p6_channels_of_a_function_of_the_host_are_asked_about_in_every_round(
    settings: Any, user: Any
) -> None:
    namespaces = {"chat": {"subscribe": f"{__name__}.may_read"}}
    allowed.clear()
    allowed.add("chat:7")
    async with running_hub(settings, NAMESPACES=namespaces) as hub:
        peer = await peer_of(user)
        assert "subscribe" in await peer.call(subscribe={"channel": "chat:7"})
        for _ in range(4):
            await one_round(hub)
        assert not peer.unsubscribed
        allowed.clear()
        await one_round(hub)
        await until(lambda: any("unsubscribe" in push for push in peer.pushes))


async def test_users_are_checked_if_what_their_rights_rest_on_cannot_be_read(
    hub: Hub, user: Any, checked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    await settle(hub, checked)

    def fail(*args: Any) -> None:
        raise DataError

    monkeypatch.setattr(grounds, "_read_users", fail)
    await in_database(change(is_active=False), user)
    await one_round(hub)
    assert await peer.wait_closed() == 3503


#: What :func:`may_read` allows.
allowed: set[str] = set()


def may_read(user: Any, name: str) -> bool:
    return name in allowed
