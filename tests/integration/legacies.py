"""Fixtures of the tests that take over a site from django-notifications; on both databases."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.legacy import Legacy, clone_sqlite
from tests.postgres import running_postgres
from tests.servers import Server


class SqliteSites:
    """Sites on django-notifications, each made once and copied for each test."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._filled: dict[str, Path] = {}

    def copy(self, script: str, directory: Path) -> Legacy:
        """Make a site in a directory, by the name of the script that has filled its database."""
        if script not in self._filled:
            self._filled[script] = self._fill(script)
        return Legacy(directory, clone_sqlite(self._filled[script], directory))

    def _fill(self, script: str) -> Path:
        directory = self._directory / script
        directory.mkdir()
        site = Legacy(directory, f"sqlite:///{directory / 'db.sqlite3'}")
        site.before("migrate", "--run-syncdb", "--verbosity", "0")
        site.before("shell", script=script)
        return directory / "db.sqlite3"


class PostgresSites:
    """The same on PostgreSQL, where databases are copied by the server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._filled: set[str] = set()
        self._numbers = count()

    def copy(self, script: str, directory: Path) -> Legacy:
        template = script.removesuffix(".py")
        if template not in self._filled:
            site = Legacy(directory, self._create(template, "template1"))
            site.before("migrate", "--run-syncdb", "--verbosity", "0")
            site.before("shell", script=script)
            self._filled.add(template)
        return Legacy(directory, self._create(f"copy{next(self._numbers)}", template))

    def _create(self, name: str, template: str) -> str:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return urlsplit(self._url)._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="module")
def sqlite_sites(tmp_path_factory: pytest.TempPathFactory) -> SqliteSites:
    return SqliteSites(tmp_path_factory.mktemp("legacy"))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def sites(request: pytest.FixtureRequest) -> Iterator[SqliteSites | PostgresSites]:
    """Sites on django-notifications, on each database."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_sites")
        return
    with running_postgres() as url:
        yield PostgresSites(url)


@pytest.fixture
def serve() -> Iterator[Callable[[Legacy], Server]]:
    """Start a site, as it is after the change; it ends with the test."""
    running: list[Server] = []

    def start(site: Legacy) -> Server:
        running.append(site.server().start())
        return running[-1]

    yield start
    for server in running:
        server.kill()


def get(server: Server, path: str, cookie: str) -> str:
    request = urllib.request.Request(f"{server.url}{path}", headers={"Cookie": cookie})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def get_json(server: Server, path: str, cookie: str) -> Any:
    return json.loads(get(server, path, cookie))
