"""Fixtures for all tests. What they are made of is in servers.py and browsers.py."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from notifications.database.lanes import close_threads
from tests import servers
from tests.browsers import ARGUMENTS, People, find_chromium
from tests.servers import Server, Site


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run browser tests in one loop, because a browser that starts once belongs to its loop."""
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session", autouse=True)
def _threads_end_before_the_database(django_db_setup: None) -> Iterator[None]:
    """PostgreSQL deletes no database that somebody is connected to."""
    yield
    close_threads()


@pytest.fixture
def free_port() -> int:
    """A port that nobody uses."""
    return servers.free_port()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A migrated database with the demo accounts and collected static files, to copy from."""
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def server(site: Site, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a production server on a database of its own: ``server(REDIS_URL=…)``.

    Called again in one test, it starts a further server on the same database. Arguments:
    ``command`` ("serve" or "runserver"), ``args`` (more arguments of it), ``start`` (True) and
    environment variables. Everything that runs is killed when the test ends.
    """
    running: list[Server] = []

    def start_server(
        *,
        command: str = "serve",
        args: tuple[str, ...] = (),
        start: bool = True,
        **variables: str,
    ) -> Server:
        made = Server(tmp_path, site.environment(tmp_path, **variables), command=command, args=args)
        running.append(made)
        return made.start() if start else made

    yield start_server
    for made in running:
        made.kill()


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where Chromium is; a test without it fails."""
    return find_chromium()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    """One Chromium for all browser tests. Mark them ``@pytest.mark.browser``."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="session")
async def people(browser: Browser) -> AsyncIterator[People]:
    """Windows with cookies of their own: ``page = await people.log_in(server.url, "reader")``.

    What a console complains of fails the test; see :attr:`People.errors`.
    """
    people = People(browser)
    yield people
    await people.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(people: People) -> Page:
    """One window of nobody in particular."""
    return await people.open()
