"""The site's settings, its commands and its ASGI entry."""

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import django
import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from pytest_django import Settings

from notifications import inbox
from notifications.management.commands import serve
from notifications.models import Stream
from pushsite.asgi import application
from tests.sites import ROOT, site_environment

DEMO = ("admin", "writer", "reader")


#: The site reads streams over plain HTTP.
STREAMS = {"TRANSPORTS": {"streams": "/streams/"}}


def read_setting(tmp_path: Path, expression: str, **variables: str) -> str:
    """Evaluate ``expression`` on pushsite.settings in a fresh process; an error's text if any."""
    env = {**site_environment(tmp_path), **variables}
    code = f"from pushsite import settings; print({expression})"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={name: value for name, value in env.items() if value},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() or result.stderr.strip().splitlines()[-1]


def test_production_site_needs_a_secret_key(tmp_path: Path) -> None:
    message = read_setting(tmp_path, "settings.SECRET_KEY", SECRET_KEY="")
    assert message.startswith("django.core.exceptions.ImproperlyConfigured: Set the environment")


def test_debug_site_has_a_secret_key(tmp_path: Path) -> None:
    assert "insecure" in read_setting(tmp_path, "settings.SECRET_KEY", SECRET_KEY="", DEBUG="1")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DEBUG", "maybe", "DEBUG must be 1 or 0, not 'maybe'"),
        ("SECURE_HSTS_SECONDS", "year", "SECURE_HSTS_SECONDS must be a whole number"),
        ("LOGIN_FAILURES", "0", "LOGIN_FAILURES and LOGIN_PAUSE must be at least 1"),
        ("LOGIN_PAUSE", "-5", "LOGIN_FAILURES and LOGIN_PAUSE must be at least 1"),
        ("NOTIFICATIONS_PING_INTERVAL", "soon", "NOTIFICATIONS_PING_INTERVAL must be a number"),
        ("METRICS_ALLOW", "10.0.0.1/8", "METRICS_ALLOW: 10.0.0.1/8 has host bits set"),
        ("SCRIPT_NAME", "push", "SCRIPT_NAME must start with a slash"),
        ("DATABASE_URL", "nosuch://u:secret@h/n", "DATABASE_URL must look like"),
    ],
)
def test_wrong_variable_is_one_sentence(tmp_path: Path, name: str, value: str, words: str) -> None:
    message = read_setting(tmp_path, "settings.DEBUG", **{name: value})
    assert words in message
    assert "secret" not in message


