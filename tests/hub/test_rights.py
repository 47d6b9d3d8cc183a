"""The rights of a connection follow the database while it is open (P6)."""

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.db.backends.utils import CursorWrapper

from notifications import broadcast, inbox, notify
from notifications.connect.authentication import active_users
from notifications.connect.sessions import session_digest
from notifications.database.lanes import CHECK, RIGHTS, in_database
from notifications.hub import Hub, position_check, verdicts
from notifications.inbox.announcing import MAX_CHANNELS
from notifications.models import Connection, Subscription
from notifications.streams import subscriptions
from notifications.streams.rights import changed
from tests.hub.helpers import peer_of, silently
from tests.peers import Peer, log_in, rest, running_hub, until
from tests.rooms import make_user

pytestmark = pytest.mark.django_db(transaction=True)


async def make_group(name: str = "crew", *members: Any) -> Group:
    def make() -> Group:
        group = Group.objects.create(name=name)
        for member in members:
            member.groups.add(group)
        return group

    return await in_database(make)


def recorded_checks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect the arguments of all further checks of rights."""
    checks: list[Any] = []
    run = RIGHTS.run

    async def record(*args: Any) -> Any:
        checks.append(args)
        return await run(*args)

    monkeypatch.setattr(RIGHTS, "run", record)
    return checks


# Groups


async def test_joining_a_group_subscribes_and_leaving_it_unsubscribes(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    group = await make_group()
    name = f"group:{group.pk}"
    await in_database(user.groups.add, group)
    await until(lambda: peer.subscribed == [name])
    await in_database(broadcast, "to the crew", to=group)
    await peer.wait_for("to the crew")
    await in_database(user.groups.remove, group)
    await until(lambda: peer.unsubscribed == [name])
    await in_database(broadcast, "without you", to=group)
    await in_database(broadcast, "for all")
    await peer.wait_for("to the crew", "for all")
    assert not peer.violations


async def test_the_position_check_finds_a_change_without_a_hint(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    group = await make_group()
    await silently(user.groups.add, group)
    await rest()
    assert not peer.subscribed
    await hub.position_check.run()
    await until(lambda: peer.subscribed == [f"group:{group.pk}"])


async def test_all_users_are_checked_periodically(hub: Hub, user: Any) -> None:
    """This finds changes without ``m2m_changed``, such as deleted rows of the through table."""
    group = await make_group("crew", user)
    peer = await peer_of(user)
    through = type(user).groups.through
    await in_database(lambda: through.objects.all().delete())
    await hub.rights.check_all()
    await until(lambda: peer.unsubscribed == [f"group:{group.pk}"])


async def test_a_publication_during_subscribing_arrives(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    group = await make_group()
    join = hub.streams.join

    async def late(*args: Any) -> Any:
        await in_database(broadcast, "in between", to=group)
        return await join(*args)

    monkeypatch.setattr(hub.streams, "join", late)
    await in_database(user.groups.add, group)
    await peer.wait_for("in between")


async def test_a_topic_subscribed_during_a_check_is_kept(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    found, go_on = asyncio.Event(), asyncio.Event()
    original = RIGHTS.run

    async def slow(function: Any, *args: Any) -> Any:
        result = await original(function, *args)
        found.set()
        await go_on.wait()
        return result

    monkeypatch.setattr(RIGHTS, "run", slow)
    look = asyncio.create_task(hub.rights.check_all())
    await found.wait()
    assert "subscribe" in await peer.call(subscribe={"channel": "topic:news"})
    go_on.set()
    await look
    await rest()
    assert not peer.unsubscribed
    await in_database(broadcast, "news", to="topic:news")
    await peer.wait_for("news")


async def test_a_blocked_socket_does_not_delay_the_rights_of_others(hub: Hub, user: Any) -> None:
    other = await in_database(make_user, "other")
    blocked, free = await peer_of(user), await peer_of(other)
    blocked.block()
    await in_database(notify, user, "fills the socket")
    await until(lambda: blocked.connection(hub).is_blocked)
    group = await make_group("crew", user, other)
    await until(lambda: free.subscribed == [f"group:{group.pk}"])
    await asyncio.wait_for(hub.rights.check_all(), 5)
    assert blocked.closed is None
    blocked.unblock()
    await until(lambda: blocked.titles == ["fills the socket"])
    await hub.rights.check_all()
    await until(lambda: blocked.subscribed == [f"group:{group.pk}"])


# Users and sessions


async def test_a_deactivated_user_is_disconnected_for_good(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    user.is_active = False
    await in_database(user.save)
    assert await peer.wait_closed() == 3503


async def test_a_deleted_user_is_disconnected_for_good(hub: Hub, user: Any) -> None:
    peer, bystander = await peer_of(user), await peer_of(await in_database(make_user, "other"))
    await in_database(user.delete)
    await hub.position_check.run()
    assert await peer.wait_closed() in {3010, 3503}
    assert bystander.closed is None


async def test_a_logout_closes_only_the_connections_of_its_session(hub: Hub, user: Any) -> None:
    keys = [await in_database(log_in, user) for _ in range(2)]
    gone, kept = Peer(cookie=f"sessionid={keys[0]}"), Peer(cookie=f"sessionid={keys[1]}")
    by_token = await peer_of(user)
    for peer in (gone, kept):
        await peer.connect()
    # The digest alone identifies the session, which still exists when the signal is sent.
    await in_database(changed, [user.pk], session=session_digest(keys[0]))
    assert await gone.wait_closed() == 3011
    await rest()
    assert kept.closed is None
    assert by_token.closed is None


async def test_a_deleted_session_closes_its_connections(hub: Hub, user: Any) -> None:
    key = await in_database(log_in, user)
    peer, by_token = Peer(cookie=f"sessionid={key}"), await peer_of(user)
    await peer.connect()
    await in_database(lambda: Session.objects.filter(session_key=key).delete())
    await hub.rights.check_all()
    assert await peer.wait_closed() == 3011
    assert by_token.closed is None
    await peer.ended()
    assert await (await peer.open()).error(connect={}) == 101


async def test_a_changed_password_ends_sessions_and_tokens(hub: Hub, user: Any) -> None:
    key = await in_database(log_in, user)
    by_session, by_token = Peer(cookie=f"sessionid={key}"), await peer_of(user)
    await by_session.connect()
    user.set_password("another")
    await in_database(user.save)
    assert await by_session.wait_closed() == 3011
    assert await by_token.wait_closed() == 3500


async def test_an_administrator_disconnects_one_connection(hub: Hub, user: Any) -> None:
    chosen, other = await peer_of(user), await peer_of(user)
    await hub.flush()
    client = chosen.connection(hub).client
    await in_database(lambda: Connection.objects.filter(pk=client).update(closing=True))
    await in_database(changed, [user.pk])
    assert await chosen.wait_closed() == 3503
    assert other.closed is None


async def test_rights_that_change_during_a_connect_are_noticed(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await Peer.of(user)
    await peer.open()
    resume = hub.resume

    async def late(item: Any, deadline: float) -> Any:
        resumed = await resume(item, deadline)
        user.is_active = False
        await in_database(user.save)
        await rest()
        return resumed

    monkeypatch.setattr(hub, "resume", late)
    peer.ask(connect=peer.connect_request())
    assert await peer.wait_closed() == 3503


# Muting and read state


async def test_a_muted_stream_is_not_pushed_until_it_is_unmuted(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    await peer.rpc("mute", channel="broadcast", muted=True)
    await until(lambda: peer.unsubscribed == ["broadcast"])
    await in_database(broadcast, "silent")
    await peer.rpc("mute", channel="broadcast", muted=False)
    await until(lambda: peer.subscribed == ["broadcast"])
    await in_database(broadcast, "loud")
    await peer.wait_for("loud")
    assert not peer.violations


async def test_hints_reach_a_user_who_has_muted_the_private_stream(hub: Hub, user: Any) -> None:
    peer, other = await peer_of(user), await peer_of(user)
    name = f"user:{user.pk}"
    await peer.rpc("mute", channel=name, muted=True)
    await until(lambda: peer.unsubscribed == other.unsubscribed == [name])
    await hub.streams.groups.sweep()
    await peer.rpc("mute", channel=name, muted=False)
    await until(lambda: peer.subscribed == other.subscribed == [name])
    user.is_active = False
    await peer.rpc("mute", channel=name, muted=True)
    await in_database(user.save)
    assert await peer.wait_closed() == 3503
    assert await other.wait_closed() == 3503


async def test_read_state_is_pushed_only_to_the_other_connections(hub: Hub, user: Any) -> None:
    reading, other = await peer_of(user), await peer_of(user)
    (pk,) = await in_database(notify, user, "one")
    await other.wait_for("one")
    assert await reading.rpc("read", ids=[pk]) == {"ids": [pk], "unread": 0}
    await until(lambda: other.messages)
    tops = {f"user:{user.pk}": 1, "broadcast": 0}
    assert other.messages[0] == {"type": "read", "ids": [pk], "unread": 0, "tops": tops}
    await rest()
    assert not reading.messages


async def test_a_change_is_pushed_once_and_causes_no_check(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``sync`` after each change would make every other device reload its list."""
    monkeypatch.setattr(position_check, "GRACE", 0.0)
    checks = recorded_checks(monkeypatch)
    reading, other = await peer_of(user), await peer_of(user)
    ids = await in_database(lambda: [pk for n in range(4) for pk in notify(user, f"{n}")])
    await other.wait_for("0", "1", "2", "3")
    await reading.rpc("read", ids=ids[:1])
    await reading.rpc("unread", ids=ids[:1])
    await in_database(inbox.archive, user, ids[1:2])
    await in_database(inbox.read_all, user)
    await until(lambda: len(other.messages) == 4)
    await hub.position_check.run()
    await rest()
    kinds = ["read", "unread", "archive", "read_all"]
    assert [message["type"] for message in other.messages] == kinds
    assert [message["unread"] for message in other.messages] == [3, 4, 3, 0]
    assert [message["type"] for message in reading.messages] == kinds[2:]
    everything = {f"user:{user.pk}": 4, "broadcast": 0}
    assert other.messages[-1]["marks"] == other.messages[-1]["tops"] == everything
    assert not checks


