"""A server that stops, is killed or hangs, and what the list of connections shows."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.integration import jobs
from tests.integration.places import Place, open_place
from tests.servers import Site

pytestmark = pytest.mark.integration

WORKER_TIMEOUT = 2.0

#: Seconds to wait for an expected event; enough for a busy machine.
PATIENCE = 15.0


def wait_until(place: Place, connections: int, workers: int, timeout: float) -> None:
    """Wait up to ``timeout`` seconds until so many connections and workers are listed."""
    deadline = time.monotonic() + timeout
    while True:
        found = place.other.run(jobs.connections), place.other.run(jobs.workers)
        if found == (connections, workers):
            return
        assert time.monotonic() < deadline, f"{found[0]} connections, {found[1]} workers"
        time.sleep(0.05)


def test_sigterm_stops_a_server_cleanly(site: Site, directory: Path) -> None:
    """Sockets get close frames, acknowledgements are written, rows deleted, nothing is lost."""
    with open_place(site, directory) as place:
        person = place.person()
        client, lurker = place.connected(person), place.connected(place.person())
        place.other.run(jobs.notify_user, person.id, ["one", "two"])
        client.wait_for_titles(["one", "two"])
        wait_until(place, 2, 1, timeout=PATIENCE)
        client.rpc("ack", channel=person.channel, offset=2)
        begun = time.monotonic()
        code = place.server.stop(signal.SIGTERM)
        assert time.monotonic() - begun < 10, "what uvicorn gives those who do not close"
        assert code == 0
        for each in (client, lurker):
            assert each.wait_closed() == 3001
        assert place.other.run(jobs.delivered, person.id, person.channel) == 2
        wait_until(place, 0, 0, timeout=0)
        place.other.run(jobs.notify_user, person.id, ["three"])
        place.server.start()
        client.connect()
        client.wait_for_titles(["one", "two", "three"])
        place.connected(person).wait_for_titles(["three"])


def test_a_closed_connection_leaves_no_row(place: Place) -> None:
    person = place.person()
    clients = [place.connected(person) for _ in range(3)]
    deadline = time.monotonic() + PATIENCE
    while place.other.run(jobs.connections_of, person.id) != 3:
        assert time.monotonic() < deadline, "the connections are not listed"
        time.sleep(0.05)
    clients[0].close()
    clients[1].drop()
    clients[2].close()
    while place.other.run(jobs.connections_of, person.id):
        assert time.monotonic() < deadline + PATIENCE, "connections stay listed"
        time.sleep(0.05)


def test_the_rows_of_a_killed_server_are_deleted(site: Site, directory: Path) -> None:
    """Another server deletes them after WORKER_TIMEOUT, and keeps its own."""
    variables = {"NOTIFICATIONS_WORKER_TIMEOUT": str(WORKER_TIMEOUT)}
    with open_place(site, directory, **variables) as place:
        doomed = place.add_server()
        there = place.connected(place.person(), server=doomed)
        place.connected(place.person())
        wait_until(place, 2, 2, timeout=PATIENCE)
        doomed.kill()
        assert there.wait_closed() == 1006
        assert place.other.run(jobs.connections) == 2
        wait_until(place, 1, 1, timeout=WORKER_TIMEOUT + PATIENCE)


def test_a_server_that_was_suspended_lists_its_connections_again(
    site: Site, directory: Path
) -> None:
    """A worker that was presumed dead, as after a laptop's sleep, is listed again soon."""
    variables = {"NOTIFICATIONS_WORKER_TIMEOUT": str(WORKER_TIMEOUT)}
    with open_place(site, directory, **variables) as place:
        sleepy = place.add_server()
        person = place.person()
        client = place.connected(person, server=sleepy)
        wait_until(place, 1, 1, timeout=PATIENCE)
        awake = place.connected(place.person())
        wait_until(place, 2, 2, timeout=PATIENCE)
        os.kill(sleepy.pid, signal.SIGSTOP)
        try:
            wait_until(place, 1, 1, timeout=WORKER_TIMEOUT + PATIENCE)
        finally:
            os.kill(sleepy.pid, signal.SIGCONT)
        wait_until(place, 2, 2, timeout=PATIENCE)
        place.other.run(jobs.notify_user, person.id, ["awake"])
        client.wait_for_titles(["awake"])
        assert awake.closed is None
