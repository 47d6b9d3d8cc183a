"""The configuration of deploy/nginx in front of two processes of the site."""

import re
import urllib.request
from collections import Counter
from contextlib import ExitStack

import pytest
from websockets.exceptions import InvalidStatus

from tests.client import PATIENCE
from tests.integration.fronts import CLIENT_ADDRESS, StartFront, device, unread_device

pytestmark = pytest.mark.integration

FORGED = "203.0.113.9"


def test_pages_and_sockets_are_served_over_https(front: StartFront) -> None:
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


def test_client_addresses_are_accepted_only_from_the_proxy(front: StartFront) -> None:
    running = front()
    cookie = running.log_in("reader")
    claim = {"X-Forwarded-For": FORGED, "X-Forwarded-Proto": "https"}
    with device(running.nginx.socket_url, cookie, **claim):
        assert [address for _, address in running.rows(1)] == [CLIENT_ADDRESS]
    running.rows(0)
    site = running.servers[0]
    with device(site.socket_url, cookie, origin=site.url, **claim):
        assert [address for _, address in running.rows(1)] == [CLIENT_ADDRESS]


def test_pings_keep_a_quiet_socket_open_beyond_the_timeouts_of_the_proxy(front: StartFront) -> None:
    running = front(
        {"_timeout 90s;": "_timeout 3s;"},
        NOTIFICATIONS_PING_INTERVAL="1",
        NOTIFICATIONS_PONG_TIMEOUT="0.9",
    )
    cookie = running.log_in("reader")
    with unread_device(running.nginx.socket_url, cookie) as socket:
        for _ in range(8):  # one ping a second
            assert socket.recv(timeout=PATIENCE) == "{}"
            socket.send("{}")


def test_without_pings_the_proxy_cuts_a_quiet_socket(front: StartFront) -> None:
    """This shows that the timeouts which the test above replaces are in effect."""
    running = front({"_timeout 90s;": "_timeout 2s;"})
    cookie = running.log_in("reader")
    with (
        unread_device(running.nginx.socket_url, cookie) as socket,
        pytest.raises(Exception, match="no close frame received"),
    ):
        socket.recv(timeout=PATIENCE)


def test_sockets_are_balanced_and_a_stopped_process_is_skipped(front: StartFront) -> None:
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


def test_static_files_are_served_by_the_proxy(front: StartFront) -> None:
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


def test_pages_of_another_scheme_port_or_host_cannot_open_a_socket(front: StartFront) -> None:
    running = front()
    cookie = running.log_in("reader")
    for origin in ("http://127.0.0.1", "https://127.0.0.1:8443", "https://localhost"):
        with (
            pytest.raises(InvalidStatus, match="403"),
            device(running.nginx.socket_url, cookie, origin=origin),
        ):
            pass
    with device(running.nginx.socket_url, cookie, origin="https://127.0.0.1"):
        pass
