"""A running server answers generated commands, or closes the socket with a code (P7).

The tests send 5,000 commands in all, half of them in each form of the protocol; 100,000 if the
environment variable SOAK is 1. Protobuf cannot express every command that JSON can: some of the
wrong ones are left out there, and wrong bytes take their place.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket
from websockets.typing import Subprotocol

from tests.client import PATIENCE, Client
from tests.integration import jobs
from tests.integration.commands import (
    OWN,
    TOKEN,
    answerable,
    dangerous,
    dangerous_bytes,
    greetings,
)
from tests.integration.places import Person, Place, open_place
from tests.postgres import running_postgres
from tests.sites import Site
from tests.wire_forms import JSON, PROTOBUF, UNENCODABLE, Form

pytestmark = pytest.mark.integration

#: Number of commands on each database.
COMMANDS = 50_000 if os.environ.get("SOAK") == "1" else 2500
BATCH = 50

#: Bytes by which the server's memory may grow after the first fifth of the commands.
GROWTH = 32 * 2**20

#: Allowed close codes: message too big, invalid token, bad request.
CODES = {1009, 3500, 3501}

#: Replies and error codes that must all occur; if not, the commands are not varied enough.
KINDS = {"connect", "subscribe", "unsubscribe", "publish", "history", "rpc", "ping"}
ERRORS = {102, 103, 104, 105, 107, 108, 112}


@dataclass(repr=False)
class Batch:
    """Requests without a ``repr``, which could be megabytes long in a failure's report."""

    requests: list[dict[str, Any]]


class Line(NamedTuple):
    """A command with this id, encoded."""

    id: int
    content: Any


class Fuzzed:
    """A client that sends commands and counts the replies to each id."""

    def __init__(self, url: str, person: Person, form: Form) -> None:
        self.url = url
        self.person = person
        self.form = form
        self.answers: Counter[int] = Counter()
        self.closed: int | None = None
        self.sent = 0
        #: Counts over all connections: replies by kind or error code, and close codes.
        self.kinds: Counter[str | int] = Counter()
        self.ends: Counter[int] = Counter()
        self._last_id = 1000
        self._socket: ClientConnection | None = None

    def open(self) -> None:
        """Open a new socket without sending anything."""
        self.close()
        self.answers.clear()
        self.closed = None
        self._socket = open_socket(
            self.url,
            subprotocols=[Subprotocol(self.form.subprotocol)],
            compression=None,
            ping_interval=None,
            max_size=None,
            proxy=None,
            legacy=True,
        )

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def connect(self) -> None:
        """Connect over a new socket, unless the last one is still open."""
        if self._socket is not None and self.closed is None:
            return
        self.open()
        (greeting,) = self.number([{"connect": {"token": TOKEN}}])
        self.say([greeting.content])
        assert self.closed is None
        assert self.answers.total() == 2

    def greet(self, request: Any) -> None:
        """Open a new socket and send this request as ``connect``; it may fail."""
        self.open()
        self.say([line.content for line in self.number([{"connect": request}])])

    def number(self, requests: list[dict[str, Any]]) -> list[Line]:
        """Encode requests as commands with new ids; leave out what the form cannot express."""
        lines = []
        for request in requests:
            self._last_id += 1
            command = json.loads(self._filled(json.dumps({**request, "id": self._last_id})))
            with suppress(*UNENCODABLE):
                lines.append(Line(self._last_id, self.form.encode([command])))
        return lines

    def say(self, contents: list[Any], per_frame: int = 1) -> None:
        """Send messages and a ping, and read until its reply or the end of the connection."""
        self.send(contents, per_frame)
        self.take()

    def send(self, contents: list[Any], per_frame: int) -> None:
        """Send messages and a ping without reading replies; call :meth:`take` next."""
        (ping,) = self.number([{"ping": {}}])
        self.sent += len(contents)
        with suppress(ConnectionClosed):  # take() records the code
            for frame in (*_frames(contents, per_frame), ping.content):
                self._connection.send(self._filled(frame) if isinstance(frame, str) else frame)

    def take(self) -> None:
        try:
            while not self.answers[self._last_id]:
                self._take(self._connection.recv(PATIENCE))
        except ConnectionClosed as end:
            self.closed = end.rcvd.code if end.rcvd is not None else 1006
            self.ends[self.closed] += 1

    def unanswered(self, lines: list[Line]) -> list[Any]:
        """Return the lines that have not had exactly one reply, cut to 999 characters."""
        return [line.content[:999] for line in lines if self.answers[line.id] != 1]

    def _filled(self, frame: str) -> str:
        return frame.replace(TOKEN, self.person.token).replace(OWN, self.person.channel)

    @property
    def _connection(self) -> ClientConnection:
        assert self._socket is not None
        return self._socket

    def _take(self, frame: str | bytes) -> None:
        for reply in self.form.decode(frame):
            if reply == {}:
                self._connection.send(self.form.encode([{}]))
            elif "push" not in reply:
                self.answers[reply["id"]] += 1
                (kind,) = reply.keys() - {"id"}
                self.kinds[reply["error"]["code"] if kind == "error" else kind] += 1