async def test_a_count_comes_with_the_offsets_that_it_covers(hub: Hub, user: Any) -> None:
    """With them, a client knows which publications to add, and requests no other count."""
    reading, other = await peer_of(user), await peer_of(user)
    name = f"user:{user.pk}"
    (first,) = await in_database(notify, user, "one")
    await in_database(broadcast, "for all")
    await in_database(subscriptions.mute, user.pk, "broadcast", True)
    await reading.rpc("read", ids=[first])
    await in_database(notify, user, "two")
    await other.wait_for("one", "for all", "two")
    (told,) = [message for message in other.messages if message["type"] == "read"]
    assert (told["unread"], told["tops"]) == (0, {name: 1})


async def test_offsets_of_very_many_channels_are_left_out(hub: Hub, user: Any) -> None:
    other = await peer_of(user)
    (pk,) = await in_database(notify, user, "one")
    for number in range(MAX_CHANNELS - 1):
        await make_group(f"{number}", user)
    await in_database(inbox.mark_read, user, [pk])
    await in_database(inbox.read_all, user)
    await until(lambda: [message["type"] for message in other.messages][-1:] == ["read_all"])
    assert other.messages[-1] == {"type": "read_all", "ids": [], "unread": 0}


async def test_a_change_pushed_during_the_position_check_causes_no_check_of_rights(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(position_check, "GRACE", 0.0)
    checks = recorded_checks(monkeypatch)
    peer = await peer_of(user)
    (pk,) = await in_database(notify, user, "one")
    run = CHECK.run

    async def slow(function: Any, *args: Any) -> Any:
        found = await run(function, *args)
        await in_database(inbox.mark_read, user, [pk])
        await until(lambda: peer.messages)
        return found

    monkeypatch.setattr(CHECK, "run", slow)
    await hub.position_check.run()
    monkeypatch.setattr(CHECK, "run", run)
    await hub.position_check.run()
    await rest()
    assert [message["type"] for message in peer.messages] == ["read"]
    assert not checks


async def test_a_change_pushed_during_a_check_is_not_reverted(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    (pk,) = await in_database(notify, user, "one")
    run = RIGHTS.run

    async def slow(function: Any, *args: Any) -> Any:
        found = await run(function, *args)
        await in_database(inbox.mark_read, user, [pk])
        await until(lambda: peer.messages)
        return found

    monkeypatch.setattr(RIGHTS, "run", slow)
    hub.rights.suspect(f"user:{user.pk}")
    await until(lambda: hub.rights.is_idle)
    assert [message["type"] for message in peer.messages] == ["read"]


async def test_the_position_check_makes_up_for_a_lost_hint_of_a_read(hub: Hub, user: Any) -> None:
    peer = await peer_of(user)
    (pk,) = await in_database(notify, user, "one")
    await peer.wait_for("one")
    await silently(inbox.mark_read, user, [pk])
    await hub.position_check.run()
    await until(lambda: peer.messages == [{"type": "sync", "ids": [], "unread": 0}])


async def test_an_unread_count_missed_by_a_blocked_socket_is_pushed_later(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await peer_of(user)
    connection = peer.connection(hub)
    peer.block()
    (pk,) = await in_database(notify, user, "one")
    await until(lambda: connection.is_blocked)
    await silently(inbox.mark_read, user, [pk])
    checks = recorded_checks(monkeypatch)
    await hub.position_check.run()
    await until(lambda: checks and hub.rights.is_idle)
    assert connection.unread is None, "it has not been told"
    peer.unblock()
    await until(lambda: not connection.is_blocked)
    hub.rights.check_user(user.pk)
    await until(lambda: peer.messages == [{"type": "sync", "ids": [], "unread": 0}])


async def test_a_count_is_pushed_when_a_topic_is_forbidden_or_allowed(
    settings: Any, user: Any
) -> None:
    """The permission changes without a signal, and with it the count."""
    denied.clear()
    async with running_hub(settings, TOPIC_PERMISSION=f"{__name__}.not_denied") as hub:
        for name in ("topic:a", "topic:b"):
            await in_database(subscriptions.join, [user.pk], name)
            await in_database(broadcast, name, to=name)
        peer = await Peer.of(user)
        assert (await peer.connect())["data"]["unread"] == 2
        await in_database(notify, user, "of which the hub keeps no count")
        await peer.wait_for("of which the hub keeps no count")
        await hub.rights.check_all()
        assert peer.messages == []
        for forbidden, count in ({"a"}, 2), ({"a", "b"}, 1), (set(), 3):
            denied.clear()
            denied.update(forbidden)
            await hub.rights.check_all()
            await until(lambda: peer.messages, "a sync")
            assert peer.messages == [{"type": "sync", "ids": [], "unread": count}]
            assert (await (await Peer.of(user)).connect())["data"]["unread"] == count
            assert (await peer.rpc("inbox", folder="unread"))["unread"] == count
            assert len((await peer.rpc("inbox", folder="unread"))["entries"]) == count
            assert await in_database(inbox.unread_count, user) == count
            peer.messages.clear()


denied: set[str] = set()


def not_denied(user: Any, slug: str) -> bool:
    return slug not in denied


# The database


async def test_a_check_that_fails_is_repeated_and_reported_once(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await peer_of(user)
    failures = [OSError(), OSError()]

    def fickle(user_ids: Any) -> Any:
        if failures:
            raise failures.pop()
        return active_users(user_ids)

    async def quickly(seconds: float, sleep: Any = asyncio.sleep) -> None:
        await sleep(min(seconds, 0.01))

    monkeypatch.setattr(asyncio, "sleep", quickly)
    monkeypatch.setattr(verdicts, "active_users", fickle)
    user.is_active = False
    await in_database(user.save)
    assert await peer.wait_closed() == 3503
    assert sum("Checking rights failed" in record.message for record in caplog.records) == 1


async def test_a_user_who_cannot_be_checked_does_not_affect_others(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    users = [user, *[await in_database(make_user, f"user {number}") for number in range(5)]]
    peers = [await peer_of(one) for one in users]
    spoiled = users[2].pk

    def refusing(user_ids: Any) -> Any:
        if spoiled in user_ids:
            raise ValueError("a user who cannot be read")
        return active_users(user_ids)

    with monkeypatch.context() as patched:
        patched.setattr(verdicts, "active_users", refusing)
        await in_database(lambda: type(user).objects.update(is_active=False))
        await hub.rights.check_all()
        for number, peer in enumerate(peers):
            if users[number].pk != spoiled:
                assert await peer.wait_closed() == 3503
        assert peers[2].closed is None
    await hub.rights.check_all()
    assert await peers[2].wait_closed() == 3503
    assert sum("Checking rights failed" in record.message for record in caplog.records) == 1


async def test_checking_many_users_takes_few_queries(hub: Hub, user: Any) -> None:
    users = [user, *[await in_database(make_user, f"user {number}") for number in range(20)]]
    for one in users:
        await peer_of(one)
    assert await in_database(Subscription.objects.count) >= 2 * len(users)
    count = 0
    original = CursorWrapper.execute

    def execute(self: Any, sql: Any, params: Any = None) -> Any:
        nonlocal count
        count += 1
        return original(self, sql, params)

    CursorWrapper.execute = execute  # type: ignore[method-assign]
    try:
        await hub.rights.check_all()
    finally:
        CursorWrapper.execute = original  # type: ignore[method-assign]
    assert count <= 12
