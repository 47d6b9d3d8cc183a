"""Fixtures for the tests that start real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Client
from tests.integration import jobs
from tests.integration.fronts import StartFront, front_starter
from tests.integration.places import Person, Place, open_place
from tests.integration.processes import Redis
from tests.sites import Site


@pytest.fixture(scope="module", params=["serve", "runserver"])
def shared_place(
    request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A server for all tests of a module, once with uvicorn and once with daphne."""
    directory = tmp_path_factory.mktemp("place")
    # Both are short to make tests quick: the position check finds what other processes publish,
    # and a test waits until an expired token closes its connection.
    variables = {"NOTIFICATIONS_CHECK_INTERVAL": "0.2", "NOTIFICATIONS_EXPIRED_CLOSE_DELAY": "3"}
    with open_place(site, directory, request.param, **variables) as place:
        yield place


@pytest.fixture
def place(shared_place: Place) -> Iterator[Place]:
    """The module's place. A module that needs other settings overrides ``shared_place``."""
    yield shared_place
    shared_place.tidy()


@pytest.fixture(scope="module")
def watching(shared_place: Place) -> Iterator[tuple[Person, Client]]:
    """A person and a client that stays connected during all tests of a module."""
    person = shared_place.person()
    client = Client(shared_place.server.socket_url, token=person.token)
    client.connect()
    yield person, client
    client.close()
    assert client.violations == []


@pytest.fixture
def bystander(place: Place, watching: tuple[Person, Client]) -> Iterator[None]:
    """Check after a test that another client is still served and that no error was logged."""
    yield
    person, client = watching
    titles = [*client.titles, "as ever"]
    place.other.run(jobs.notify_user, person.id, ["as ever"])
    client.wait_for_titles(titles)
    assert client.closed is None
    assert place.tracebacks() == ""
    assert "ERROR" not in place.server.log


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Directory for the database and the logs of one test's own servers."""
    return tmp_path


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    redis = Redis().start()
    yield redis
    redis.close()


@pytest.fixture
def front(site: Site, tmp_path: Path) -> Iterator[StartFront]:
    """Start nginx and two processes; see :func:`~tests.integration.fronts.front_starter`."""
    with front_starter(site, tmp_path) as start:
        yield start
