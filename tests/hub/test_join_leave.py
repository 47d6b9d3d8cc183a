"""Joins and leaves: who is told of them, and how many at most."""

import asyncio
from collections.abc import AsyncIterator
from json import loads
from typing import Any

import pytest

from notifications.database.lanes import in_database
from notifications.hub import Connection, Hub
from notifications.hub.join_leave import CHANNEL_BURST, MAX_TOLD, MAX_WAITING
from notifications.metrics import JOINS_DROPPED
from notifications.models import Worker
from notifications.protocol import messages
from notifications.protocol.bucket import Bucket
from notifications.protocol.messages import ClientInfo
from notifications.streams.members import members_to_announce
from tests.hub.helpers import peer_of
from tests.hub.test_members import dead_worker
from tests.peers import Peer, rest, running_hub, until
from tests.rooms import hints, make_user

pytestmark = pytest.mark.django_db(transaction=True)

#: Names of users who may not see presence in ``moody:``.
blind: set[str] = set()


def may_see(user: Any, channel: str) -> bool:
    """A right of the host whose answer the tests change."""
    return user.username not in blind


NAMESPACES = {
    "told": {"presence": "authenticated", "join_leave": True},
    "named": {"presence": "authenticated", "join_leave": True, "show_names": True},
    "silent": {"presence": "authenticated"},
    "secret": {"join_leave": True},
    "moody": {"presence": f"{__name__}.may_see", "join_leave": True},
    "durable": {"durable": True, "presence": "subscribers", "join_leave": True},
}

ROOM = "told:7"


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    blind.clear()
    async with running_hub(settings, NAMESPACES=NAMESPACES) as running:
        yield running


class Guest:
    """A connected client that comes and goes."""

    def __init__(self, hub: Hub, user: Any, peer: Peer) -> None:
        self.user = user
        self.peer = peer
        self.connection: Connection = peer.connection(hub)
        self.client = self.connection.client

    async def join(self, channel: str = ROOM, *, told: bool = False) -> None:
        reply = await self.peer.call(subscribe={"channel": channel, "join_leave": told})
        assert "subscribe" in reply, reply

    async def leave(self, channel: str = ROOM) -> None:
        assert "unsubscribe" in await self.peer.call(unsubscribe={"channel": channel})

    async def hears(self, kind: str, other: "Guest", channel: str = ROOM) -> None:
        await until(lambda: (kind, other.client) in self.told(channel), f"a {kind}")

    def told(self, channel: str = ROOM) -> list[tuple[str, str]]:
        """What it was told: ``join`` or ``leave``, and the client."""
        found = []
        for line in (line for frame in self.peer.frames for line in frame.split("\n")):
            push = loads(line).get("push", {})
            for kind in ("join", "leave"):
                if push.get("channel") == channel and kind in push:
                    found.append((kind, push[kind]["info"]["client"]))
        return found


@pytest.fixture
async def guests(hub: Hub, user: Any) -> list[Guest]:
    other = await in_database(make_user, "other")
    return [Guest(hub, one, await peer_of(one)) for one in (user, other, other)]


def dropped() -> float:
    return float(JOINS_DROPPED._value.get())


async def test_whoever_asked_is_told_of_each_join_and_leave_once(guests: list[Guest]) -> None:
    watcher, guest, deaf = guests
    await watcher.join(told=True)
    await deaf.join()
    await guest.join()
    joins = [("join", one.client) for one in (watcher, deaf, guest)]
    await until(lambda: sorted(watcher.told()) == sorted(joins))
    await guest.leave()
    await until(lambda: watcher.told()[3:] == [("leave", guest.client)])
    assert deaf.told() == guest.told() == []


async def test_a_closed_connection_is_told_as_a_leave(guests: list[Guest]) -> None:
    watcher, guest, _ = guests
    await watcher.join(told=True)
    await guest.join()
    await until(lambda: len(watcher.told()) == 2)
    await guest.peer.end()
    await until(lambda: watcher.told()[2:] == [("leave", guest.client)])


async def test_who_has_left_is_told_nothing_more(hub: Hub, guests: list[Guest]) -> None:
    watcher, guest, other = guests
    await watcher.join(told=True)
    await other.join(told=True)
    await until(lambda: len(other.told()) == 2)
    await watcher.leave()
    before = watcher.told()
    await guest.join()
    await until(lambda: ("join", guest.client) in other.told())
    assert watcher.told() == before
    await other.leave()
    assert not hub.join_leave._watching


