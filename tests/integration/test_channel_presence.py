"""Who is in a channel, with two servers: on Redis and without, and after one is killed."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.client import Client
from tests.integration.places import Place, open_place
from tests.integration.processes import Redis
from tests.integration.test_presence import WORKER_TIMEOUT, wait_until
from tests.servers import Server, Site

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

    def was_told(self, kind: str, other: "Guest") -> bool:
        return (kind, self.channel, other.client) in self.socket.comings


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
        wait_until(lambda guest=guest: set(guest.sees()) == everybody, "the whole list")
        assert guest.counts() == {"num_clients": 3, "num_users": 3}
    assert set(in_a_shell(first, f"notifications.presence({channel!r})")) == everybody
    assert in_a_shell(second, f"notifications.presence_stats({channel!r})")["num_users"] == 3
    if has_layer:
        here.socket.wait(lambda: here.was_told("join", also_there), "a join of the other worker")

    second.kill()
    killed_at = time.monotonic()
    wait_until(lambda: set(here.sees()) == {here.client}, "their end", WORKER_TIMEOUT + 2)
    assert here.counts() == {"num_clients": 1, "num_users": 1}
    assert time.monotonic() - killed_at > WORKER_TIMEOUT / 4, "the rows went for another reason"
    # The surviving worker tells of them itself, so this does not need Redis.
    for gone in (there, also_there):
        here.socket.wait(lambda gone=gone: here.was_told("leave", gone), "a leave", WORKER_TIMEOUT)
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
    wait_until(lambda: set(here.sees()) == {here.client, there.client}, "the whole list")
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
    here.socket.wait(lambda: here.was_told("leave", there), "a leave")
    here.socket.ask(unsubscribe={"channel": ROOM})
    assert here.socket.error(presence={"channel": ROOM}) == 103
