"""One ``notify()`` to hundreds of connected users, on two servers with Redis, frame by frame.

Each user reads a stream of their own. The messages that announce it may arrive, fail or get lost.
"""

import itertools
from collections.abc import Iterator

import pytest
from redis import Redis as Commands

from notifications.publishing.hints import MAX_HINTS
from tests.client import Client
from tests.integration import jobs
from tests.integration.places import Person, Place, open_place
from tests.integration.processes import Redis
from tests.integration.test_metrics import read
from tests.sites import Site

pytestmark = pytest.mark.integration

USERS = 2 * MAX_HINTS

#: Every so many users have a second device, at the other server.
DEVICES = 4

numbers = itertools.count()


@pytest.fixture(scope="module")
def place(site: Site, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    variables = {
        "REDIS_URL": redis.url,
        "NOTIFICATIONS_CHECK_INTERVAL": "3",
        "METRICS_ALLOW": "127.0.0.1",
    }
    with open_place(site, tmp_path_factory.mktemp("many"), **variables) as place:
        place.add_server()
        yield place


@pytest.fixture
def people(place: Place) -> list[Person]:
    return [
        Person(*made) for made in place.other.run(jobs.make_users, f"many{next(numbers)}-", USERS)
    ]


@pytest.fixture
def clients(place: Place, people: list[Person]) -> Iterator[list[Client]]:
    """A client for each user, at one of the servers, and for some of them one at the other."""
    here, there = place.servers
    found = []
    for number, person in enumerate(people):
        server, other = (here, there) if number % 2 else (there, here)
        found.append(place.connected(person, server=server))
        if number % DEVICES == 0:
            found.append(place.connected(person, server=other))
    yield found
    place.tidy()


def expect(clients: list[Client], titles: list[str]) -> None:
    """Wait until each client has got exactly these, in order, each once."""
    for client in clients:
        client.wait_for_titles(titles)
        assert client.offsets == list(range(1, len(titles) + 1))
        assert client.duplicates == []


def repaired(place: Place) -> int:
    """How many streams the position checks of both servers have repaired."""
    return sum(read(server, "repaired_total") for server in place.servers)


def test_p1_p3_every_frame_arrives_once_and_in_order(
    place: Place, people: list[Person], clients: list[Client]
) -> None:
    user_ids = [person.id for person in people]
    before = repaired(place)
    titles = [f"n{number}" for number in range(5)]
    place.other.run(jobs.notify_together, user_ids, titles[:3])
    place.other.run(jobs.notify_together_and_roll_back, user_ids, "never")
    place.other.run(jobs.notify_together, user_ids, titles[3:])
    expect(clients, titles)
    assert sum(len(client.publications) for client in clients) == 5 * len(clients)
    assert repaired(place) == before, "the messages have announced everything"


def test_p1_nothing_is_missing_while_redis_is_away_and_after_it_is_back(
    place: Place, people: list[Person], clients: list[Client], redis: Redis
) -> None:
    user_ids = [person.id for person in people]
    place.other.run(jobs.notify_together, user_ids, ["before"])
    expect(clients, ["before"])
    redis.kill()
    try:
        place.other.run(jobs.notify_together, user_ids, ["without 1", "without 2"])
        expect(clients, ["before", "without 1", "without 2"])
    finally:
        redis.start()
    place.other.run(jobs.notify_together, user_ids, ["after"])
    expect(clients, ["before", "without 1", "without 2", "after"])


def test_p1_nothing_is_missing_if_redis_drops_messages(
    place: Place, people: list[Person], clients: list[Client], redis: Redis
) -> None:
    user_ids = [person.id for person in people]
    titles = []
    with Commands(port=redis.port) as commands:
        for number in range(4):
            # What is published until they have subscribed again reaches nobody.
            commands.client_kill_filter(_type="pubsub")
            titles.append(f"n{number}")
            place.other.run(jobs.notify_together, user_ids, titles[-1:])
    expect(clients, titles)
