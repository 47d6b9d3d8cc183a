"""Generated commands against a running server: answered, or the socket ends with a code (P7).

5 000 commands in all; the environment variable SOAK=1 makes them 100 000.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket

from tests.client import PATIENCE, Client
from tests.integration import jobs
from tests.integration.commands import OWN, TOKEN, answerable, dangerous, greetings
from tests.integration.places import Person, Place, open_place
from tests.postgres import running_postgres
from tests.servers import Site

pytestmark = pytest.mark.integration

#: On each database.
COMMANDS = 50_000 if os.environ.get("SOAK") == "1" else 2500
BATCH = 50

#: What the server's memory may grow by after a fifth of the commands, in bytes.
GROWTH = 32 * 2**20

#: What generated input may earn: too big, invalid token, bad request.
CODES = {1009, 3500, 3501}

#: What has to come back at least once, or the commands were not worth the name.
KINDS = {"connect", "subscribe", "unsubscribe", "publish", "history", "rpc", "ping"}
ERRORS = {102, 103, 104, 105, 107, 108, 112}


@dataclass(repr=False)
class Batch:
    """Requests, without a ``repr`` of megabytes when one of them has failed."""

    requests: list[dict[str, Any]]


class Fuzzed:
    """A client that sends lines and books the replies to each id."""

    def __init__(self, url: str, person: Person) -> None:
        self.url = url
        self.person = person
        self.answers: Counter[int] = Counter()
        self.closed: int | None = None
        self.sent = 0
        #: Over all connections: replies by kind or code of the error, and close codes.
        self.kinds: Counter[str | int] = Counter()
        self.ends: Counter[int] = Counter()
        self._last_id = 1000
        self._socket: ClientConnection | None = None

    def open(self) -> None:
        """Open a new socket and say nothing yet."""
        self.close()
        self.answers.clear()
        self.closed = None
        self._socket = open_socket(
            self.url, compression=None, ping_interval=None, max_size=None, proxy=None, legacy=True
        )

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def connect(self) -> None:
        """Be connected: a new socket where the last one was closed."""
        if self._socket is not None and self.closed is None:
            return
        self.open()
        (greeting,) = self.number([{"connect": {"token": TOKEN}}])
        self.say([greeting])
        assert self.closed is None
        assert self.answers.total() == 2

    def greet(self, request: Any) -> None:
        """Open a new socket and connect with this request; it shows the token where it says so."""
        self.open()
        (line,) = self.number([{"connect": request}])
        self.say([line])

    def number(self, requests: list[dict[str, Any]]) -> list[str]:
        """Make commands of requests, each with an id of its own."""
        first = self._last_id + 1
        self._last_id += len(requests)
        return [json.dumps({**request, "id": first + n}) for n, request in enumerate(requests)]

    def say(self, lines: list[str], per_frame: int = 1) -> None:
        """Send lines, and take everything up to the answer to a last ping, or to the end."""
        self.send(lines, per_frame)
        self.take()

    def send(self, lines: list[str], per_frame: int) -> None:
        """Send lines, and a last ping; :meth:`take` has to follow."""
        (ping,) = self.number([{"ping": {}}])
        self.sent += len(lines)
        with suppress(ConnectionClosed):  # take() will see why
            for frame in (*_frames(lines, per_frame), ping):
                self._connection.send(self._filled(frame))

    def take(self) -> None:
        try:
            while not self.answers[self._last_id]:
                self._take(self._connection.recv(PATIENCE))
        except ConnectionClosed as end:
            self.closed = end.rcvd.code if end.rcvd is not None else 1006
            self.ends[self.closed] += 1

    def unanswered(self, lines: list[str]) -> list[str]:
        """Those of these lines that have not had exactly one answer."""
        return [line[:999] for line in lines if self.answers[json.loads(line)["id"]] != 1]

    def _filled(self, frame: str) -> str:
        return frame.replace(TOKEN, self.person.token).replace(OWN, self.person.channel)

    @property
    def _connection(self) -> ClientConnection:
        assert self._socket is not None
        return self._socket

    def _take(self, frame: str | bytes) -> None:
        assert isinstance(frame, str)
        for line in frame.split("\n"):
            reply = json.loads(line)
            if reply == {}:
                self._connection.send("{}")
            elif "push" not in reply:
                self.answers[reply["id"]] += 1
                (kind,) = reply.keys() - {"id"}
                self.kinds[reply["error"]["code"] if kind == "error" else kind] += 1


def _frames(lines: list[str], per_frame: int) -> Iterator[str]:
    """Several lines to a frame, as many as may be in one."""
    waiting: list[str] = []
    for line in lines:
        if waiting and (len(waiting) >= per_frame or _size([*waiting, line]) > 60_000):
            yield "\n".join(waiting)
            waiting = []
        waiting.append(line)
    if waiting:
        yield "\n".join(waiting)


def _size(lines: list[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Each refuses, locks and overflows in its own way."""
    if request.param == "sqlite":
        yield {}
        return
    with running_postgres() as url:
        yield {"DATABASE_URL": url}