async def test_coming_and_going_within_a_moment_is_not_told(guests: list[Guest]) -> None:
    watcher, guest, other = guests
    await watcher.join(told=True)
    await until(lambda: len(watcher.told()) == 1)
    await guest.join()
    await guest.leave()
    await other.join()
    await until(lambda: len(watcher.told()) > 1)
    assert watcher.told()[1:] == [("join", other.client)]


async def test_going_and_coming_back_is_told_in_this_order(guests: list[Guest]) -> None:
    watcher, guest, _ = guests
    await watcher.join(told=True)
    await guest.join()
    await until(lambda: len(watcher.told()) == 2)
    await guest.leave()
    await guest.join()
    await until(lambda: len(watcher.told()) == 4)
    assert watcher.told()[2:] == [("leave", guest.client), ("join", guest.client)]


async def test_a_client_that_may_not_see_presence_is_told_nothing(
    hub: Hub, guests: list[Guest]
) -> None:
    watcher, guest, other = guests
    blind.add(watcher.user.username)
    await watcher.join("moody:7", told=True)
    await other.join("moody:7", told=True)
    await guest.join("moody:7")
    await until(lambda: ("join", guest.client) in other.told("moody:7"))
    assert watcher.told("moody:7") == []


async def test_a_client_that_may_no_longer_see_presence_is_told_nothing_more(
    hub: Hub, guests: list[Guest]
) -> None:
    watcher, guest, other = guests
    for one in (watcher, other):
        for channel in ("moody:7", ROOM):
            await one.join(channel, told=True)
    await until(lambda: len(watcher.told("moody:7")) == len(other.told("moody:7")) == 2)
    await hub.rights.check_all()
    blind.add(watcher.user.username)
    await hub.rights.check_all()
    for channel in ("moody:7", ROOM):
        await guest.join(channel)
        await other.hears("join", guest, channel)
    assert ("join", guest.client) not in watcher.told("moody:7")
    assert ("join", guest.client) in watcher.told(ROOM)
    assert watcher.peer.unsubscribed == []


async def test_a_client_that_may_see_presence_again_or_at_last_is_told_without_a_new_subscription(
    hub: Hub, guests: list[Guest]
) -> None:
    watcher, guest, deaf = guests
    blind.add(watcher.user.username)
    await watcher.join("moody:7", told=True)
    await deaf.join("moody:7")
    blind.clear()
    await hub.rights.check_all()
    await guest.join("moody:7")
    await watcher.hears("join", guest, "moody:7")
    blind.add(watcher.user.username)
    await hub.rights.check_all()
    blind.clear()
    await hub.rights.check_all()
    await guest.leave("moody:7")
    await watcher.hears("leave", guest, "moody:7")
    assert deaf.told("moody:7") == [], "it has not asked for it"


async def test_in_a_durable_namespace_it_is_the_same(guests: list[Guest]) -> None:
    watcher, guest, _ = guests
    await watcher.join("durable:7", told=True)
    await guest.join("durable:7")
    await guest.leave("durable:7")
    await guest.join("durable:7")
    await until(lambda: ("join", guest.client) in watcher.told("durable:7"))
    await guest.peer.end()
    await until(lambda: watcher.told("durable:7")[-1] == ("leave", guest.client))


@pytest.mark.parametrize("channel", ["silent:7", "secret:7"])
async def test_nothing_is_told_where_the_namespace_does_not_allow_it(
    hub: Hub, guests: list[Guest], channel: str
) -> None:
    watcher, guest, _ = guests
    with hints() as sent:
        await watcher.join(channel, told=True)
        await guest.join(channel)
        await guest.leave(channel)
        await hub.join_leave.stop()
    assert sent == []
    assert not hub.join_leave._watching


async def test_a_join_tells_the_name_only_where_the_namespace_says_so(guests: list[Guest]) -> None:
    watcher, guest, _ = guests
    for channel in (ROOM, "named:7"):
        await watcher.join(channel, told=True)
        await guest.join(channel)
        await watcher.hears("join", guest, channel)
    infos = [
        loads(frame)["push"]["join"]["info"]
        for frame in watcher.peer.frames
        if guest.client in frame
    ]
    plain = {"user": str(guest.user.pk), "client": guest.client}
    name = {"id": str(guest.user.pk), "name": guest.user.username}
    assert infos == [plain, {**plain, "conn_info": name}]


async def test_a_blocked_socket_is_left_out(hub: Hub, guests: list[Guest]) -> None:
    watcher, guest, other = guests
    await watcher.join(told=True)
    await other.join(told=True)
    await until(lambda: len(other.told()) == len(watcher.told()) == 2)
    watcher.peer.block()
    watcher.connection.write(messages.Reply())  # fills the socket
    await until(lambda: watcher.connection.is_blocked)
    await guest.join()
    await until(lambda: ("join", guest.client) in other.told())
    watcher.peer.unblock()
    await until(lambda: not watcher.connection.is_blocked)
    assert ("join", guest.client) not in watcher.told()
    assert watcher.peer.closed is None


