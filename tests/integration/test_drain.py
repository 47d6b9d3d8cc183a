"""A stopping worker closes its sockets in waves, and a rolling restart loses nothing."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.client import Client, ReconnectingClient
from tests.integration import jobs
from tests.integration.places import Place, open_place
from tests.integration.test_shutdown import listed, wait_for_rows
from tests.servers import START_TIMEOUT, Server
from tests.sites import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

#: Number of clients; enough for several waves.
CLIENTS = 36

#: Seconds that a worker takes to start; longer than the 5 that uvicorn allows.
SLOW_START = 6.0

#: Seconds between the notifications of a load.
PAUSE = 0.02


class Load:
    """Clients that always reconnect, and a second process that publishes to them.

    Args:
        place: the servers and the second process.
        urls: websocket URLs, over which the clients are spread.
    """

    def __init__(self, place: Place, urls: list[str]) -> None:
        self.place = place
        self.person = place.person()
        self.published: list[str] = []
        self._job = 0
        self.reconnecting = [
            ReconnectingClient(self._client(urls[number % len(urls)])) for number in range(CLIENTS)
        ]

    def _client(self, url: str) -> Client:
        client = self.place.client(self.person)
        client.url = url
        return client

    @property
    def clients(self) -> list[Client]:
        return [each.client for each in self.reconnecting]

    def spread_over_workers(self, count: int) -> None:
        """Wait until ``count`` workers of one port have clients.

        The kernel decides which worker accepts a connection, so more clients may have to connect.
        """
        other = self.place.other
        deadline = time.monotonic() + START_TIMEOUT
        while (found := (other.run(jobs.connections), other.run(jobs.workers))) != (
            len(self.reconnecting),
            count,
        ):
            assert time.monotonic() < deadline, f"{found[0]} connections, {found[1]} workers"
            if found[0] == len(self.reconnecting):
                self.reconnecting.append(
                    ReconnectingClient(self._client(self.reconnecting[0].client.url))
                )
            time.sleep(0.1)

    def begin(self, count: int) -> None:
        titles = [f"n{len(self.published) + number}" for number in range(count)]
        self.published += titles
        self.place.other.begin(jobs.notify_slowly, self.person.id, titles, PAUSE)

    def finish(self) -> None:
        self.place.other.finish()

    def stop(self) -> None:
        for each in self.reconnecting:
            each.stop()

    def verify(self) -> None:
        """Assert that each client was recovered and has received everything once and in order."""
        for each in self.reconnecting:
            each.client.wait_for_titles(self.published, timeout=30)
            assert each.client.violations == []
            assert each.client.unrecovered == []


@contextmanager
def load(place: Place, urls: list[str]) -> Iterator[Load]:
    load = Load(place, urls)
    try:
        yield load
    finally:
        load.stop()


def starts(server: Server) -> int:
    """The number of workers that have become ready so far."""
    return server.log.count("Application startup complete.")


def wait_for_starts(server: Server, count: int) -> None:
    wait_until(lambda: starts(server) >= count, lambda: server.log, START_TIMEOUT)


def send_elsewhere(clients: list[Client], gone: str, left: str) -> None:
    """Let clients of one server reconnect to another, as a load balancer does."""
    for client in clients:
        if client.url == gone:
            client.url = left


def test_rolling_restart_of_two_servers_under_load_loses_nothing(
    site: Site, directory: Path
) -> None:
    with open_place(site, directory) as place:
        first, second = place.server, place.add_server()
        with load(place, [first.socket_url, second.socket_url]) as running:
            wait_for_rows(place, CLIENTS, 2)
            running.begin(200)
            for leaving, staying in ((first, second), (second, first)):
                send_elsewhere(running.clients, leaving.socket_url, staying.socket_url)
                assert leaving.stop() == 0
                leaving.start()
            running.finish()
            running.verify()
            codes = Counter(code for each in running.reconnecting for code in each.codes)
            assert codes == {3001: CLIENTS // 2 + CLIENTS}
            # No attempt to reconnect has failed, so no client waited longer than its own delay.
            assert sum(each.failures for each in running.reconnecting) == 0


def test_the_workers_of_a_server_are_replaced_one_by_one_under_load(
    site: Site, directory: Path
) -> None:
    with open_place(site, directory) as place:
        server = Server(directory, place.env, args=("--workers", "2", "--access-log"))
        place.servers.append(server)
        server.start()
        wait_for_starts(server, 2)
        with load(place, [server.socket_url]) as running:
            running.spread_over_workers(2)
            beside = place.add_other()
            before = set(beside.run(jobs.worker_pids))
            running.begin(200)
            os.kill(server.pid, signal.SIGHUP)
            wait_until(
                lambda: not before & set(beside.run(jobs.worker_pids)), "the old workers stay", 240
            )
            assert starts(server) == 4
            running.finish()
            running.verify()
            assert {code for each in running.reconnecting for code in each.codes} == {3001}
            assert sum(each.failures for each in running.reconnecting) == 0


def test_workers_that_start_slowly_still_replace_the_others(site: Site, directory: Path) -> None:
    with open_place(site, directory) as place:
        server = Server(directory, place.env, args=("--workers", "2", "--access-log"))
        place.servers.append(server)
        server.start()
        wait_for_starts(server, 2)
        before = children(server.pid)
        os.kill(server.pid, signal.SIGHUP)
        new = wait_until(lambda: children(server.pid) - before, lambda: server.log, START_TIMEOUT)
        os.kill(new.pop(), signal.SIGSTOP)
        time.sleep(SLOW_START)  # the time that a start takes is what is tested
        for pid in children(server.pid):
            os.kill(pid, signal.SIGCONT)
        wait_for_starts(server, 4)


def children(pid: int) -> set[int]:
    """The child processes, by proc(5); they include multiprocessing's resource tracker."""
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def test_a_signal_to_all_processes_drains_all_of_them(site: Site, directory: Path) -> None:
    """systemd signals the parent and its workers, and the parent signals its workers again."""
    with open_place(site, directory) as place:
        server = Server(directory, place.env, args=("--workers", "2", "--access-log"))
        place.servers.append(server)
        server.start()
        wait_for_starts(server, 2)
        person = place.person()
        clients = [place.connected(person, server=server) for _ in range(6)]
        os.killpg(server.pid, signal.SIGTERM)
        assert [client.wait_closed() for client in clients] == [3001] * 6
        assert server.stop() == 0
        assert listed(place) == (0, 0)