@pytest.fixture(scope="module")
def place(
    site: Site, database: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A server that takes commands as fast as they come."""
    directory = tmp_path_factory.mktemp("fuzz")
    variables = {
        "NOTIFICATIONS_COMMAND_RATE": "1e6",
        "NOTIFICATIONS_COMMAND_BURST": "1000000",
        "NOTIFICATIONS_CHECK_INTERVAL": "0.2",
        # A client whose turn does not come for a minute reads no pings.
        "NOTIFICATIONS_PING_INTERVAL": "3600",
    }
    with open_place(site, directory, **variables, **database) as place:
        yield place


@pytest.fixture(scope="module")
def bystander(place: Place) -> tuple[Person, Client]:
    """Somebody who is connected all the time and gets only what is his."""
    person = place.person()
    return person, place.connected(person)


def test_each_generated_command_is_answered_or_ends_its_connection(
    place: Place, bystander: tuple[Person, Client]
) -> None:
    url = place.server.socket_url
    people = [
        place.person(**rights)
        for rights in ({}, {"superuser": True}, {"staff": True, "permissions": ("send_private",)})
    ]
    pairs = [(Fuzzed(url, person), Fuzzed(url, person)) for person in people]
    newcomer = Fuzzed(url, people[0])
    clients = [*(client for pair in pairs for client in pair), newcomer]
    sizes: list[int] = []

    @settings(
        max_examples=COMMANDS // BATCH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.sampled_from(pairs),
        st.builds(Batch, st.lists(answerable, min_size=BATCH, max_size=BATCH)),
        st.sampled_from([1, 3, 10, BATCH]),
        st.none() | dangerous,
        st.none() | st.none() | greetings,
    )
    def attack(
        pair: tuple[Fuzzed, Fuzzed], batch: Batch, per_frame: int, last: str | None, greeting: Any
    ) -> None:
        sent = []
        # Two connections of one user, at once.
        for client, requests in zip(pair, (batch.requests[::2], batch.requests[1::2]), strict=True):
            client.connect()
            client.answers.clear()
            sent.append(client.number(requests))
            client.send(sent[-1], per_frame)
        for client, lines in zip(pair, sent, strict=True):
            client.take()
            assert client.unanswered(lines) == [], f"{client.closed=}"
            assert client.closed is None
        if last is not None:
            pair[0].say([last])
            assert pair[0].closed in {None, *CODES}, last
        if greeting is not None:
            newcomer.greet(greeting)
            assert newcomer.closed in {None, *CODES}, greeting
        sizes.append(memory(place.server.pid))

    attack()
    # Generated ones are mostly refused; one that is not is there for certain.
    sender = pairs[0][0]
    sender.connect()
    sender.say(sender.number([{"publish": {"channel": OWN, "data": {"title": "to myself"}}}]))
    for client in clients:
        client.close()
    assert sum(client.sent for client in clients) >= COMMANDS
    kinds = Counter[str | int]()
    for client in clients:
        kinds.update(client.kinds)
    assert kinds.keys() - {"refresh", 100, 101} == KINDS | ERRORS, kinds
    assert sum(client.ends.total() for client in clients) > 10
    grown = sizes[-1] - sizes[len(sizes) // 5]
    assert grown < GROWTH, f"{grown / 2**20:.0f} MB more"
    assert place.tracebacks() == ""
    person, other = bystander
    place.other.run(jobs.notify_user, person.id, ["as ever"])
    other.wait(lambda: "as ever" in other.titles, "the notification")
    assert other.closed is None