async def test_a_mass_join_is_one_limited_message(hub: Hub) -> None:
    before = dropped()
    with hints() as sent:
        for number in range(MAX_TOLD + 50):
            hub.join_leave.joined(ROOM, ClientInfo("7", f"client{number}"))
        await hub.join_leave.stop()
    ((channel, message),) = sent
    assert (channel, len(message["joined"]), message["left"]) == (ROOM, MAX_TOLD, [])
    assert dropped() - before == 50


async def test_writes_are_limited_for_a_channel_and_for_the_process(
    hub: Hub, guests: list[Guest]
) -> None:
    now = asyncio.get_running_loop().time()
    budget = hub.join_leave
    assert budget._may_write("told:1", 9_000)
    assert not budget._may_write("told:1", 9_000), "the channel has used up its burst"
    assert budget._may_write("told:2", 9_000), "another channel has its own"
    # A channel with more clients than the burst is still told something.
    assert budget._may_write("told:3", 10 * int(CHANNEL_BURST))
    budget._process = Bucket(1.0, 10.0, now)
    assert not budget._may_write("told:4", 11)
    watcher, guest, _ = guests
    await watcher.join(told=True)
    await until(lambda: watcher.told() == [("join", watcher.client)])
    budget._process.take(100, now)
    before = dropped()
    await guest.join()
    await until(lambda: dropped() == before + 1)
    assert watcher.told() == [("join", watcher.client)]


async def test_budgets_of_quiet_channels_are_forgotten(hub: Hub) -> None:
    for number in range(10):
        hub.join_leave._may_write(f"told:{number}", 0)
    assert len(hub.join_leave._budgets) == 1


async def test_a_flood_of_messages_waits_in_a_bounded_queue(hub: Hub, guests: list[Guest]) -> None:
    watcher, _, _ = guests
    await watcher.join(told=True)
    await until(lambda: len(watcher.told()) == 1)
    before = dropped()
    infos = [b'{"user":"7","client":"c%d"}' % number for number in range(MAX_WAITING)]
    hub.join_leave.receive(ROOM, infos, [])
    hub.join_leave.receive(ROOM, infos[:70], infos[:7])
    assert dropped() - before == 77
    await until(lambda: len(watcher.told()) == 1 + MAX_WAITING)


async def test_a_message_of_another_version_is_ignored(hub: Hub, guests: list[Guest]) -> None:
    watcher, guest, _ = guests
    await watcher.join(told=True)
    for infos in ([b"nonsense"], [b'{"user":7}'], [7]):
        message = {"type": "notifications.members", "stream": ROOM, "joined": infos, "left": []}
        hub.layer_messages.dispatch(message)
    hub.layer_messages.dispatch({"type": "notifications.members", "stream": ROOM})
    await rest()
    await guest.join()
    await until(lambda: ("join", guest.client) in watcher.told())


async def test_the_worker_that_deletes_a_dead_one_tells_of_its_members(
    hub: Hub, guests: list[Guest]
) -> None:
    watcher, guest, _ = guests
    await watcher.join(told=True)
    await until(lambda: len(watcher.told()) == 1)
    _, rows = await in_database(dead_worker, guest.user, ROOM, "silent:7", "told:8")
    await hub.presence.beat()
    await until(lambda: watcher.told()[1:] == [("leave", str(rows[0].client))])
    await hub.presence.beat()
    await rest()
    assert len(watcher.told()) == 2


async def test_of_two_workers_that_find_a_dead_one_only_one_tells(
    hub: Hub, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await in_database(dead_worker, user, ROOM)

    def slowly(worker_id: Any) -> Any:
        """Find the members, and let another worker delete them meanwhile."""
        found = members_to_announce(worker_id)
        Worker.objects.filter(pk=worker_id).delete()
        return found

    monkeypatch.setattr("notifications.hub.presence.members_to_announce", slowly)
    with hints() as sent:
        await hub.presence.beat()
    assert sent == []


async def test_the_number_of_leaves_that_are_told_for_a_dead_worker_is_limited(
    hub: Hub, guests: list[Guest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.streams.members.MAX_LEAVES", 5)
    monkeypatch.setattr("notifications.hub.join_leave.MAX_TOLD", 3)
    channels = [f"told:{number % 2}" for number in range(9)]
    await in_database(dead_worker, guests[0].user, *channels)
    with hints() as sent:
        await hub.presence.beat()
    assert sorted(len(message["left"]) for _, message in sent) == [2, 3]
