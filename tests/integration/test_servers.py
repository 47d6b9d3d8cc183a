"""What docs/servers.md says of each server, held against the server."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import version
from typing import NamedTuple

import pytest

from tests.integration import jobs
from tests.integration.places import Person, Place
from tests.raw import PING, TEXT, RawSocket, frame
from tests.sites import ROOT, Site

pytestmark = [pytest.mark.integration, pytest.mark.hosts]

#: Close codes: of this protocol, of a server that restarts, and of a connection that was cut.
SHUTDOWN, RESTART, CUT = 3001, 1012, 1006

#: Sockets that are not read, and what each of them has to get: far more than kernels keep.
UNREAD, AMPLE, SIZE = 6, 500, 15_000

#: Bytes that a server may grow by meanwhile.
BOUND = 28 * 2**20


class Traits(NamedTuple):
    """A row of the table.

    Args:
        distribution: what it is called on PyPI.
        codes: how sockets may end when the server is stopped by SIGTERM.
        status: how the process does.
        has_back_pressure: a socket that is not read fills no memory.
        takes_frames: it has the extension for prepared frames.
    """

    distribution: str
    codes: set[int]
    status: int = 0
    has_back_pressure: bool = True
    takes_frames: bool = False


SERVERS = {
    "serve": Traits("uvicorn", {SHUTDOWN}, takes_frames=True),
    "uvicorn": Traits("uvicorn", {RESTART}, status=-signal.SIGTERM),
    "gunicorn": Traits("gunicorn", {RESTART}),
    "hypercorn": Traits("Hypercorn", {SHUTDOWN}),
    "granian": Traits("granian", {CUT}),
    "daphne": Traits("daphne", {SHUTDOWN, CUT}, has_back_pressure=False),
    "runserver": Traits("daphne", {SHUTDOWN, CUT}, has_back_pressure=False),
}


@pytest.fixture(scope="module", params=SERVERS)
def shared_place(
    request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("place")
    place = Place(site, directory, request.param, {"NOTIFICATIONS_CHECK_INTERVAL": "0.2"})
    try:
        yield place
        # Some have tracebacks of their own; none may come out of this project.
        assert "notifications/" not in place.tracebacks(), place.tracebacks()
    finally:
        place.close()


@pytest.fixture
def traits(place: Place) -> Traits:
    return SERVERS[place.command]


def connected(place: Place, person: Person) -> RawSocket:
    socket = RawSocket(place.server)
    request = json.dumps({"id": 1, "connect": {"token": person.token}})
    socket.send(frame(TEXT, request.encode()))
    assert "connect" in json.loads(socket.text())
    return socket


def test_it_delivers_live_and_replays_what_was_missed(place: Place) -> None:
    person = place.person()
    client = place.connected(person)
    place.other.run(jobs.notify_user, person.id, ["live"])
    client.wait_for_titles(["live"])
    client.drop()
    place.other.run(jobs.notify_user, person.id, ["missed", "missed too"])
    client.connect()
    client.wait_for_titles(["live", "missed", "missed too"])
    assert client.unrecovered == []


def test_a_stop_ends_sockets_with_its_code_and_loses_nothing(place: Place, traits: Traits) -> None:
    person = place.person()
    clients = [place.connected(person) for _ in range(3)]
    place.other.run(jobs.notify_user, person.id, ["before"])
    for client in clients:
        client.wait_for_titles(["before"])
        client.rpc("ack", channel=person.channel, offset=1)
    assert place.server.stop(signal.SIGTERM) == traits.status
    assert {client.wait_closed() for client in clients} <= traits.codes
    assert place.other.run(jobs.delivered, person.id, person.channel) == 1
    assert place.other.run(jobs.connections_of, person.id) == 0
    place.other.run(jobs.notify_user, person.id, ["meanwhile"])
    place.server.start()
    for client in clients:
        client.connect()
        client.wait_for_titles(["before", "meanwhile"])
        assert client.unrecovered == []


def test_sockets_that_are_not_read_fill_its_memory_or_not(place: Place, traits: Traits) -> None:
    person = place.person()
    reader = place.connected(person)
    with ExitStack() as stack:
        for _ in range(UNREAD):
            stack.enter_context(connected(place, person))
        before = place.server.resident
        place.other.run(jobs.notify_amply, person.id, AMPLE, SIZE)
        reader.wait_for_count(AMPLE, timeout=60)
        grown = place.server.resident - before
    assert (grown < BOUND) is traits.has_back_pressure, f"{grown / 2**20:.0f} MB"


def test_frames_below_messages_are_charged_where_it_has_the_extension(
    place: Place, traits: Traits
) -> None:
    """The server tells the app of control frames by the extension that also takes built frames."""
    with connected(place, place.person()) as socket:
        socket.send(frame(PING) * 5000)
        socket.send(frame(TEXT, b'{"id":2,"ping":{}}') + frame(8, b"\x03\xe8"))
        assert (socket.close_code() == 3013) is traits.takes_frames


def test_versions_in_the_table_are_those_of_this_test() -> None:
    page = (ROOT / "docs" / "servers.md").read_text()
    rows = re.findall(r"^\| `(?:manage\.py )?(\w+)`.*\| ([\d.]+) \|$", page, re.MULTILINE)
    assert dict(rows) == {name: version(traits.distribution) for name, traits in SERVERS.items()}
