"""A server that stops, is killed or hangs, and what the list of connections shows."""

import os
import signal
from pathlib import Path

import pytest

from tests.integration import jobs
from tests.integration.places import Place, open_place
from tests.sites import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

WORKER_TIMEOUT = 2.0


def listed(place: Place) -> tuple[int, int]:
    """The number of connections, and that of workers."""
    return place.other.run(jobs.connections), place.other.run(jobs.workers)


def wait_for_rows(place: Place, connections: int, workers: int) -> None:
    """Wait until so many connections and workers are listed."""
    wait_until(lambda: listed(place) == (connections, workers), lambda: str(listed(place)))


def test_sigterm_stops_a_server_cleanly(site: Site, directory: Path) -> None:
    """Sockets get close frames, acknowledgements are written, rows deleted, nothing is lost."""
    with open_place(site, directory) as place:
        person = place.person()
        client, lurker = place.connected(person), place.connected(place.person())
        place.other.run(jobs.notify_user, person.id, ["one", "two"])
        client.wait_for_titles(["one", "two"])
        wait_for_rows(place, 2, 1)
        client.rpc("ack", channel=person.channel, offset=2)
        assert place.server.stop(signal.SIGTERM) == 0
        assert "timeout graceful shutdown exceeded" not in place.server.log
        for each in (client, lurker):
            assert each.wait_closed() == 3001
        assert place.other.run(jobs.delivered, person.id, person.channel) == 2
        assert listed(place) == (0, 0)
        place.other.run(jobs.notify_user, person.id, ["three"])
        place.server.start()
        client.connect()
        client.wait_for_titles(["one", "two", "three"])
        place.connected(person).wait_for_titles(["three"])


def test_a_closed_connection_leaves_no_row(place: Place) -> None:
    person = place.person()
    clients = [place.connected(person) for _ in range(3)]

    def mine() -> int:
        return place.other.run(jobs.connections_of, person.id)

    wait_until(lambda: mine() == 3, "the connections to be listed")
    clients[0].close()
    clients[1].drop()
    clients[2].close()
    wait_until(lambda: mine() == 0, "the connections to be deleted")


def test_the_rows_of_a_killed_server_are_deleted(site: Site, directory: Path) -> None:
    """Another server deletes them after WORKER_TIMEOUT, and keeps its own."""
    variables = {"NOTIFICATIONS_WORKER_TIMEOUT": str(WORKER_TIMEOUT)}
    with open_place(site, directory, **variables) as place:
        doomed = place.add_server()
        there = place.connected(place.person(), server=doomed)
        place.connected(place.person())
        wait_for_rows(place, 2, 2)
        doomed.kill()
        assert there.wait_closed() == 1006
        assert place.other.run(jobs.connections) == 2
        wait_for_rows(place, 1, 1)


def test_a_server_that_was_suspended_lists_its_connections_again(
    site: Site, directory: Path
) -> None:
    """A worker that was presumed dead, as after a laptop's sleep, is listed again soon."""
    variables = {"NOTIFICATIONS_WORKER_TIMEOUT": str(WORKER_TIMEOUT)}
    with open_place(site, directory, **variables) as place:
        sleepy = place.add_server()
        person = place.person()
        client = place.connected(person, server=sleepy)
        wait_for_rows(place, 1, 1)
        awake = place.connected(place.person())
        wait_for_rows(place, 2, 2)
        os.kill(sleepy.pid, signal.SIGSTOP)
        try:
            wait_for_rows(place, 1, 1)
        finally:
            os.kill(sleepy.pid, signal.SIGCONT)
        wait_for_rows(place, 2, 2)
        place.other.run(jobs.notify_user, person.id, ["awake"])
        client.wait_for_titles(["awake"])
        assert awake.closed is None
