"""nginx with the configuration of deploy/nginx in front of two processes of the site."""

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.client import PATIENCE
from tests.proxies import Nginx, trusting
from tests.servers import START_TIMEOUT, Server
from tests.sites import Site
from tests.waiting import wait_until

#: As in deploy/systemd: only a proxy on this host is trusted.
ARGUMENTS = ("--forwarded-allow-ips", "127.0.0.1")

#: The clients' address in the loopback network, which differs from the proxy's.
CLIENT_ADDRESS = "127.0.0.7"

ROWS = """
from notifications.models import Connection
import json
print(json.dumps([[row.worker.pid, row.address] for row in Connection.objects.all()]))
"""


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes


class Front:
    """nginx and the processes behind it, as a visitor uses them. It keeps cookies."""

    def __init__(self, nginx: Nginx, servers: list[Server]) -> None:
        self.nginx = nginx
        self.servers = servers
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=trusting()),
            urllib.request.HTTPCookieProcessor(self.jar),
            _NoRedirect(),
        )

    def get(self, path: str, **headers: str) -> Answer:
        return self.open(urllib.request.Request(f"{self.nginx.url}{path}", headers=headers))

    def log_in(self, name: str) -> str:
        """Log in with a demo account over HTTPS and return the value of a ``Cookie`` header.

        ``Host`` and ``Origin`` are those of a site on port 443.
        """
        answer = self.try_to_log_in(name, name)
        assert answer.status == 302, answer.body
        assert all(cookie.secure for cookie in self.jar)
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar)

    def try_to_log_in(
        self, name: str, password: str, page: str = "/accounts/login/", **headers: str
    ) -> Answer:
        form = self.get(page, **headers).body.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
        assert token is not None, form
        fields = {"csrfmiddlewaretoken": token[1], "username": name, "password": password}
        headers["Origin"] = "https://127.0.0.1"
        data = urlencode(fields).encode()
        return self.open(urllib.request.Request(f"{self.nginx.url}{page}", data, headers))

    def rows(self, count: int) -> list[tuple[int, str]]:
        """Wait for ``count`` connections and return each one's process id and client address."""

        rows: list[tuple[int, str]] = []

        def are_listed() -> bool:
            shown = self.servers[0].manage("shell", "-v", "0", "-c", ROWS).stdout
            rows[:] = [(pid, address) for pid, address in json.loads(shown)]
            return len(rows) == count

        wait_until(are_listed, f"{count} connections")
        return rows

    def open(self, request: urllib.request.Request) -> Answer:
        """Send a request and return the answer, without following redirects."""
        try:
            answer = self._opener.open(request, timeout=10)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            return Answer(answer.status, answer.headers, answer.read())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _wait_for(server: Server) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            urllib.request.urlopen(f"{server.url}/health/", timeout=5).close()
        except OSError:
            assert time.monotonic() < deadline, server.log
            time.sleep(0.05)
        else:
            return


@contextmanager
def device(
    url: str, cookie: str, origin: str = "https://127.0.0.1", **headers: str
) -> Iterator[None]:
    """Open a websocket as :func:`unread_device` does, and answer pings in a thread.

    So it stays open for as long as a test takes on a busy machine.
    """
    with unread_device(url, cookie, origin, **headers) as socket:
        threading.Thread(target=_answer_pings, args=(socket,), daemon=True).start()
        yield


def _answer_pings(socket: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        for message in socket:
            if message == "{}":
                socket.send("{}")


@contextmanager
def unread_device(
    url: str, cookie: str, origin: str = "https://127.0.0.1", **headers: str
) -> Iterator[ClientConnection]:
    """Open a websocket as a browser does, and wait for the reply to ``connect``.

    Args:
        url: the websocket URL.
        cookie: value of the ``Cookie`` header.
        origin: value of the ``Origin`` header.
        headers: further headers.
    """
    with connect(
        url,
        ssl=trusting() if url.startswith("wss") else None,
        origin=Origin(origin),
        open_timeout=60,
        additional_headers={"Cookie": cookie, **headers},
        source_address=(CLIENT_ADDRESS, 0),
        compression=None,
        proxy=None,
        ping_interval=None,
    ) as socket:
        socket.send('{"id": 1, "connect": {}}')
        reply = json.loads(socket.recv(timeout=PATIENCE))
        assert "connect" in reply, reply
        yield socket


StartFront = Callable[..., Front]


@contextmanager
def front_starter(site: Site, directory: Path) -> Iterator[StartFront]:
    """Start nginx and two processes: ``start({"90s": "2s"}, NOTIFICATIONS_PING_INTERVAL="1")``.

    The positional argument replaces texts in nginx's configuration, the others are environment
    variables of the processes.
    """
    servers: list[Server] = []
    proxies: list[Nginx] = []

    def start(changes: dict[str, str] | None = None, **variables: str) -> Front:
        # Secure cookies and a redirect to HTTPS, as in production.
        env = site.environment(directory, COOKIE_SECURE="1", **variables)
        servers.extend(Server(directory, env, args=ARGUMENTS) for _ in range(2))
        for server in servers:
            server.start(wait=False)
        ports = tuple(server.port for server in servers)
        nginx = Nginx(directory / "nginx", site.static_root, ports, changes)
        proxies.append(nginx.start())
        for server in servers:
            _wait_for(server)
        return Front(nginx, servers)

    try:
        yield start
    finally:
        for nginx in proxies:
            nginx.stop()
        for server in servers:
            server.kill()
