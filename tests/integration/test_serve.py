"""``manage.py serve`` as a real process, and what it serves."""

import json
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.servers import STOP_TIMEOUT, Server
from tests.sites import Site, manage, site_environment

pytestmark = pytest.mark.integration

StartServer = Callable[..., Server]


def get(url: str) -> tuple[str, dict[str, str]]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode(), {key.lower(): value for key, value in answer.headers.items()}


def stylesheet_or_script(page: str) -> str:
    found = re.search(r'(?:src|href)="([^"]*static/notifications/[^"]+\.(?:css|js))"', page)
    assert found is not None, page
    return found[1]


def test_a_port_in_use_is_reported_in_one_sentence(server: StartServer) -> None:
    busy = server()
    result = busy.manage("serve", "--port", str(busy.port), check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        f"CommandError: Cannot listen on 127.0.0.1 port {busy.port}: Address already in use; "
        "choose another with --port."
    ]


def test_unapplied_migrations_are_reported_in_one_sentence(tmp_path: Path, free_port: int) -> None:
    result = manage("serve", "--port", str(free_port), env=site_environment(tmp_path), check=False)
    assert result.returncode == 1
    assert re.fullmatch(
        r"CommandError: \d+ migrations are not applied: run manage\.py migrate first\.\n",
        result.stderr,
    )


@pytest.mark.parametrize("port", ["65536", "-1"])
def test_an_invalid_port_is_reported_in_one_sentence(site: Site, tmp_path: Path, port: str) -> None:
    result = manage("serve", f"--port={port}", env=site.environment(tmp_path), check=False)
    assert result.stderr == f"CommandError: --port must be a number up to 65535, not {port}.\n"


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_stops_cleanly(server: StartServer, sig: signal.Signals, workers: str) -> None:
    running = server(args=("--workers", workers))
    running.stop(sig)
    assert "Traceback" not in running.log
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", running.port)) != 0


def test_serve_stops_while_a_socket_is_open(server: StartServer) -> None:
    running = server()
    with connect(running.socket_url) as client:
        assert client.protocol.state.name == "OPEN"
        running.stop()
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=STOP_TIMEOUT)
    assert closed.value.rcvd is not None, "the socket was cut without a close frame"
    assert "Traceback" not in running.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_serving_process_configures_its_garbage_collector(
    server: StartServer, workers: str
) -> None:
    settings = "tests.integration.collector_settings"
    running = server(args=("--workers", workers), DJANGO_SETTINGS_MODULE=settings)
    answer = json.loads(get(running.url)[0])
    assert answer["threshold"] == [12_345, 10, 10]
    assert answer["frozen"] > 0


@pytest.mark.parametrize("command", ["serve", "runserver"])
def test_an_unknown_socket_path_is_refused_without_a_traceback(
    server: StartServer, command: str
) -> None:
    running = server(command=command)
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(running.socket_url.replace("connection", "nope")),
    ):
        pass
    assert "Traceback" not in running.log
    assert "Exception" not in running.log


def test_static_files_have_hashed_names_and_are_immutable(server: StartServer) -> None:
    running = server()
    page, _ = get(f"{running.url}/accounts/login/")
    path = stylesheet_or_script(page)
    assert re.search(r"\.[0-9a-f]{12}\.(css|js)$", path)
    content, headers = get(f"http://127.0.0.1:{running.port}{path}")
    assert content
    assert "immutable" in headers["cache-control"]
    assert "server" not in headers


def test_javascript_modules_import_each_other_by_hashed_names(site: Site) -> None:
    names = json.loads((site.static_root / "staticfiles.json").read_text())["paths"]
    index = (site.static_root / names["notifications/index.js"]).read_text()
    imported = re.findall(r"^import .* from \"\./(.+)\";$", index, re.MULTILINE)
    assert imported
    assert {f"notifications/{name}" for name in imported} <= set(names.values())


def test_a_debug_site_serves_static_files_without_collectstatic(
    server: StartServer, tmp_path: Path
) -> None:
    running = server(DEBUG="1", STATIC_ROOT=str(tmp_path / "never-collected"))
    page, _ = get(f"{running.url}/accounts/login/")
    content, _ = get(f"http://127.0.0.1:{running.port}{stylesheet_or_script(page)}")
    assert content
    assert "Warning" not in running.log


@pytest.mark.parametrize("command", ["serve", "runserver"])
def test_a_site_can_be_served_below_a_prefix(server: StartServer, command: str) -> None:
    running = server(command=command, SCRIPT_NAME="/push", DEBUG="1")
    page, _ = get(f"{running.url}/accounts/login/")
    path = stylesheet_or_script(page)
    assert path.startswith("/push/static/")
    assert get(f"http://127.0.0.1:{running.port}{path}")[0]
    for prefix in ("/push", ""):  # a proxy may pass the prefix on or remove it
        with connect(f"ws://127.0.0.1:{running.port}{prefix}/connection/websocket") as client:
            assert client.protocol.state.name == "OPEN"


def test_the_icon_is_served_at_favicon_ico(server: StartServer) -> None:
    _, headers = get(f"{server().url}/favicon.ico")
    assert headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    ("debug", "args", "logged"),
    [("0", (), False), ("0", ("--access-log",), True), ("1", (), True)],
)
def test_requests_are_logged_only_in_debug_mode_or_with_access_log(
    server: StartServer, debug: str, args: tuple[str, ...], *, logged: bool
) -> None:
    running = server(DEBUG=debug, args=args)
    assert ('"GET /accounts/login/ HTTP/1.1" 200' in running.log) is logged


def test_login_works_over_http(server: StartServer) -> None:
    assert "sessionid=" in server().login("reader")


def test_a_page_of_another_site_cannot_open_a_socket(server: StartServer) -> None:
    running = server()
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(running.socket_url, origin=Origin("https://evil.example")),
    ):
        pass


@pytest.mark.parametrize("command", ["serve", "runserver"])
def test_any_name_below_localhost_is_accepted_in_debug_mode(
    server: StartServer, command: str
) -> None:
    assert _answers_to("shop.localhost", server(command=command, DEBUG="1")) == (200, 101)


def test_names_below_localhost_are_refused_in_production(server: StartServer) -> None:
    running = server()
    assert _answers_to("localhost", running) == (200, 101)
    assert _answers_to("shop.localhost", running) == (400, 403)


def _answers_to(name: str, running: Server) -> tuple[int, int]:
    """Return the statuses of a page and of a websocket handshake under a host name."""
    host = f"{name}:{running.port}"
    page = urllib.request.Request(f"{running.url}/accounts/login/", headers={"Host": host})
    try:
        status = urllib.request.urlopen(page, timeout=10).status
    except urllib.error.HTTPError as refused:
        status = refused.code
    # Not every resolver maps such names to this machine.
    tcp = socket.create_connection(("127.0.0.1", running.port), timeout=10)
    try:
        url = f"ws://{host}/connection/websocket"
        with connect(url, sock=tcp, origin=Origin(f"http://{host}"), proxy=None) as opened:
            assert opened.response is not None
            return status, opened.response.status_code
    except InvalidStatus as refused:
        return status, refused.response.status_code
