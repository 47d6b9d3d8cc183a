"""Clients that only listen, against real servers: curl, websockets, raw sockets."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.client import PATIENCE
from tests.integration import jobs
from tests.integration.places import Person, Place, open_place
from tests.servers import Server
from tests.sites import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.integration


def uni_sse(server: Server, person: Person) -> str:
    request = quote(json.dumps({"token": person.token}))
    return f"{server.url}/connection/uni_sse?cf_connect={request}"


class Lines:
    """A command whose output is read by a thread, line by line."""

    def __init__(self, *command: str | Path) -> None:
        # A group of its own: node of a virtual environment is the child of a Python process.
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._thread.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until so many lines contain the text."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: sum(text in line for line in self.lines) >= count, 2 * PATIENCE
            )
        assert found, f"{text} did not come: {self.lines}"

    def wait_for_end(self) -> int:
        return self._process.wait(PATIENCE)

    @property
    def values(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def titles(self) -> list[str]:
        return [value["pub"]["data"]["title"] for value in self.values if "pub" in value]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()


def test_curl_prints_what_happens(place: Place) -> None:
    person = place.person()
    url = f"{place.server.url}/connection/uni_http_stream"
    with Lines("curl", "-sN", "--data", json.dumps({"token": person.token}), url) as curl:
        curl.wait_for('"connect"')
        place.other.run(jobs.notify_user, person.id, ["one"])
        curl.wait_for('"one"')
        channels = [value.get("channel") for value in curl.values]
        assert channels == [None, person.channel]


def test_a_websocket_that_only_listens(place: Place) -> None:
    person = place.person()
    url = place.server.socket_url.replace("/websocket", "/uni_websocket")
    with connect(url, ping_interval=None, proxy=None) as listener:
        listener.send(json.dumps({"token": person.token}))
        assert json.loads(listener.recv(PATIENCE))["connect"]["ping"] == 25
        place.other.run(jobs.notify_user, person.id, ["one"])
        message = json.loads(listener.recv(PATIENCE))
        assert (message["channel"], message["pub"]["offset"]) == (person.channel, 1)
    with connect(url, ping_interval=None, proxy=None) as listener:
        listener.send("{}")
        with pytest.raises(ConnectionClosed) as closed:
            listener.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 3507


def test_tokens_in_urls_are_not_logged(site: Site, directory: Path) -> None:
    for command, args in (("serve", ("--access-log",)), ("runserver", ())):
        with open_place(site, directory, "serve") as place:
            place.server.stop()
            person = place.person()
            env = {**place.env, "DEBUG": "1"}
            server = Server(directory, env, command=command, args=args).start()
            place.servers.append(server)
            with Lines("curl", "-sN", uni_sse(server, person)) as curl:
                curl.wait_for('"connect"')
            url = f"{server.socket_url.replace('/websocket', '/uni_websocket')}?cf_connect="
            with connect(url + quote(json.dumps({"token": person.token})), proxy=None) as listener:
                assert "connect" in json.loads(listener.recv(PATIENCE))
            assert server.stop() == 0
            assert "/connection/uni_websocket" in server.log, "requests are logged"
            assert person.token not in server.log
            assert person.token.split(".")[2] not in server.log


@contextmanager
def deaf(server: Server, path: str, body: str) -> Iterator[socket.socket]:
    """A client that sends a request and reads nothing."""
    with socket.socket() as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        tcp.connect(("127.0.0.1", server.port))
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        tcp.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        yield tcp


@pytest.mark.parametrize("kind", ["uni_sse", "uni_http_stream", "http_stream"])
def test_a_client_that_reads_nothing_takes_no_memory_and_is_dropped(
    site: Site, directory: Path, kind: str
) -> None:
    variables = {"NOTIFICATIONS_SLOW_TIMEOUT": "2", "NOTIFICATIONS_CHECK_INTERVAL": "0.2"}
    with open_place(site, directory, METRICS_ALLOW="127.0.0.1", **variables) as place:
        person = place.person()
        request: dict[str, Any] = {"token": person.token}
        body = json.dumps({"id": 1, "connect": request} if kind == "http_stream" else request)
        with deaf(place.server, f"/connection/{kind}", body) as tcp:
            wait_for_connections(place, person, 1)
            before = place.server.resident
            place.other.run(jobs.notify_amply, person.id, 400, 9_900)
            wait_for_connections(place, person, 0)
            assert place.server.resident - before < 30 * 2**20, "4 MB were published"
            assert not read_to_the_end(tcp).endswith(b"0\r\n\r\n"), "a complete response"
        assert 'disconnects_total{code="3008"} 1.0' in metrics(place.server)
        assert "ERROR" not in place.server.log


def wait_for_connections(place: Place, person: Person, count: int) -> None:
    wait_until(
        lambda: place.other.run(jobs.connections_of, person.id) == count, f"{count} connections"
    )


def read_to_the_end(tcp: socket.socket) -> bytes:
    """Read what was sent before the connection was dropped."""
    tcp.settimeout(PATIENCE)
    received = b""
    with suppress(ConnectionResetError):
        while part := tcp.recv(65_536):
            received += part
    return received


def metrics(server: Server) -> str:
    return subprocess.run(
        ["curl", "-s", f"{server.url}/metrics"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("kind", ["uni_sse", "uni_http_stream"])
def test_a_drain_tells_clients_and_ends_their_responses(
    site: Site, directory: Path, kind: str
) -> None:
    with open_place(site, directory) as place:
        person = place.person()
        url = f"{place.server.url}/connection/{kind}"
        with Lines("curl", "-sN", "--data", json.dumps({"token": person.token}), url) as curl:
            curl.wait_for('"connect"')
            assert place.server.stop() == 0
            curl.wait_for('{"disconnect":{"code":3001,"reason":"shutdown","reconnect":true}}')
            assert curl.wait_for_end() == 0, "a complete response"


SERVERS = ["serve", "runserver", "uvicorn", "gunicorn", "hypercorn", "granian", "daphne"]


@pytest.mark.parametrize("command", SERVERS)
def test_every_server_passes_messages_and_notices_who_has_gone(
    site: Site, directory: Path, command: str
) -> None:
    with open_place(site, directory, command, NOTIFICATIONS_CHECK_INTERVAL="0.2") as place:
        person = place.person()
        url = f"{place.server.url}/connection/uni_http_stream"
        with Lines("curl", "-sN", "--data", json.dumps({"token": person.token}), url) as curl:
            curl.wait_for('"connect"')
            wait_for_connections(place, person, 1)
            titles = [f"n{number}" for number in range(200)]
            place.other.run(jobs.notify_user, person.id, titles)
            curl.wait_for('"n199"')
            assert curl.titles == titles
        wait_for_connections(place, person, 0)


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("runserver", ()),
        ("daphne", ()),
        ("hypercorn", ()),
        ("uvicorn", ("--timeout-graceful-shutdown", "2")),
    ],
)
def test_a_server_that_stops_tells_clients_and_ends_their_responses(
    site: Site, directory: Path, command: str, args: tuple[str, ...]
) -> None:
    with open_place(site, directory) as place:
        person = place.person()
        server = Server(directory, place.env, command=command, args=args).start()
        try:
            url = f"{server.url}/connection/uni_http_stream"
            with Lines("curl", "-sN", "--data", json.dumps({"token": person.token}), url) as curl:
                curl.wait_for('"connect"')
                server.stop()
                curl.wait_for('{"disconnect":{"code":3001,"reason":"shutdown","reconnect":true}}')
                assert curl.wait_for_end() == 0, "a complete response"
        finally:
            server.kill()
