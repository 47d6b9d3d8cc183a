"""The channel layer on several Redis servers, and on one that is found through Sentinel."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.integration import jobs
from tests.integration.places import Person, Place, open_place
from tests.integration.processes import Redis, find_redis
from tests.servers import START_TIMEOUT, STOP_TIMEOUT, free_port
from tests.sites import Site

pytestmark = pytest.mark.integration

#: Without position checks, all that arrives has come through Redis.
NO_CHECKS = {"NOTIFICATIONS_CHECK_INTERVAL": "3600"}

PEOPLE = 12


def groups(redis: Redis) -> int:
    """The number of layer groups with subscribers on this Redis."""
    return answer(redis.port, "PUBSUB CHANNELS *__group__*").count("__group__")


def answer(port: int, command: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(f"{command}\r\n".encode())
        connection.settimeout(0.5)
        received = b""
        try:
            while part := connection.recv(65_536):
                received += part
        except TimeoutError:
            pass  # Redis keeps the connection open
        return received.decode()


def assert_hints_arrive(place: Place) -> list[Person]:
    """Assert that clients of two servers receive what a third process publishes to them."""
    place.add_server()
    people = [place.person() for _ in range(PEOPLE)]
    for number, person in enumerate(people):
        place.connected(person, server=place.servers[number % 2])
        place.other.run(jobs.notify_user, person.id, [f"for {person.name}"])
    for client in place.clients:
        client.wait_for_count(1)
    return people


def test_users_are_spread_over_shards_and_all_are_reached(site: Site, directory: Path) -> None:
    with closing(Redis().start()) as one, closing(Redis().start()) as two:
        variables = {"REDIS_URL": f"{one.url}, {two.url}", **NO_CHECKS}
        with open_place(site, directory, **variables) as place:
            assert_hints_arrive(place)
            assert groups(one)
            assert groups(two)


def test_a_lost_shard_loses_no_notification(site: Site, directory: Path) -> None:
    with closing(Redis().start()) as one, closing(Redis().start()) as two:
        variables = {"REDIS_URL": f"{one.url},{two.url}", "NOTIFICATIONS_CHECK_INTERVAL": "0.5"}
        with open_place(site, directory, **variables) as place:
            people = assert_hints_arrive(place)
            two.kill()
            for person in people:
                place.other.run(jobs.notify_user, person.id, ["without the shard"])
            for client in place.clients:
                client.wait_for_count(2)


@contextmanager
def sentinel_of(redis: Redis, directory: Path) -> Iterator[int]:
    """Run a Sentinel that monitors ``redis`` under the name ``push``, and yield its port."""
    port = free_port()
    config = directory / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor push 127.0.0.1 {redis.port} 1\n"
    )
    process = subprocess.Popen(
        [find_redis(), str(config), "--sentinel"],
        cwd=directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not _knows_push(port):
            assert process.poll() is None, "the sentinel ended at once"
            assert time.monotonic() < deadline, "the sentinel does not answer"
        yield port
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT)


def _knows_push(port: int) -> bool:
    try:
        return "127.0.0.1" in answer(port, "SENTINEL get-master-addr-by-name push")
    except OSError:
        time.sleep(0.05)
        return False


def test_redis_is_found_through_sentinel(site: Site, directory: Path) -> None:
    with closing(Redis().start()) as redis, sentinel_of(redis, directory) as port:
        variables = {
            "REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "REDIS_SENTINEL_MASTERS": "push",
            **NO_CHECKS,
        }
        with open_place(site, directory, **variables) as place:
            assert_hints_arrive(place)
            assert groups(redis)
