"""Fixtures for all tests, built from servers.py and browsers.py."""

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import SyncToAsync
from django.db import connections
from django.utils import translation
from playwright.async_api import Browser, Page, async_playwright

from notifications.database.lanes import close_threads, in_database
from notifications.hub import Hub
from tests import servers
from tests.browsers import ARGUMENTS, People, find_chromium
from tests.faults.table import write_table
from tests.flushing import keep_permissions
from tests.peers import running_hub
from tests.rooms import make_user
from tests.scheduling import Schedule, made_once, order
from tests.servers import Server
from tests.sites import Site, make_site
from tests.wheels import build_wheel


def pytest_configure() -> None:
    keep_permissions()
    # A shell ignores SIGINT for what it runs in the background, and all processes that are started
    # from there inherit this. SIGINT has to end those that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Schedule:
    return Schedule(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all browser tests in one event loop: they share a browser, which belongs to its loop."""
    items.sort(key=order)
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    write_table(terminalreporter)


@pytest.fixture(scope="session", autouse=True)
def _threads_end_before_the_database(django_db_setup: None) -> Iterator[None]:
    """Close the threads' connections: PostgreSQL cannot drop a database that is in use."""
    yield
    close_threads()
    # asgiref's thread, in which `apublish` and the like run for tests.
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture(autouse=True)
def _the_language_of_a_request_ends_with_its_test() -> Iterator[None]:
    """LocaleMiddleware activates the language of a request for its thread, and leaves it there."""
    yield
    translation.deactivate()


@pytest.fixture
async def hub(settings: Any) -> AsyncIterator[Hub]:
    async with running_hub(settings) as running:
        yield running


@pytest.fixture
async def user() -> Any:
    return await in_database(make_user)


@pytest.fixture
def free_port() -> int:
    """A free port of the loopback interface."""
    return servers.free_port()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A template to copy: a migrated database with the demo accounts, and static files."""
    return Site(made_once(tmp_path_factory, "site", make_site))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built app, as other projects install it."""
    (wheel,) = made_once(tmp_path_factory, "wheel", build_wheel).glob("wheels/*.whl")
    return wheel


@pytest.fixture
def server(site: Site, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a production server on its own database: ``server(REDIS_URL=…)``.

    Further calls in a test start further servers on the same database. All servers are killed when
    the test ends.

    Args:
        command: ``serve``, ``runserver`` or ``uvicorn``; see :class:`~tests.servers.Server`.
        args: further arguments of the command.
        start: start the server; otherwise the test does.
        variables: environment variables.
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
    """The path of Chromium; a test fails if it is missing."""
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
    """Windows with separate cookies: ``page = await people.log_in(server.url, "reader")``.

    Errors and warnings in a console fail the test; see :class:`~tests.browsers.People`.
    """
    people = People(browser)
    yield people
    await people.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(people: People) -> Page:
    """A window that is not logged in."""
    return await people.open()