def test_production_defaults_are_safe(tmp_path: Path) -> None:
    names = ("DEBUG", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_PROXY_SSL_HEADER")
    expression = "[" + ", ".join(f"settings.{name}" for name in names) + "]"
    assert read_setting(tmp_path, expression, COOKIE_SECURE="") == "[False, True, True, None]"


def test_environment_says_how_hard_logins_are_braked(tmp_path: Path) -> None:
    names = "settings.AXES_FAILURE_LIMIT, settings.AXES_COOLOFF_TIME"
    assert read_setting(tmp_path, names) == "10 0:15:00"
    shown = read_setting(tmp_path, names, LOGIN_FAILURES="3", LOGIN_PAUSE="60")
    assert shown == "3 1:00:00"


def test_environment_names_database_layer_and_hosts(tmp_path: Path) -> None:
    expression = (
        "settings.DATABASES['default']['ENGINE'], settings.DATABASES['default']['HOST'], "
        "settings.CHANNEL_LAYERS['default']['BACKEND'], settings.ALLOWED_HOSTS"
    )
    shown = read_setting(
        tmp_path,
        expression,
        DATABASE_URL="postgres://user:password@db.example/name",
        REDIS_URL="redis://redis.example:6379/0",
        ALLOWED_HOSTS="a.example, b.example",
    )
    assert shown == (
        "django.db.backends.postgresql db.example "
        "channels_redis.pubsub.RedisPubSubChannelLayer ['a.example', 'b.example']"
    )


def test_a_postgresql_that_vanishes_is_given_up_unless_the_url_says_otherwise(
    tmp_path: Path,
) -> None:
    expression = "[settings.DATABASES['default']['OPTIONS'].get(name) for name in NAMES]"
    expression = expression.replace("NAMES", "('connect_timeout', 'tcp_user_timeout')")
    url = "postgres://user:password@db.example/name"
    assert read_setting(tmp_path, expression, DATABASE_URL=url) == "[5, 10000]"
    shown = read_setting(tmp_path, expression, DATABASE_URL=f"{url}?connect_timeout=60")
    assert shown in {"[60, 10000]", "['60', 10000]"}


def test_a_drain_may_be_told_to_take_no_time(tmp_path: Path) -> None:
    shown = read_setting(tmp_path, "settings.NOTIFICATIONS", NOTIFICATIONS_DRAIN_SECONDS="0")
    assert shown == str({"DRAIN_SECONDS": 0.0, **STREAMS})


def test_environment_reaches_the_app(tmp_path: Path) -> None:
    shown = read_setting(
        tmp_path,
        "settings.NOTIFICATIONS",
        NOTIFICATIONS_TOKEN_SECRET="k" * 32,
        NOTIFICATIONS_PING_INTERVAL="2.5",
        NOTIFICATIONS_ALLOWED_ORIGINS="https://a.example",
    )
    assert shown == str(
        {
            "TOKEN_SECRET": "k" * 32,
            "ALLOWED_ORIGINS": ["https://a.example"],
            "PING_INTERVAL": 2.5,
            **STREAMS,
        }
    )


def test_topics_are_declared_by_the_environment_and_a_site_in_development_has_some(
    tmp_path: Path,
) -> None:
    expression = "settings.NOTIFICATIONS.get('TOPICS')"
    assert read_setting(tmp_path, expression) == "None"
    named = read_setting(tmp_path, expression, NOTIFICATIONS_TOPICS="news, beta")
    assert named == "['news', 'beta']"
    assert "news" in read_setting(tmp_path, expression, DEBUG="1")
    assert read_setting(tmp_path, expression, DEBUG="1", NOTIFICATIONS_TOPICS=",") == "None"


def test_a_token_may_be_told_to_expire_at_once(tmp_path: Path) -> None:
    expression = "settings.NOTIFICATIONS"
    shown = read_setting(tmp_path, expression, NOTIFICATIONS_EXPIRED_CLOSE_DELAY="0")
    assert shown == str({"EXPIRED_CLOSE_DELAY": 0.0, **STREAMS})


@pytest.mark.django_db
def test_createdemo_needs_debug() -> None:
    with pytest.raises(CommandError, match="only works with DEBUG on"):
        call_command("createdemo")
    assert not get_user_model().objects.exists()


@pytest.mark.django_db
def test_createdemo_makes_three_accounts(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.DEBUG = True
    call_command("createdemo")
    users = {user.get_username(): user for user in get_user_model().objects.all()}
    assert set(users) == set(DEMO)
    assert all(user.check_password(name) for name, user in users.items())
    assert [users[name].is_superuser for name in DEMO] == [True, False, False]
    assert users["writer"].get_all_permissions() == {
        "notifications.send_private",
        "notifications.send_broadcast",
    }
    assert users["reader"].get_all_permissions() == set()
    said = capsys.readouterr().out
    assert "writer/writer" in said
    assert "reader follows the topic news" in said
    (topic,) = [topic for topic in inbox.topics(users["reader"]) if topic.is_followed]
    assert topic.slug == "news"


@pytest.mark.django_db
def test_createdemo_again_repairs_but_keeps_sessions(settings: Settings) -> None:
    settings.DEBUG = True
    call_command("createdemo")
    users = get_user_model().objects
    before = users.get(username="admin").password
    reader = users.get(username="reader")
    reader.set_password("changed")
    reader.is_superuser = True
    reader.save()

    call_command("createdemo")

    assert users.count() == len(DEMO)
    assert users.get(username="admin").password == before
    reader.refresh_from_db()
    assert reader.check_password("reader")
    assert not reader.is_superuser


@pytest.mark.django_db
def test_createdemo_without_topics_makes_none(settings: Settings) -> None:
    settings.DEBUG = True
    settings.NOTIFICATIONS = {}
    call_command("createdemo")
    assert not Stream.objects.filter(name__startswith="topic:").exists()


def test_serve_without_uvicorn_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "uvicorn", None)
    with pytest.raises(CommandError, match=r"pip install 'pushsite\[server\]'"):
        call_command("serve", skip_checks=True)


async def test_unknown_websocket_path_is_refused() -> None:
    origin = [(b"origin", b"http://localhost"), (b"host", b"localhost")]
    scope = {"type": "websocket", "path": "/nope", "headers": origin, "subprotocols": []}
    socket = ApplicationCommunicator(application, scope)
    await socket.send_input({"type": "websocket.connect"})
    assert (await socket.receive_output())["type"] == "websocket.close"
    await socket.wait()


async def test_lifespan_starts_and_stops_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    async def get_hub() -> None:
        calls.append("start")

    async def shutdown() -> None:
        calls.append("stop")

    monkeypatch.setattr("notifications.hub.get_hub", get_hub)
    monkeypatch.setattr("notifications.hub.shutdown", shutdown)
    assert await _live() == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert calls == ["start", "stop"]


async def test_lifespan_leaves_the_garbage_collector_to_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def do_nothing() -> None:
        return

    monkeypatch.setattr("notifications.hub.get_hub", do_nothing)
    monkeypatch.setattr("notifications.hub.shutdown", do_nothing)
    before = gc.get_threshold(), gc.get_freeze_count()
    await _live()
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


async def test_lifespan_tells_of_a_hub_that_could_not_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def get_hub() -> None:
        return None

    async def shutdown() -> None:
        raise ConnectionError("database is gone")

    monkeypatch.setattr("notifications.hub.get_hub", get_hub)
    monkeypatch.setattr("notifications.hub.shutdown", shutdown)
    assert await _live() == ["lifespan.startup.complete", "lifespan.shutdown.failed"]
    assert "database is gone" in caplog.text


async def _live() -> list[str]:
    server = ApplicationCommunicator(application, {"type": "lifespan"})
    answers: list[Any] = []
    for event in ("startup", "shutdown"):
        await server.send_input({"type": f"lifespan.{event}"})
        answers.append(await server.receive_output())
    await server.wait()
    return [answer["type"] for answer in answers]


def test_manage_py_can_be_run_from_anywhere(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "version"],
        cwd=tmp_path,
        env=site_environment(tmp_path) | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == django.get_version(), result.stderr
