"""Two server processes on one database: without Redis, with it, and when it dies."""

import statistics
import time
from collections.abc import Iterator

import pytest

from tests.client import Client
from tests.integration import jobs
from tests.integration.places import Person, Place, open_place
from tests.integration.processes import Redis
from tests.servers import Server
from tests.sites import Site

pytestmark = pytest.mark.integration

#: Seconds: a hint arrives within SOON even on a busy machine, long before a position check.
CHECK_INTERVAL = 3.0
SOON = 0.5

#: Seconds; to notice that Redis has failed or recovered takes several checks.
PATIENCE = 60.0


@pytest.fixture(scope="module")
def without_redis(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with open_place(site, tmp_path_factory.mktemp("memory")) as place:
        place.add_server()
        yield place


@pytest.fixture
def place(without_redis: Place) -> Iterator[Place]:
    yield without_redis
    without_redis.tidy()


@pytest.fixture(scope="module")
def on_redis(site: Site, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Two servers with rare position checks, so that only a hint can deliver quickly."""
    directory = tmp_path_factory.mktemp("redis")
    variables = {"REDIS_URL": redis.url, "NOTIFICATIONS_CHECK_INTERVAL": str(CHECK_INTERVAL)}
    with open_place(site, directory, **variables) as place:
        place.add_server()
        yield place


@pytest.fixture
def redis_place(on_redis: Place) -> Iterator[Place]:
    yield on_redis
    on_redis.tidy()


def publisher(place: Place, server: Server) -> Client:
    """Connect to this server as a user who may send private notifications."""
    return place.connected(place.person(permissions=("send_private",)), server=server)


def publish(client: Client, to: Person, title: str) -> float:
    """Publish through the server of ``client``, and return the monotonic time of the reply."""
    reply = client.ask(publish={"channel": to.channel, "data": {"title": title}})
    assert "publish" in reply, reply
    return time.monotonic()


def latency(sender: Client, reader: Client, to: Person, title: str) -> float:
    """Return the seconds between the reply to the publisher and the arrival at the reader."""
    done = publish(sender, to, title)
    reader.wait(lambda: title in reader.titles, title)
    return reader.publications[-1].at - done


def test_without_redis_the_other_process_finds_publications_in_the_database(place: Place) -> None:
    first, second = place.servers
    person = place.person()
    here, there = place.connected(person, server=first), place.connected(person, server=second)
    sender = publisher(place, first)
    for number in range(3):
        publish(sender, person, f"n{number}")
        there.wait_for_count(number + 1)
    for client in (here, there):
        client.wait_for_titles(["n0", "n1", "n2"])
    assert here.publications[-1].at < there.publications[-1].at


def test_two_servers_may_publish_at_once(place: Place) -> None:
    person = place.person()
    senders = [publisher(place, server) for server in place.servers]
    readers = [place.connected(person, server=server) for server in place.servers]
    for number in range(20):
        for sender in senders:
            publish(sender, person, f"n{number}")
    for reader in readers:
        reader.wait_for_count(40)
        assert reader.offsets == list(range(1, 41))


def test_a_client_that_does_not_read_delays_nobody(place: Place) -> None:
    """The backlog is larger than all buffers; the rest is read from history, in order (P5)."""
    person = place.person()
    deaf, watcher = place.connected(person), place.connected(person)
    deaf.pause()
    titles = [f"n{number}" for number in range(1500)]
    place.other.run(jobs.notify_in_bulk, person.id, titles, 9000)
    watcher.wait_for_count(1500)
    place.other.run(jobs.notify_user, person.id, ["live"])
    watcher.wait(lambda: watcher.titles[-1] == "live", "a live one")
    assert len(deaf.publications) < 1500
    deaf.resume()
    deaf.wait_for_count(1501)
    for client in (deaf, watcher):
        assert client.offsets == list(range(1, 1502))


def test_clients_of_a_killed_server_recover_at_another(place: Place) -> None:
    doomed = place.add_server()
    person = place.person()
    client = place.connected(person, server=doomed)
    place.other.run(jobs.notify_user, person.id, ["one"])
    client.wait_for_titles(["one"])
    doomed.kill()
    assert client.wait_closed() == 1006
    place.other.run(jobs.notify_user, person.id, ["two"])
    client.url = place.server.socket_url
    client.connect()
    client.wait_for_titles(["one", "two"])
    assert client.duplicates == []


def test_with_redis_delivery_takes_milliseconds(redis_place: Place) -> None:
    first, second = redis_place.servers
    person = redis_place.person()
    reader = redis_place.connected(person, server=second)
    sender = publisher(redis_place, first)
    took = [latency(sender, reader, person, f"n{number}") for number in range(20)]
    assert statistics.median(took) < SOON, took


def test_with_redis_a_publication_from_a_shell_arrives_at_once(redis_place: Place) -> None:
    person = redis_place.person()
    reader = redis_place.connected(person)
    took: list[float] = []
    for number in range(5):
        redis_place.other.run(jobs.notify_user, person.id, [f"n{number}"])
        done = time.monotonic()
        reader.wait_for_count(number + 1)
        took.append(reader.publications[-1].at - done)
    assert statistics.median(took) < SOON, took


def test_delivery_continues_while_redis_is_down_and_after_it_is_back(
    redis_place: Place, redis: Redis
) -> None:
    """Delivery continues from the database, and by hints once Redis is back (P4)."""
    first, second = redis_place.servers
    person = redis_place.person()
    reader = redis_place.connected(person, server=second)
    sender = publisher(redis_place, first)
    publish(sender, person, "before")
    reader.wait_for_titles(["before"])

    redis.kill()
    for number in range(5):
        publish(sender, person, f"without{number}")
    redis_place.other.run(jobs.notify_user, person.id, ["from a shell"])
    while_away = [f"without{number}" for number in range(5)] + ["from a shell"]
    reader.wait_for_titles(["before", *while_away])
    newcomer = redis_place.connected(person, server=second)
    newcomer.wait(lambda: "from a shell" in newcomer.titles, "the backlog")

    redis.start()
    deadline = time.monotonic() + PATIENCE
    number = 0
    while latency(sender, reader, person, f"again{number}") > SOON:
        number += 1
        assert time.monotonic() < deadline, "hints do not come again"
    again = [f"again{n}" for n in range(number + 1)]
    reader.wait_for_titles(["before", *while_away, *again])
    newcomer.wait(lambda: again[-1] in newcomer.titles, "the last one")
    assert newcomer.duplicates == []
    assert "The channel layer fails" in redis_place.log
    assert "The channel layer works again." in redis_place.log


def test_a_hanging_redis_delays_nobody_for_long(redis_place: Place, redis: Redis) -> None:
    """It accepts connections and does not answer, which is worse than being down."""
    person = redis_place.person()
    reader = redis_place.connected(person)
    sender = publisher(redis_place, redis_place.server)
    redis.freeze()
    try:
        begun = time.monotonic()
        publish(sender, person, "frozen")
        assert time.monotonic() - begun < CHECK_INTERVAL, "the layer has its half second"
        reader.wait_for_titles(["frozen"])
        newcomer = redis_place.connected(person)
        newcomer.wait_for_titles(["frozen"])
    finally:
        redis.thaw()
    publish(sender, person, "thawed")
    reader.wait_for_titles(["frozen", "thawed"])
