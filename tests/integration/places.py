"""The environment of an integration test: a database, servers, a second process and users."""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.client import Client
from tests.integration import jobs
from tests.integration.processes import SecondProcess
from tests.servers import Server
from tests.sites import Site

#: Long enough for every HMAC algorithm that a forged token may name.
SECRET = "a-secret-that-only-tests-share-with-each-other-and-nobody-else-in-the-world"

#: Topics that every user may read.
TOPICS = "sdk,news,x,unknown,a,b,c,d,e,f"

#: Matches at the start of each log record.
RECORD = re.compile(r"^(?=\d{4}-\d\d-\d\d )", re.MULTILINE)

_numbers = itertools.count(1)


class Person(NamedTuple):
    """A user of the site, with a token that does not expire."""

    id: int
    name: str
    token: str

    @property
    def channel(self) -> str:
        return f"user:{self.id}"


class Place:
    """The servers, the second process and the clients of a test.

    Tests may share a place; they are independent because each creates its own people.

    Args:
        site: the template of the database.
        directory: directory of the database and the logs.
        command: how servers are started; see :class:`~tests.servers.Server`.
        variables: environment variables of all processes.
    """

    def __init__(
        self, site: Site, directory: Path, command: str, variables: dict[str, str]
    ) -> None:
        self.directory = directory
        self.env = site.environment(
            directory,
            **{"NOTIFICATIONS_TOKEN_SECRET": SECRET, "NOTIFICATIONS_TOPICS": TOPICS, **variables},
        )
        self.command = command
        self.servers: list[Server] = []
        self.clients: list[Client] = []
        self._others: list[SecondProcess] = []
        #: The server that most tests use.
        self.server = self.add_server()
        self.other = self.add_other()

    def add_server(self, env: dict[str, str] | None = None) -> Server:
        """Start another server on the same database; ``env`` replaces the environment."""
        server = Server(self.directory, env or self.env, command=self.command)
        self.servers.append(server)
        return server.start()

    def add_other(self, env: dict[str, str] | None = None) -> SecondProcess:
        other = SecondProcess(env or self.env)
        self._others.append(other)
        return other

    def person(self, **fields: Any) -> Person:
        """Create a user; ``fields`` are those of :func:`jobs.make_user`."""
        name = f"person{next(_numbers)}"
        user_id = self.other.run(jobs.make_user, name, **fields)
        return Person(user_id, name, self.other.run(jobs.token_of, user_id))

    def client(self, person: Person | None = None, **options: Any) -> Client:
        """Return a client that is not connected yet, and is closed when the test ends.

        Args:
            person: whose token the client uses, unless ``options`` has a ``cookie``.
            options: those of :class:`~tests.client.Client`, and ``server``.
        """
        server = options.pop("server", self.server)
        if person is not None and "cookie" not in options:
            options.setdefault("token", person.token)
        client = Client(server.socket_url, **options)
        self.clients.append(client)
        return client

    def connected(self, person: Person, **options: Any) -> Client:
        client = self.client(person, **options)
        client.connect()
        return client

    def tidy(self) -> None:
        """Close the clients of a test and assert that the server has not violated the protocol."""
        clients, self.clients = self.clients, []
        for client in clients:
            client.close()
        violations = [violation for client in clients for violation in client.violations]
        assert not violations, f"{len(violations)} violations: {violations[:10]}"

    def close(self) -> None:
        for other in self._others:
            other.stop()
        for server in self.servers:
            server.kill()

    @property
    def log(self) -> str:
        return "".join(server.log for server in self.servers)

    def tracebacks(self) -> str:
        """The log records of all servers that contain a traceback."""
        records = RECORD.split(self.log)
        return "".join(record for record in records if "Traceback" in record)


@contextmanager
def open_place(
    site: Site, directory: Path, command: str = "serve", **variables: str
) -> Iterator[Place]:
    """Start a server and a second process on a database of their own.

    At the end, no client may have seen a violation and no server may have logged a traceback.

    Args:
        site: the template of the database.
        directory: directory of the database and the logs.
        command: see :class:`tests.servers.Server`.
        variables: environment variables of both processes.
    """
    place = Place(site, directory, command, variables)
    try:
        yield place
        place.tidy()
        assert place.tracebacks() == "", place.tracebacks()
    finally:
        place.close()