def _frames(contents: list[Any], per_frame: int) -> Iterator[Any]:
    """Join up to ``per_frame`` messages into each frame, as far as its size allows."""
    waiting: list[Any] = []
    for content in contents:
        if waiting and (len(waiting) >= per_frame or _size([*waiting, content]) > 60_000):
            yield _joined(waiting)
            waiting = []
        waiting.append(content)
    if waiting:
        yield _joined(waiting)


def _joined(contents: list[Any]) -> Any:
    return b"".join(contents) if isinstance(contents[0], bytes) else "\n".join(contents)


def _size(contents: list[Any]) -> int:
    return sum(len(one if isinstance(one, bytes) else one.encode()) + 1 for one in contents)


def memory(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Environment variables for each database: they differ in errors, locks and overflows."""
    if request.param == "sqlite":
        yield {}
        return
    with running_postgres() as url:
        yield {"DATABASE_URL": url}


@pytest.fixture(scope="module")
def place(
    site: Site, database: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A server without an effective limit on the rate of commands."""
    directory = tmp_path_factory.mktemp("fuzz")
    variables = {
        "NOTIFICATIONS_COMMAND_RATE": "1e6",
        "NOTIFICATIONS_COMMAND_BURST": "1000000",
        "NOTIFICATIONS_CHECK_INTERVAL": "0.2",
        # A client that is not used for a minute reads and answers no pings.
        "NOTIFICATIONS_PING_INTERVAL": "3600",
    }
    with open_place(site, directory, **variables, **database) as place:
        yield place


@pytest.fixture(scope="module")
def bystander(place: Place) -> tuple[Person, Client]:
    """A person with a client that stays connected all the time."""
    person = place.person()
    return person, place.connected(person)


def test_each_generated_command_is_answered_or_closes_its_connection(
    place: Place, bystander: tuple[Person, Client]
) -> None:
    url = place.server.socket_url
    people = [
        place.person(**rights)
        for rights in ({}, {"superuser": True}, {"staff": True, "permissions": ("send_private",)})
    ]
    pairs = [(Fuzzed(url, person, JSON), Fuzzed(url, person, PROTOBUF)) for person in people]
    newcomers = [Fuzzed(url, people[0], form) for form in (JSON, PROTOBUF)]
    clients = [*(client for pair in pairs for client in pair), *newcomers]
    sizes: list[int] = []

    @settings(
        max_examples=COMMANDS // BATCH * 11 // 10,  # as Protobuf leaves some commands out
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
        st.none() | dangerous_bytes,
        st.none() | st.none() | greetings,
    )
    def attack(
        pair: tuple[Fuzzed, Fuzzed],
        batch: Batch,
        per_frame: int,
        last: str | None,
        last_bytes: bytes | None,
        greeting: Any,
    ) -> None:
        sent = []
        # Two connections of one user, at once.
        for client, requests in zip(pair, (batch.requests[::2], batch.requests[1::2]), strict=True):
            client.connect()
            client.answers.clear()
            sent.append(client.number(requests))
            client.send([line.content for line in sent[-1]], per_frame)
        for client, lines in zip(pair, sent, strict=True):
            client.take()
            assert client.unanswered(lines) == [], f"{client.closed=}"
            assert client.closed is None
        for client, dangers in zip(pair, (last, last_bytes), strict=True):
            if dangers is not None:
                client.say([dangers])
                assert client.closed in {None, *CODES}, dangers
        for newcomer in newcomers if greeting is not None else ():
            newcomer.greet(greeting)
            assert newcomer.closed in {None, *CODES}, greeting
        sizes.append(memory(place.server.pid))

    attack()
    # Most generated publications are refused, so send one that is accepted for certain.
    sender = pairs[1][0]  # may send private messages
    sender.connect()
    (message,) = sender.number([{"publish": {"channel": OWN, "data": {"title": "to myself"}}}])
    sender.say([message.content])
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
