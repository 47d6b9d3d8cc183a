"""Presence across workers: lists, counts, a killed worker, and disconnects by an administrator."""

import os
import re
import signal
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from tests.integration import jobs
from tests.integration.places import Place, open_place
from tests.integration.test_drain import wait_for_starts
from tests.servers import Server
from tests.sites import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

PATIENCE = 20.0

#: Seconds; long enough that only this timeout can be the reason why rows disappear.
WORKER_TIMEOUT = 6.0


class Administrator:
    """A superuser who uses the admin's list of connections at one of the servers."""

    def __init__(self, server: Server) -> None:
        self._url = f"{server.url}/admin/notifications/connection/"
        jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        login = f"{server.url}/accounts/login/"
        self._post(login, {"username": "admin", "password": "admin"}, self._get(login))

    def listed(self) -> list[str]:
        """The names of the test's people in the list, sorted and without duplicates."""
        return sorted(set(re.findall(r"\bperson\d+\b", self._get(self._url))))

    def wait_for(self, names: list[str]) -> None:
        wait_until(lambda: self.listed() == names, f"a list of {names}")

    def disconnect(self, client: str) -> None:
        fields = {"action": "disconnect", "_selected_action": client}
        page = self._post(self._url, fields, self._get(self._url))
        assert "1 connection is being closed." in page

    def _get(self, url: str) -> str:
        with self._opener.open(url, timeout=10) as answer:
            return str(answer.read().decode())

    def _post(self, url: str, fields: dict[str, str], page: str) -> str:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None, page
        data = urllib.parse.urlencode({**fields, "csrfmiddlewaretoken": token[1]}).encode()
        request = urllib.request.Request(url, data, headers={"Referer": url})
        with self._opener.open(request, timeout=10) as answer:
            return str(answer.read().decode())


def test_the_list_is_correct_across_two_workers_and_after_one_is_killed(
    site: Site, directory: Path
) -> None:
    variables = {"NOTIFICATIONS_WORKER_TIMEOUT": str(WORKER_TIMEOUT)}
    with open_place(site, directory, **variables) as place:
        server = Server(directory, place.env, args=("--workers", "2", "--access-log"))
        place.servers.append(server)
        server.start()
        wait_for_starts(server, 2)
        people = [place.person() for _ in range(16)]
        clients = {person.name: place.connected(person, server=server) for person in people}
        names = sorted(clients)

        def listed() -> list[str]:
            held = place.other.run(jobs.connections_by_worker).values()
            return sorted(name for part in held for name in part)

        wait_until(lambda: listed() == names, "the whole list")
        clients[names[0]].close()
        wait_until(lambda: listed() == names[1:], "one less")

        held = place.other.run(jobs.connections_by_worker)
        assert len(held) == 2, "one worker has taken all of them"
        doomed = max(held, key=lambda pid: len(held[pid]))
        staying = sorted(set(names[1:]) - set(held[doomed]))
        os.kill(int(doomed), signal.SIGKILL)
        for name in held[doomed]:
            assert clients[name].wait_closed() == 1006
        wait_until(lambda: listed() == staying, "their end", WORKER_TIMEOUT + 2)
        assert all(clients[name].closed is None for name in staying)
        for name in held[doomed]:
            clients[name].connect()
        wait_until(lambda: listed() == names[1:], "their return")


@pytest.fixture
def place(site: Site, directory: Path):
    with open_place(site, directory) as place:
        place.add_server()
        yield place


def test_an_administrator_at_any_worker_sees_and_ends_all_connections(place: Place) -> None:
    """Without Redis, the other worker finds the request in the database."""
    administrators = [Administrator(server) for server in place.servers]
    people = [place.person() for _ in range(4)]
    clients = [
        place.connected(person, server=place.servers[number % 2])
        for number, person in enumerate(people)
    ]
    names = sorted(person.name for person in people)
    for administrator in administrators:
        administrator.wait_for(names)
    # 0 and 2 are at the first server, 1 and 3 at the second.
    for number, administrator in ((0, administrators[1]), (1, administrators[0])):
        administrator.disconnect(place.other.run(jobs.client_of, people[number].id))
        assert clients[number].wait_closed() == 3503
    left = sorted(person.name for person in people[2:])
    for administrator in administrators:
        administrator.wait_for(left)
    assert [client.closed for client in clients[2:]] == [None, None]
