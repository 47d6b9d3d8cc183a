"""The configuration of deploy/nginx in front of two processes of the site."""

import json
import re
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.message import Message
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.client import PATIENCE
from tests.proxies import Nginx, trusting
from tests.servers import START_TIMEOUT, Server, Site

pytestmark = pytest.mark.integration

#: As in deploy/systemd: the proxy is on this host, and nobody else is believed.
ARGUMENTS = ("--forwarded-allow-ips", "127.0.0.1")

#: The clients' own address on the loopback network, which is not the proxy's.
HOME = "127.0.0.7"

FORGED = "203.0.113.9"

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
    """nginx and two processes, as visitors meet them."""

    def __init__(self, nginx: Nginx, servers: list[Server]) -> None:
        self.nginx = nginx
        self.servers = servers
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=trusting()),
            urllib.request.HTTPCookieProcessor(self.jar),
            _Stay(),
        )

    def get(self, path: str, **headers: str) -> Answer:
        return self.open(urllib.request.Request(f"{self.nginx.url}{path}", headers=headers))

    def log_in(self, name: str) -> str:
        """Log a demo account in by https and return its cookies.

        Host and origin are those of a site on port 443.
        """
        page = "/accounts/login/"
        form = self.get(page).body.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
        assert token is not None, form
        fields = {"csrfmiddlewaretoken": token[1], "username": name, "password": name}
        request = urllib.request.Request(
            f"{self.nginx.url}{page}",
            urlencode(fields).encode(),
            {"Origin": "https://127.0.0.1"},
        )
        answer = self.open(request)
        assert answer.status == 302, answer.body
        assert all(cookie.secure for cookie in self.jar)
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar)

    def rows(self, count: int) -> list[tuple[int, str]]:
        """Process and address of each connection, when there are ``count``."""
        deadline = time.monotonic() + PATIENCE
        while True:
            shown = self.servers[0].manage("shell", "-v", "0", "-c", ROWS).stdout
            rows = [(pid, address) for pid, address in json.loads(shown)]
            if len(rows) == count:
                return rows
            assert time.monotonic() < deadline, rows
            time.sleep(0.2)

    def open(self, request: urllib.request.Request) -> Answer:
        """Ask, and follow no redirect."""
        try:
            answer = self._opener.open(request, timeout=10)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            return Answer(answer.status, answer.headers, answer.read())


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


StartFront = Callable[..., Front]


@pytest.fixture
def front(site: Site, tmp_path: Path) -> Iterator[StartFront]:
    """Start nginx and two processes: ``front({"90s": "2s"}, NOTIFICATIONS_PING_INTERVAL="1")``."""
    servers: list[Server] = []
    proxies: list[Nginx] = []

    def start_front(changes: dict[str, str] | None = None, **variables: str) -> Front:
        # Cookies by https only, and plain http redirected, as in production.
        env = site.environment(tmp_path, COOKIE_SECURE="1", **variables)
        servers.extend(Server(tmp_path, env, args=ARGUMENTS) for _ in range(2))
        for server in servers:
            server.start(wait=False)
        ports = tuple(server.port for server in servers)
        nginx = Nginx(tmp_path / "nginx", site.static_root, ports, changes)
        proxies.append(nginx.start())
        for server in servers:
            _wait_for(server)
        return Front(nginx, servers)

    yield start_front
    for nginx in proxies:
        nginx.stop()
    for server in servers:
        server.kill()


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
def device(url: str, cookie: str, **headers: str) -> Iterator[ClientConnection]:
    """A browser that has connected."""
    with connect(
        url,
        ssl=trusting() if url.startswith("wss") else None,
        origin=Origin("https://127.0.0.1"),
        open_timeout=60,
        additional_headers={"Cookie": cookie, **headers},
        source_address=(HOME, 0),
        compression=None,
        proxy=None,
        ping_interval=None,
    ) as socket:
        socket.send('{"id": 1, "connect": {}}')
        reply = json.loads(socket.recv(timeout=PATIENCE))
        assert "connect" in reply, reply
        yield socket


def test_a_visitor_is_served_by_https_from_page_to_socket(front: StartFront) -> None:
    running = front()
    cookie = running.log_in("reader")
    with device(running.nginx.socket_url, cookie):
        assert running.rows(1)
    plain = running.nginx.url.replace("https", "http").replace(
        str(running.nginx.https_port), str(running.nginx.http_port)
    )
    redirected = running.open(urllib.request.Request(f"{plain}/admin/?next=1"))
    assert redirected.status == 308
    assert redirected.headers["Location"] == "https://127.0.0.1/admin/?next=1"
    assert running.get("/metrics").status == 404
    assert running.get("/health/").status == 404


def test_only_the_proxy_is_believed_about_addresses(front: StartFront) -> None:
    running = front()
    cookie = running.log_in("reader")
    claim = {"X-Forwarded-For": FORGED, "X-Forwarded-Proto": "https"}
    with device(running.nginx.socket_url, cookie, **claim):
        assert [address for _, address in running.rows(1)] == [HOME]
    running.rows(0)
    with device(running.servers[0].socket_url, cookie, **claim):
        assert [address for _, address in running.rows(1)] == [HOME]


def test_a_quiet_socket_outlives_the_timeouts_of_the_proxy(front: StartFront) -> None:
    running = front(
        {"_timeout 90s;": "_timeout 3s;"},
        NOTIFICATIONS_PING_INTERVAL="1",
        NOTIFICATIONS_PONG_TIMEOUT="0.9",
    )
    with device(running.nginx.socket_url, running.log_in("reader")) as socket:
        for _ in range(8):  # pings, and so seconds
            assert socket.recv(timeout=PATIENCE) == "{}"
            socket.send("{}")


def test_without_the_heartbeat_the_proxy_would_end_it(front: StartFront) -> None:
    """What the test above would look like if the timeouts were not in force."""
    running = front({"_timeout 90s;": "_timeout 2s;"})
    with (
        device(running.nginx.socket_url, running.log_in("reader")) as socket,
        pytest.raises(Exception, match="no close frame received"),
    ):
        socket.recv(timeout=PATIENCE)


def test_sockets_are_spread_and_a_stopped_process_is_passed_over(front: StartFront) -> None:
    running = front()
    cookie = running.log_in("reader")
    with ExitStack() as sockets:
        for _ in range(8):
            sockets.enter_context(device(running.nginx.socket_url, cookie))
        assert sorted(Counter(pid for pid, _ in running.rows(8)).values()) == [4, 4]
    running.servers[0].stop()
    for _ in range(4):
        with device(running.nginx.socket_url, cookie):
            pass
        assert running.get("/accounts/login/").status == 200


def test_static_files_come_from_the_proxy(front: StartFront) -> None:
    running = front()
    page = running.get("/accounts/login/").body.decode()
    path = re.search(r'(?:src|href)="(/static/notifications/[^"]+\.css)"', page)
    assert path is not None, page
    plain = running.get(path[1])
    assert "Access-Control-Allow-Origin" not in plain.headers, "this is the site's own answer"
    assert "immutable" in plain.headers["Cache-Control"]
    packed = running.get(path[1], **{"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert 0 < len(packed.body) < len(plain.body)
