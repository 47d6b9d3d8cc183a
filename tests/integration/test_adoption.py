"""The app is installed into a fresh Django project, by the steps of the README alone."""

import json
import os
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.servers import Server
from tests.wheels import borrowing_environment, run

pytestmark = pytest.mark.integration

SETTINGS = """
INSTALLED_APPS = ["daphne", *INSTALLED_APPS, "channels", "notifications"]
ASGI_APPLICATION = "project.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
DATABASES["default"]["OPTIONS"] = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}
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

#: What any project provides itself: a page and a login form.
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
def python(wheel: Path, tmp_path: Path) -> Path:
    """A virtual environment with the built app; the rest it borrows from that of the tests."""
    return borrowing_environment(tmp_path / "venv", wheel)


@pytest.fixture
def project(python: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    run(python, "-m", "django", "startproject", "project", directory)
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


def get(url: str, cookie: str) -> str:
    request = urllib.request.Request(url, headers={"Cookie": cookie})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def test_a_fresh_project_shows_and_receives_notifications(host: Server) -> None:
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
