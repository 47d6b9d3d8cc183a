"""Durable Streams over real servers: the npm client, unmodified, and plain HTTP."""

import http.client
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.client import PATIENCE
from tests.integration import jobs
from tests.integration.fronts import StartFront
from tests.integration.places import Person, Place, open_place
from tests.js.test_modules import find_node
from tests.proxies import trusting
from tests.sites import Site

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).with_name("durable_reader.mjs")

FIND_READER = """
from django.contrib.auth import get_user_model
print(get_user_model().objects.get(username="reader").pk)
"""

LIVE = ["long-poll", "sse"]


@pytest.fixture(scope="module", params=["serve", "runserver"])
def shared_place(
    request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A server that answers a long-poll without news after a short time."""
    variables = {
        "NOTIFICATIONS_CHECK_INTERVAL": "0.2",
        "NOTIFICATIONS_PING_INTERVAL": "2",
        "NOTIFICATIONS_PONG_TIMEOUT": "1.9",
        "DJANGO_SETTINGS_MODULE": "tests.integration.channel_settings",
    }
    with open_place(site, tmp_path_factory.mktemp("streams"), request.param, **variables) as place:
        yield place


def wait_until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.02)


class NodeReader:
    """A process that reads a stream with the npm client.

    Args:
        url: of the stream.
        token: of the user.
        live: how it follows.
        offset: where it begins.
    """

    def __init__(self, url: str, token: str, live: str, offset: str) -> None:
        self.batches: list[dict[str, Any]] = []
        self.errors: list[int] = []
        self._process = subprocess.Popen(
            [find_node(), PROGRAM, url, token, live, offset],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Node may be the child of a wrapper; stop() ends both.
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    @property
    def titles(self) -> list[str]:
        return [title for batch in list(self.batches) for title in batch["titles"]]

    @property
    def offset(self) -> str:
        return str(self.batches[-1]["offset"])

    @property
    def is_up_to_date(self) -> bool:
        return bool(self.batches) and bool(self.batches[-1]["upToDate"])

    def wait_for(self, titles: list[str]) -> None:
        wait_until(
            lambda: len(self.titles) >= len(titles), f"{titles[-1:]} after {self.titles[-3:]}"
        )
        assert self.titles == titles

    def stop(self) -> str:
        """End the process; return what it has complained about."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._thread.join(PATIENCE)
        assert self._process.stderr is not None
        complaints = self._process.stderr.read()
        self._process.stderr.close()
        self._process.wait()
        return complaints

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                found = json.loads(line)
                if "error" in found:
                    self.errors.append(found["error"])
                else:
                    self.batches.append(found)


@contextmanager
def node(
    place: Place, person: Person, live: str, offset: str = "-1", name: str = ""
) -> Iterator[NodeReader]:
    url = f"{place.server.url}/streams/{name or person.channel}"
    reader = NodeReader(url, person.token, live, offset)
    try:
        yield reader
    finally:
        complaints = reader.stop()
    assert complaints == ""


class Plain:
    """Requests over one kept connection, as a person makes them with curl."""

    def __init__(self, place: Place, person: Person | None) -> None:
        parts = urlsplit(place.server.url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
        self._headers = {"Authorization": f"Bearer {person.token}"} if person else {}

    def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, headers={**self._headers, **given})
        response = self._connection.getresponse()
        return response, response.read()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def plain(place: Place) -> Iterator[Callable[[Person | None], Plain]]:
    opened: list[Plain] = []

    def connect(person: Person | None) -> Plain:
        opened.append(Plain(place, person))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


# The npm client


@pytest.mark.parametrize("live", LIVE)
def test_the_npm_client_reads_a_backlog_and_follows(place: Place, live: str) -> None:
    person = place.person()
    titles = [f"n{number}" for number in range(700)]  # three pages
    place.other.run(jobs.notify_in_bulk, person.id, titles)
    with node(place, person, live) as reader:
        reader.wait_for(titles)
        wait_until(lambda: reader.is_up_to_date, "the end of the backlog")
        for number in range(3):
            titles.append(f"live {number}")
            place.other.run(jobs.notify_user, person.id, titles[-1:])
            reader.wait_for(titles)
        assert reader.errors == []
        offset = reader.offset
    place.other.run(jobs.notify_user, person.id, ["while away"])
    with node(place, person, live, offset) as reader:
        reader.wait_for(["while away"])


@pytest.mark.parametrize("live", LIVE)
def test_the_npm_client_resumes_after_the_server_is_killed(place: Place, live: str) -> None:
    person = place.person()
    titles = [f"n{number}" for number in range(5)]
    place.other.run(jobs.notify_user, person.id, titles)
    with node(place, person, live) as reader:
        reader.wait_for(titles)
        for _ in range(2):
            wait_until(lambda: reader.is_up_to_date, "the end")
            place.server.kill()
            titles.append(f"while dead {len(titles)}")
            place.other.run(jobs.notify_user, person.id, titles[-1:])
            place.server.start()
            reader.wait_for(titles)
            titles.append(f"live again {len(titles)}")
            place.other.run(jobs.notify_user, person.id, titles[-1:])
            reader.wait_for(titles)
        # Only the body of an SSE response may break off, after which the program goes on itself.
        assert set(reader.errors) <= ({0} if live == "sse" else set())


@pytest.mark.parametrize("live", LIVE)
def test_a_thousand_messages_arrive_once_and_in_order(place: Place, live: str) -> None:
    person = place.person()
    titles = [f"n{number}" for number in range(1000)]
    with node(place, person, live) as reader:
        wait_until(lambda: reader.is_up_to_date, "the beginning")
        for start in range(0, len(titles), 100):
            place.other.run(jobs.notify_in_bulk, person.id, titles[start : start + 100])
        reader.wait_for(titles)
        offsets = [batch["offset"] for batch in reader.batches]
        assert offsets == sorted(offsets)


@pytest.mark.parametrize("live", LIVE)
def test_the_npm_client_learns_of_a_lost_history(place: Place, live: str) -> None:
    person = place.person()
    place.other.run(jobs.notify_user, person.id, ["one"])
    with node(place, person, live) as reader:
        reader.wait_for(["one"])
        wait_until(lambda: reader.is_up_to_date, "the end")
        place.other.run(jobs.reset_epoch, person.channel)
        wait_until(lambda: reader.errors, "an error")
        assert reader.errors[-1] == 410
    with node(place, person, live) as reader:
        reader.wait_for(["one"])


@pytest.mark.parametrize("live", LIVE)
def test_the_npm_client_ends_when_its_user_leaves_the_group(place: Place, live: str) -> None:
    person = place.person()
    group = place.other.run(jobs.make_group, f"group of {person.name}", [person.id])
    place.other.run(jobs.broadcast_to, f"group:{group}", ["one"])
    with node(place, person, live, name=f"group:{group}") as reader:
        # The user joined the group before the first broadcast.
        reader.wait_for(["one"])
        wait_until(lambda: reader.is_up_to_date, "the end")
        place.other.run(jobs.leave_group, group, person.id)
        wait_until(lambda: reader.errors, "an error")
        assert reader.errors == [403]
        place.other.run(jobs.broadcast_to, f"group:{group}", ["a secret"])
        assert reader.titles == ["one"]


@pytest.mark.parametrize("live", LIVE)
def test_the_npm_client_follows_a_channel_over_a_killed_server(place: Place, live: str) -> None:
    person, channel = place.person(), f"chat:{live}"
    place.other.run(jobs.publish_to, channel, [{"title": "past"}])
    with node(place, person, live, name=channel) as reader:
        reader.wait_for(["past"])
        wait_until(lambda: reader.is_up_to_date, "the end")
        place.other.run(jobs.publish_to, channel, [{"title": "live"}])
        reader.wait_for(["past", "live"])
        place.server.kill()
        place.other.run(jobs.publish_to, channel, [{"title": "while dead"}])
        place.server.start()
        reader.wait_for(["past", "live", "while dead"])


# Plain HTTP


def test_pages_come_over_one_kept_connection(
    place: Place, plain: Callable[[Person | None], Plain]
) -> None:
    person = place.person()
    place.other.run(jobs.notify_user, person.id, ["one", "two"])
    path = f"/streams/{person.channel}"
    http = plain(person)
    page, body = http.ask(f"{path}?offset=-1")
    assert page.status == 200
    assert [message["title"] for message in json.loads(body)] == ["one", "two"]
    assert page.headers["Content-Length"] == str(len(body))
    assert page.headers["Stream-Up-To-Date"] == "true"
    end = page.headers["Stream-Next-Offset"]
    head, nothing = http.ask(path, "HEAD")
    assert (head.status, nothing, head.headers["Stream-Next-Offset"]) == (200, b"", end)
    same, nothing = http.ask(f"{path}?offset=-1", If_None_Match=page.headers["ETag"])
    assert (same.status, nothing) == (304, b"")
    poll, nothing = http.ask(f"{path}?live=long-poll&offset={end}")
    assert (poll.status, nothing) == (204, b"")
    assert poll.headers["Stream-Next-Offset"] == end
    assert poll.headers["Stream-Cursor"].isdecimal()
    refused, body = http.ask(path, "POST")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert json.loads(body)["error"]["code"] == 108
    encoded, _ = http.ask(path.replace(":", "%3A"))
    assert encoded.status == 200


def test_strangers_get_nothing(place: Place, plain: Callable[[Person | None], Plain]) -> None:
    person = place.person()
    for path in (f"/streams/{person.channel}", "/streams/broadcast", "/streams/staff"):
        page, body = plain(None).ask(path)
        assert (page.status, json.loads(body)["error"]["code"]) == (401, 101)
    page, body = plain(place.person()).ask(f"/streams/{person.channel}")
    assert (page.status, json.loads(body)["error"]["code"]) == (403, 103)
    page, body = plain(person).ask("/streams/nothing")
    assert (page.status, json.loads(body)["error"]["code"]) == (404, 102)


def test_a_session_of_the_site_reads(place: Place, plain: Callable[[Person | None], Plain]) -> None:
    person = place.person()
    place.other.run(jobs.notify_user, person.id, ["one"])
    cookie = place.other.run(jobs.log_in, person.id)
    _, body = plain(None).ask(f"/streams/{person.channel}", Cookie=cookie)
    assert [message["title"] for message in json.loads(body)] == ["one"]


def test_the_development_server_ends_well_with_readers(site: Site, directory: Path) -> None:
    with open_place(site, directory, "runserver") as place:
        person = place.person()
        with node(place, person, "long-poll") as poll, node(place, person, "sse") as events:
            wait_until(lambda: poll.is_up_to_date and events.is_up_to_date, "the end")
            assert place.server.stop(signal.SIGTERM) == 0
            place.other.run(jobs.notify_user, person.id, ["meanwhile"])
            place.server.start()
            poll.wait_for(["meanwhile"])
            events.wait_for(["meanwhile"])


def test_a_stopping_server_answers_and_ends_well(site: Site, directory: Path) -> None:
    with open_place(site, directory) as place:
        person = place.person()
        with node(place, person, "long-poll") as poll, node(place, person, "sse") as events:
            wait_until(lambda: poll.is_up_to_date and events.is_up_to_date, "the end")
            waiting = Plain(place, person)
            answers: list[tuple[int, str | None]] = []

            def ask() -> None:
                path = f"/streams/{person.channel}?offset=now&live=long-poll"
                response, _ = waiting.ask(path)
                answers.append((response.status, response.headers["Connection"]))

            thread = threading.Thread(target=ask)
            thread.start()
            time.sleep(0.5)  # the request is on its way, and nobody can see whether it waits
            began = time.monotonic()
            assert place.server.stop(signal.SIGTERM) == 0
            assert time.monotonic() - began < 8
            thread.join(PATIENCE)
            waiting.close()
            assert answers == [(204, "close")]
            place.other.run(jobs.notify_user, person.id, ["meanwhile"])
            place.server.start()
            poll.wait_for(["meanwhile"])
            events.wait_for(["meanwhile"])


def test_events_pass_a_proxy_at_once(front: StartFront) -> None:
    """nginx buffers other responses."""
    running = front()
    cookie = running.log_in("reader")
    user = running.servers[0].manage("shell", "-v", "0", "-c", FIND_READER).stdout.strip()
    request = urllib.request.Request(
        f"{running.nginx.url}/streams/user:{user}?offset=now&live=sse", headers={"Cookie": cookie}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE, context=trusting()) as events:
        assert events.headers["Content-Type"] == "text/event-stream"
        first = [events.readline() for _ in range(3)]
        assert first[0] == b"event: control\n"
        running.servers[0].manage("notify", "reader", "hello")
        lines = [events.readline() for _ in range(2)]
        assert lines[0] == b"event: data\n"
        assert b'"title":"hello"' in lines[1]
