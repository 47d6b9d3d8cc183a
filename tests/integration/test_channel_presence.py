"""Who is in a channel, with two servers: on Redis and without, and after one is killed."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import centrifuge  # type: ignore[import-untyped]
import pytest
from centrifuge import ClientInfo, SubscriptionEventHandler
from centrifuge.contexts import JoinContext, LeaveContext  # type: ignore[import-untyped]

from tests.client import PATIENCE, Client
from tests.integration.places import Place, open_place
from tests.integration.processes import Redis
from tests.integration.test_presence import WORKER_TIMEOUT
from tests.peers import until
from tests.servers import Server
from tests.sites import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

VARIABLES = {
    "DJANGO_SETTINGS_MODULE": "tests.integration.presence_settings",
    "NOTIFICATIONS_WORKER_TIMEOUT": str(WORKER_TIMEOUT),
}

ROOM = "room:7"


@contextmanager
def two_servers(site: Site, directory: Path, **more: str) -> Iterator[Place]:
    with open_place(site, directory, **VARIABLES, **more) as place:
        place.add_server()
        yield place


@pytest.fixture
def on_redis(site: Site, redis: Redis, directory: Path) -> Iterator[Place]:
    with two_servers(site, directory, REDIS_URL=redis.url) as place:
        yield place


@pytest.fixture
def without_redis(site: Site, directory: Path) -> Iterator[Place]:
    with two_servers(site, directory) as place:
        yield place


@pytest.fixture(scope="module")
def one_server(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with open_place(site, tmp_path_factory.mktemp("sdk"), **VARIABLES) as place:
        yield place


class Guest:
    """A client that is subscribed to a channel.

    Args:
        place: the servers.
        server: the one that it connects to.
        channel: the channel.
    """

    def __init__(self, place: Place, server: Server, channel: str = ROOM) -> None:
        self.person = place.person()
        self.channel = channel
        self.socket: Client = place.client(self.person, server=server)
        self.client = str(self.socket.connect()["client"])
        reply = self.socket.ask(subscribe={"channel": channel, "join_leave": True})
        assert "subscribe" in reply, reply

    def sees(self) -> dict[str, Any]:
        reply = self.socket.ask(presence={"channel": self.channel})
        return dict(reply["presence"]["presence"])

    def counts(self) -> dict[str, int]:
        reply = self.socket.ask(presence_stats={"channel": self.channel})
        return dict(reply["presence_stats"])

    def wait_until_it_sees(self, *others: "Guest", patience: float = PATIENCE) -> None:
        clients = {other.client for other in others}
        wait_until(lambda: set(self.sees()) == clients, f"a list of {len(clients)}", patience)

    def wait_until_told(self, kind: str, other: "Guest") -> None:
        told = (kind, self.channel, other.client)
        self.socket.wait(lambda: told in self.socket.comings, f"a {kind}")


def in_a_shell(server: Server, expression: str) -> Any:
    """Return what a shell of the site prints for this expression, as JSON."""
    code = f"import json, notifications; print(json.dumps({expression}))"
    return json.loads(server.manage("shell", "--no-imports", "-c", code).stdout)


def check_that_workers_agree(place: Place, channel: str, *, has_layer: bool) -> None:
    """Both workers know all clients of a channel, and soon only those of the one that survives."""
    first, second = place.servers
    here, there = Guest(place, first, channel), Guest(place, second, channel)
    also_there = Guest(place, second, channel)
    everybody = {here.client, there.client, also_there.client}

    for guest in (here, there):
        guest.wait_until_it_sees(here, there, also_there)
        assert guest.counts() == {"num_clients": 3, "num_users": 3}
    assert set(in_a_shell(first, f"notifications.presence({channel!r})")) == everybody
    assert in_a_shell(second, f"notifications.presence_stats({channel!r})")["num_users"] == 3
    if has_layer:
        here.wait_until_told("join", also_there)

    second.kill()
    killed_at = time.monotonic()
    here.wait_until_it_sees(here, patience=WORKER_TIMEOUT + 2)
    assert here.counts() == {"num_clients": 1, "num_users": 1}
    assert time.monotonic() - killed_at > WORKER_TIMEOUT / 4, "the rows went for another reason"
    # The surviving worker tells of them itself, so this does not need Redis.
    for gone in (there, also_there):
        here.wait_until_told("leave", gone)
    assert len(here.socket.comings) == len(set(here.socket.comings))


def test_workers_agree_who_is_there_and_a_killed_one_takes_its_clients_with_it(
    on_redis: Place,
) -> None:
    check_that_workers_agree(on_redis, ROOM, has_layer=True)


def test_p4_workers_agree_who_is_there_without_redis(without_redis: Place) -> None:
    check_that_workers_agree(without_redis, "durable:7", has_layer=False)


def test_names_are_told_to_subscribers_until_their_worker_stops(on_redis: Place) -> None:
    first, second = on_redis.servers
    here, there = Guest(on_redis, first), Guest(on_redis, second)
    here.wait_until_it_sees(here, there)
    info = here.sees()[here.client]
    assert info == {
        "user": str(here.person.id),
        "client": here.client,
        "conn_info": {"id": str(here.person.id), "name": here.person.name},
    }
    stranger = on_redis.connected(on_redis.person())
    for command in ("presence", "presence_stats"):
        assert stranger.error(**{command: {"channel": ROOM}}) == 103
    second.stop()
    assert set(here.sees()) == {here.client}
    here.wait_until_told("leave", there)
    here.socket.ask(unsubscribe={"channel": ROOM})
    assert here.socket.error(presence={"channel": ROOM}) == 103


class Comings(SubscriptionEventHandler):
    """Records the joins and leaves that the SDK reports."""

    def __init__(self) -> None:
        self.joined: list[ClientInfo] = []
        self.left: list[ClientInfo] = []

    async def on_join(self, ctx: JoinContext) -> None:
        self.joined.append(ctx.info)

    async def on_leave(self, ctx: LeaveContext) -> None:
        self.left.append(ctx.info)


def told_name(info: ClientInfo) -> str:
    """The name in a description; the SDK gives JSON as it is in the Protobuf form."""
    told = info.conn_info
    return str((json.loads(told) if isinstance(told, bytes) else told)["name"])


@pytest.mark.parametrize("use_protobuf", [False, True])
async def test_an_official_sdk_sees_who_is_there_and_who_comes_and_goes(
    one_server: Place, use_protobuf: bool
) -> None:
    people = [one_server.person() for _ in range(2)]
    url = one_server.server.socket_url
    watcher, guest = [
        centrifuge.Client(url, token=one.token, use_protobuf=use_protobuf, proxy=None)
        for one in people
    ]
    before = asyncio.all_tasks()
    comings = Comings()
    mine = watcher.new_subscription(ROOM, comings, join_leave=True)
    theirs = guest.new_subscription(ROOM)
    try:
        for client, subscription in ((watcher, mine), (guest, theirs)):
            await client.connect()
            await subscription.subscribe()
            await subscription.ready(PATIENCE)
        found = {info.user: info for info in (await mine.presence()).clients.values()}
        names = {user: told_name(info) for user, info in found.items()}
        assert names == {str(one.id): one.name for one in people}
        counts = await theirs.presence_stats()
        assert (counts.num_clients, counts.num_users) == (2, 2)
        other = found[str(people[1].id)]
        await until(lambda: other in comings.joined)
        await theirs.unsubscribe()
        await until(lambda: other in comings.left)
    finally:
        for client in (watcher, guest):
            await client.disconnect()
        if tasks := asyncio.all_tasks() - before:
            await asyncio.wait(tasks, timeout=PATIENCE)
