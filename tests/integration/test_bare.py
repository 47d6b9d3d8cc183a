"""The app without its extras: what is installed, what works, and what says which extra it lacks."""

import json
from pathlib import Path

import pytest

from tests.servers import Server
from tests.wheels import UV, environment, plain_environment, run

pytestmark = [pytest.mark.integration, pytest.mark.hosts]

#: All that ``pip install pushsite`` brings, its dependencies' dependencies included.
BARE = {
    *("asgiref", "channels", "django", "msgspec", "protobuf", "pushsite", "pyjwt", "sqlparse"),
}

SETTINGS = """
INSTALLED_APPS = [*INSTALLED_APPS, "channels", "notifications"]
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
DATABASES["default"]["OPTIONS"] = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}
"""

USE = """
import importlib, pkgutil
import notifications
from django.contrib.auth import get_user_model
from notifications import inbox, metrics, notify

modules = [
    module.name
    for module in pkgutil.walk_packages(notifications.__path__, "notifications.")
    if not module.name.startswith(
        (
            *("notifications.server", "notifications.migrations"),
            *("notifications.testing.pytest", "notifications.testing.sockets"),
            "notifications.api.rest",
        )
    )
]
for name in modules:
    importlib.import_module(name)
user = get_user_model().objects.create_user("guest")
notify(user, "Hello")
metrics.ERRORS.labels("108").inc()
print(len(modules) > 50, inbox.unread_count(user), type(metrics.PUBLISHED).__name__)
"""


@pytest.fixture(scope="module")
def host(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A fresh project in an environment that holds the app and nothing optional."""
    directory = tmp_path_factory.mktemp("bare")
    python = environment(directory / "venv", str(wheel))
    project = directory / "project"
    project.mkdir()
    run(python, "-m", "django", "startproject", "mysite", project)
    with (project / "mysite" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    return Server(directory, plain_environment(), python=python, cwd=project)


def installed(python: Path) -> set[str]:
    listed = run(UV, "pip", "list", "-q", "--python", python, "--format", "json")
    return {package["name"].lower() for package in json.loads(listed)}


def test_no_optional_package_is_installed(host: Server) -> None:
    assert installed(host.python) == BARE


def test_a_project_checks_migrates_and_notifies_without_the_extras(host: Server) -> None:
    host.manage("check", "--fail-level", "WARNING")
    host.manage("migrate", "--verbosity", "0")
    assert host.manage("shell", "--no-imports", "-c", USE).stdout == "True 1 Uncounted\n"


def test_the_helpers_for_tests_work_and_name_the_extra_that_the_socket_needs(host: Server) -> None:
    code = "from notifications.testing import NotificationsMixin, captured_notifications"
    host.manage("shell", "--no-imports", "-c", code)
    code = "from notifications.testing import NotificationSocket"
    refused = host.manage("shell", "--no-imports", "-c", code, check=False)
    assert "pip install 'pushsite[daphne]'" in refused.stderr


def test_serve_names_the_extra_that_it_needs(host: Server) -> None:
    refused = host.manage("serve", check=False)
    assert refused.returncode == 1
    assert "pip install 'pushsite[server]'" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_rest_api_says_which_extra_it_lacks(host: Server) -> None:
    done = host.manage("shell", "-c", "import notifications.api.rest.urls", check=False)
    assert "pip install 'pushsite[api]'" in done.stderr
