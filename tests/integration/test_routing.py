"""The one line of a host's ``asgi.py``: sockets of any server, below any prefix."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.integration.test_adoption import ASGI
from tests.servers import Server
from tests.sites import PYTHON, ROOT

pytestmark = pytest.mark.integration

#: A consumer of the host's own, behind middleware of its own.
ASGI_WITH_ROUTES = """
import os

from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import WebsocketConsumer
from channels.routing import URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

import notifications.routing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")


class Greeting(WebsocketConsumer):
    def connect(self):
        self.accept()
        self.send(f"Hello {self.scope['user']}")


chat = AuthMiddlewareStack(URLRouter([path("chat/", Greeting.as_asgi())]))

application = notifications.routing.application(
    get_asgi_application(), websocket_urlpatterns=[re_path("", chat)]
)
"""

SETTINGS = """
import os

INSTALLED_APPS = ["daphne", *INSTALLED_APPS, "channels", "notifications"]
ASGI_APPLICATION = "project.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
FORCE_SCRIPT_NAME = os.environ.get("FORCED") or None
"""

#: A page that answers where tests look whether a server is there.
URLS = """
from django.http import HttpResponse
from django.urls import path

urlpatterns = [
    path("accounts/login/", lambda request: HttpResponse()),
    path("streams/<int:pk>/", lambda request, pk: HttpResponse(f"stream {pk} of the host")),
    path("emulation/", lambda request: HttpResponse("emulation of the host")),
]
"""

ENV = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

SOCKET, NOWHERE = "/connection/websocket", "/connection/nowhere"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh project with nothing but the app, its settings and its ``asgi.py``."""
    directory = tmp_path_factory.mktemp("project")
    command = [str(PYTHON), "-m", "django", "startproject", "project", str(directory)]
    subprocess.run(command, check=True, timeout=60)
    with (directory / "project" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (directory / "project" / "urls.py").write_text(URLS)
    subprocess.run([PYTHON, "manage.py", "migrate", "-v0"], cwd=directory, env=ENV, check=True)
    return directory


@contextmanager
def serving(
    project: Path, command: str, asgi: str = ASGI, args: tuple[str, ...] = (), **variables: str
) -> Iterator[Server]:
    (project / "project" / "asgi.py").write_text(asgi)
    server = Server(
        project,
        {**ENV, **variables},
        command=command,
        args=args,
        application="project.asgi:application",
        cwd=project,
    )
    try:
        yield server.start()
        assert "Traceback" not in server.log, server.log
    finally:
        server.kill()


def status(server: Server, path: str, origin: str = "") -> int:
    """What a handshake at this path is answered with."""
    site = f"127.0.0.1:{server.port}"
    try:
        with connect(f"ws://{site}{path}", origin=Origin(origin or f"http://{site}")) as socket:
            assert socket.response is not None
            return socket.response.status_code
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.parametrize("command", ["runserver", "uvicorn", "serve"])
def test_the_line_opens_sockets_and_refuses_the_rest(project: Path, command: str) -> None:
    with serving(project, command) as server:
        assert status(server, SOCKET) == 101
        assert status(server, NOWHERE) == 403
        assert status(server, SOCKET, origin="https://evil.example") == 403
        assert f"there is none at '{NOWHERE}'" in server.log


@pytest.mark.parametrize("command", ["runserver", "serve"])
def test_pages_of_the_host_are_answered_beside_the_transports(project: Path, command: str) -> None:
    with serving(project, command, FORCED="/portal") as server:
        for prefix in ("", "/portal"):
            for path, content in (
                ("/streams/7/", "stream 7 of the host"),
                ("/emulation/", "emulation of the host"),
            ):
                with urlopen(f"{server.url}{prefix}{path}", timeout=20) as response:
                    assert response.read().decode() == content
            with pytest.raises(HTTPError, match="405"):
                urlopen(f"{server.url}{prefix}/emulation", timeout=20)


@pytest.mark.parametrize("command", ["runserver", "uvicorn", "hypercorn", "granian", "serve"])
def test_a_forced_prefix_may_be_removed_by_the_proxy_or_not(project: Path, command: str) -> None:
    with serving(project, command, FORCED="/portal") as server:
        for prefix in ("", "/portal"):
            assert status(server, f"{prefix}{SOCKET}") == 101
            assert status(server, f"{prefix}{NOWHERE}") == 403
        assert status(server, f"/portals{SOCKET}") == 403


@pytest.mark.parametrize(
    ("command", "option", "paths"),
    [
        ("uvicorn", "--root-path", [SOCKET]),  # it puts the prefix in front itself
        ("daphne", "--root-path", [SOCKET, f"/portal{SOCKET}"]),
        ("hypercorn", "--root-path", [SOCKET, f"/portal{SOCKET}"]),
        ("granian", "--url-path-prefix", [SOCKET, f"/portal{SOCKET}"]),
    ],
)
def test_a_prefix_of_the_server_is_one_too(
    project: Path, command: str, option: str, paths: list[str]
) -> None:
    with serving(project, command, args=(option, "/portal")) as server:
        assert [status(server, path) for path in paths] == [101] * len(paths)
        assert status(server, NOWHERE) == 403


def test_consumers_of_the_host_are_routed_beside_ours(project: Path) -> None:
    with serving(project, "uvicorn", ASGI_WITH_ROUTES, FORCED="/portal") as server:
        with connect(f"ws://127.0.0.1:{server.port}/portal/chat/") as socket:
            assert socket.recv(timeout=10) == "Hello AnonymousUser"
        assert status(server, SOCKET) == 101
        assert status(server, NOWHERE) == 403
        assert status(server, "/chat/", origin="https://evil.example") == 403


def test_other_protocols_are_named_in_the_error(project: Path) -> None:
    """ASGI wants an exception for a scope that an application does not know."""
    program = (
        "import asyncio, project.asgi; asyncio.run(project.asgi.application("
        "{'type': 'webtransport'}, None, None))"
    )
    (project / "project" / "asgi.py").write_text(ASGI)
    run = subprocess.run(
        [PYTHON, "-c", program],
        cwd=project,
        env=ENV,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stderr.endswith(
        "ValueError: No application configured for scope type 'webtransport'\n"
    )
