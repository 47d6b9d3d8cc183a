"""Channels of namespaces with real servers: one that is killed, and two on Redis."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client import PATIENCE, Client
from tests.integration import jobs
from tests.integration.places import Place, open_place
from tests.integration.processes import Redis
from tests.servers import Server
from tests.sites import Site

pytestmark = pytest.mark.integration

VARIABLES = {"DJANGO_SETTINGS_MODULE": "tests.integration.channel_settings"}

CHAT, TYPING = "chat:7", "typing:7"

#: Seconds: a hint arrives within SOON even on a busy machine, long before a position check.
CHECK_INTERVAL = 60.0
SOON = 10.0


def subscribe(client: Client, channel: str) -> None:
    """Subscribe, from the client's position if it has one."""
    request: dict[str, Any] = {"channel": channel}
    position = client.positions.get(channel)
    if position is not None:
        request |= {"recover": True, **position._asdict()}
    reply = client.ask(subscribe=request)
    assert "subscribe" in reply, reply


def received(client: Client) -> list[object]:
    return [publication.data for publication in client.publications]


def test_p1_p3_a_killed_server_loses_and_doubles_nothing_of_a_durable_channel(
    site: Site, directory: Path
) -> None:
    with open_place(site, directory, **VARIABLES) as place:
        reader = place.connected(place.person())
        writer = place.connected(place.person())
        for client in (reader, writer):
            subscribe(client, CHAT)
        expected: list[object] = []

        def publish(*things: object) -> None:
            """Publish half of these through the server, and half through another process."""
            for number, data in enumerate(things):
                if number % 2 and writer.closed is None:
                    assert "publish" in writer.ask(publish={"channel": CHAT, "data": data})
                else:
                    place.other.run(jobs.publish_to, CHAT, [data])
                expected.append(data)

        for cycle in range(2):
            publish(*({"cycle": cycle, "n": number} for number in range(6)))
            place.server.kill()
            for client in (reader, writer):
                client.wait_closed()
            publish(*({"cycle": cycle, "while": "down", "n": number} for number in range(6)))
            place.server.start()
            for client in (reader, writer):
                client.connect()
                subscribe(client, CHAT)
        publish("last")
        for client in (reader, writer):
            client.wait(lambda client=client: "last" in received(client), "the last one")  # type: ignore[misc]
            assert received(client) == expected
            assert client.unrecovered == []


@pytest.fixture
def two_servers(site: Site, redis: Redis, directory: Path) -> Iterator[Place]:
    variables = {"REDIS_URL": redis.url, "NOTIFICATIONS_CHECK_INTERVAL": str(CHECK_INTERVAL)}
    with open_place(site, directory, **VARIABLES, **variables) as place:
        place.add_server()
        yield place


def member(place: Place, server: Server) -> Client:
    client = place.connected(place.person(), server=server)
    for channel in (CHAT, TYPING):
        subscribe(client, channel)
    return client


def test_publications_of_both_kinds_reach_the_clients_of_other_workers(two_servers: Place) -> None:
    here, there = (member(two_servers, server) for server in two_servers.servers)
    for number in range(5):
        for channel in (TYPING, CHAT):
            assert "publish" in here.ask(publish={"channel": channel, "data": number})
    two_servers.other.run(jobs.publish_to, TYPING, ["from a shell"])
    two_servers.other.run(jobs.publish_to, CHAT, ["from a shell"])
    expected = [*range(5), "from a shell"]
    for client in (here, there):
        client.wait(
            lambda client=client: len(client.ephemeral[TYPING]) >= len(expected),  # type: ignore[misc]
            "the ephemeral ones",
            SOON,
        )
        assert client.ephemeral[TYPING] == expected
        client.wait_for_count(len(expected), SOON)
        assert received(client) == expected


def test_without_redis_an_ephemeral_publication_is_refused_and_a_durable_one_arrives(
    two_servers: Place, redis: Redis
) -> None:
    client = member(two_servers, two_servers.servers[0])
    redis.kill()
    try:
        reply = client.ask(publish={"channel": TYPING, "data": "lost"})
        assert reply["error"] == {
            "code": 100,
            "message": "internal server error",
            "temporary": True,
        }
        assert "publish" in client.ask(publish={"channel": CHAT, "data": "kept"})
        client.wait(lambda: "kept" in received(client), "the durable one", PATIENCE)
        assert client.ephemeral[TYPING] == []
    finally:
        redis.start()
