"""A fresh Django project takes the app in, by the steps of the README and nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.servers import ROOT, Server

pytestmark = pytest.mark.integration

BUILT_FROM = ("notifications", "static", "templates", "setup.py", "pyproject.toml")

SETTINGS = """
INSTALLED_APPS = ["daphne", *INSTALLED_APPS, "channels", "notifications"]
ASGI_APPLICATION = "project.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
"""

ASGI = """
import os

from django.core.asgi import get_asgi_application

import notifications.routing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = notifications.routing.application(get_asgi_application())
"""

URLS = """
from django.contrib import admin
from django.urls import include, path
from django.views.generic import TemplateView

urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/", include("django.contrib.auth.urls")),
    path("notifications/", include("notifications.urls")),
    path("", TemplateView.as_view(template_name="home.html")),
]
"""

#: What any project has of its own: a page and a way to log in.
HOST_SETTINGS = """
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
LOGIN_REDIRECT_URL = "/"
"""
HOST_LOGIN = '<form method="post">{% csrf_token %}{{ form }}</form>'
HOST_PAGE = """<!doctype html>
{% load notifications %}
<title>Host</title>
{% notification_bell %}
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A virtual environment with the built app; the rest it borrows from that of the tests."""
    source = tmp_path / "source"
    source.mkdir()
    for name in BUILT_FROM:
        part = ROOT / name
        (shutil.copytree if part.is_dir() else shutil.copy)(part, source / name)
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    wheels = tmp_path / "wheels"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", str(wheels), str(source))

    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(venv))
    borrowed = next(venv.glob("lib/python*/site-packages")) / "borrowed.pth"
    borrowed.write_text(sysconfig.get_path("purelib"))
    python = venv / "bin" / "python"
    [wheel] = wheels.glob("*.whl")
    run(*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    run(*pip, "--python", str(python), "check")
    return python


@pytest.fixture
def project(python: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    run(str(python), "-m", "django", "startproject", "project", str(directory))
    with (directory / "project" / "settings.py").open("a") as settings:
        settings.write(HOST_SETTINGS + SETTINGS)
    (directory / "project" / "asgi.py").write_text(ASGI)
    (directory / "project" / "urls.py").write_text(URLS)
    (directory / "templates" / "registration").mkdir(parents=True)
    (directory / "templates" / "registration" / "login.html").write_text(HOST_LOGIN)
    (directory / "templates" / "home.html").write_text(HOST_PAGE)
    return directory


@pytest.fixture
def host(python: Path, project: Path) -> Iterator[Server]:
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SUPERUSER_PASSWORD": "guest",
    }
    server = Server(project, env, command="runserver", python=python, cwd=project)
    server.manage("migrate", "--verbosity", "0")
    server.manage("createsuperuser", "--noinput", "--username=guest", "--email=")
    yield server.start()
    server.kill()


def run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"


def get(url: str, cookie: str) -> str:
    request = urllib.request.Request(url, headers={"Cookie": cookie})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def test_fresh_project_gets_notifications(host: Server) -> None:
    host.manage("check", "--fail-level", "WARNING")
    host.manage("makemigrations", "--check", "--dry-run")
    cookie = host.login("guest")

    page = get(f"{host.url}/", cookie)
    script = re.search(r'src="(/static/notifications/[^"]+\.js)"', page)
    assert script is not None, page
    assert get(f"{host.url}{script[1]}", cookie)

    inbox = get(f"{host.url}/notifications/", cookie)
    assert "<title>Inbox</title>" in inbox
    assert "notification-bell" in inbox
    assert "pushsite" not in inbox
    assert "createdemo" not in host.manage("help").stdout

    assert 'value="send_notification"' in get(f"{host.url}/admin/auth/user/", cookie)
    assert "Preview" in get(f"{host.url}/admin/notifications/broadcast/add/", cookie)

    with connect(
        host.socket_url, additional_headers={"Cookie": cookie, "Origin": host.url}
    ) as client:
        client.send(json.dumps({"id": 1, "connect": {}}))
        answer = json.loads(client.recv(timeout=10))
        assert "subs" in answer["connect"], answer
        send = "from notifications import broadcast; broadcast('Hello', to='everyone')"
        host.manage("shell", "-c", send)
        assert "Hello" in client.recv(timeout=10)
    assert "Traceback" not in host.log
