"""What ``check --deploy`` says of the app in production, and what it leaves alone."""

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone
from pytest_django import Settings

from notifications.checks.contents import check_topics
from notifications.conf import IN_MEMORY_LAYER
from notifications.models import Incarnation, Notification
from notifications.publishing.notify import broadcast
from notifications.streams import incarnation, subscriptions
from tests.rooms import make_user
from tests.sites import ROOT, manage, site_environment

REDIS = {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}}
MEMORY = {"default": {"BACKEND": IN_MEMORY_LAYER}}
POSTGRES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "push"}}
GOOD_OPTIONS: dict[str, Any] = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}


def sqlite(name: str = "push", **options: Any) -> dict[str, Any]:
    """A value for the setting DATABASES."""
    return {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options},
    }


SQLITE = sqlite(**GOOD_OPTIONS)
SECRET = "k" * 40


def complaints(*, deploy: bool = True, databases: list[str] | None = None) -> list[str]:
    """The ids of the app's checks that complain."""
    messages = run_checks(include_deployment_checks=deploy, databases=databases)
    ids = [str(message.id) for message in messages]
    return [found.removeprefix("notifications.") for found in ids if "notifications." in found]


def site(**app: Any) -> override_settings:
    """A site in production that nothing is wrong with, but for what is said here."""
    changes = {
        "CHANNEL_LAYERS": app.pop("layers", REDIS),
        "DATABASES": app.pop("databases", POSTGRES),
        "ALLOWED_HOSTS": app.pop("hosts", ["push.example"]),
        "NOTIFICATIONS": {"TOKEN_SECRET": SECRET, "WORKERS": 4, **app},
    }
    return override_settings(**changes)


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
class TestSettings:
    def test_a_good_site_has_nothing_to_hear(self) -> None:
        with site():
            assert complaints() == []

    @pytest.mark.parametrize("workers", [2, None])
    def test_the_in_memory_layer_is_for_one_worker(self, workers: int | None) -> None:
        with site(layers=MEMORY, WORKERS=workers):
            assert complaints() == ["W002"]

    @pytest.mark.parametrize("workers", [2, None])
    def test_sqlite_is_for_one_worker(self, workers: int | None) -> None:
        with site(databases=SQLITE, WORKERS=workers):
            assert complaints() == ["W003"]

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"transaction_mode": None}, "transaction_mode"),
            ({"transaction_mode": "DEFERRED"}, "transaction_mode"),
            ({"init_command": None}, "journal_mode"),
            ({"init_command": "PRAGMA synchronous=NORMAL"}, "journal_mode"),
            ({"init_command": "PRAGMA journal_mode=delete"}, "journal_mode"),
            ({"timeout": 1}, "timeout"),
            ({"timeout": "twenty"}, "timeout"),
            ({"timeout": None}, "timeout"),
        ],
    )
    def test_sqlite_with_its_defaults_is_reported_also_in_development(
        self, changes: dict[str, Any], word: str
    ) -> None:
        with site(databases=sqlite(**{**GOOD_OPTIONS, **changes})):
            (message,) = [found for found in run_checks() if found.id == "notifications.W013"]
        assert word in message.msg
        assert message.hint
        assert "IMMEDIATE" in message.hint

    @pytest.mark.parametrize(
        "databases",
        [
            sqlite(**GOOD_OPTIONS),
            sqlite(**{**GOOD_OPTIONS, "transaction_mode": "exclusive"}),
            sqlite(**{**GOOD_OPTIONS, "init_command": "pragma journal_mode = 'wal'"}),
            sqlite(**{**GOOD_OPTIONS, "init_command": "PRAGMA main.journal_mode (WAL);"}),
            sqlite(":memory:"),
            sqlite("file:push?mode=memory&cache=shared"),
            POSTGRES,
        ],
    )
    def test_a_database_for_two_writers_is_not_reported(self, databases: dict[str, Any]) -> None:
        with site(databases=databases):
            assert "W013" not in complaints(deploy=False)

    def test_one_worker_may_have_both(self) -> None:
        with site(layers=MEMORY, databases=SQLITE, WORKERS=1):
            assert complaints() == []

    def test_a_missing_secret_is_told(self) -> None:
        with site(TOKEN_SECRET=""):
            assert complaints() == ["W004"]

    def test_the_key_of_sessions_is_no_key_of_tokens(self) -> None:
        with site(), override_settings(SECRET_KEY=SECRET):
            assert complaints() == ["W005"]

    @pytest.mark.parametrize(
        "origin",
        [
            "http://a.example",
            "https://localhost:3000",
            "https://app.localhost",
            "https://127.0.0.1",
            "https://[::1]",
            "https://*.example",
            "http://*",
        ],
    )
    def test_an_origin_for_development_is_told(self, origin: str) -> None:
        with site(ALLOWED_ORIGINS=[origin, "https://a.example"]):
            assert complaints() == ["W006"]

    @pytest.mark.parametrize("origin", ["a.example", "", "https://", "https://[a"])
    def test_an_origin_that_allows_nothing_is_told(self, origin: str) -> None:
        with site(ALLOWED_ORIGINS=[origin]):
            assert complaints() == ["W007"]

    def test_a_host_of_everybody_lets_every_page_in(self) -> None:
        with site(hosts=["push.example", "*"]):
            assert complaints() == ["W008"]

    @pytest.mark.parametrize(
        ("name", "value"),
        [("WORKERS", "4"), ("ALLOWED_ORIGINS", 7), ("TOKEN_SECRET", 7), ("KEEP_DAYS", "90")],
    )
    def test_a_value_of_the_wrong_type_is_told_once(self, name: str, value: Any) -> None:
        with site(**{name: value}):
            assert complaints() == ["E003"]

    def test_development_is_left_alone(self) -> None:
        wrong = {"TOKEN_SECRET": "", "ALLOWED_ORIGINS": ["http://localhost"], "WORKERS": None}
        with site(layers=MEMORY, databases=SQLITE, hosts=["*"], **wrong):
            assert complaints(deploy=False) == []


@pytest.mark.django_db
def test_demo_accounts_are_told_until_their_passwords_change(settings: Settings) -> None:
    settings.DEBUG = True
    call_command("createdemo")
    settings.DEBUG = False
    assert "W009" in complaints(databases=["default"])
    assert "W009" not in complaints()
    for user in get_user_model().objects.all():
        user.set_password("a better one")
        user.save()
    assert "W009" not in complaints(databases=["default"])


@pytest.mark.django_db
def test_followed_topics_that_nobody_may_read_are_told(settings: Settings) -> None:
    user = make_user()
    names = [f"topic:{letter}" for letter in "abcdefg"]
    for name in names:
        subscriptions.join([user.pk], name)
    settings.NOTIFICATIONS = {"TOPICS": ["a"]}
    assert "W012" in complaints(databases=["default"])
    assert "W012" not in complaints()
    (message,) = check_topics(["default"])
    assert message.msg.endswith("may read them: b, c, d, e, f and more.")
    settings.NOTIFICATIONS = {"TOPICS": list("abcdefg")}
    assert check_topics(["default"]) == []
    settings.NOTIFICATIONS = {"TOPIC_PERMISSION": "tests.streams.test_names.only_garden"}
    assert check_topics(["default"]) == []


@pytest.mark.django_db(transaction=True)
def test_history_that_nobody_prunes_is_told(settings: Settings) -> None:
    settings.NOTIFICATIONS = {"KEEP_DAYS": 30}
    broadcast("old")
    broadcast("waits", publish_at=timezone.now() + timedelta(days=1))
    Notification.objects.filter(title="waits").update(created_at=_days_ago(99))
    assert "W010" not in complaints(databases=["default"])
    Notification.objects.filter(title="old").update(published_at=_days_ago(36))
    assert "W010" not in complaints(databases=["default"])
    Notification.objects.filter(title="old").update(published_at=_days_ago(38))
    assert "W010" in complaints(databases=["default"])
    assert "W010" not in complaints()


def _days_ago(days: int) -> Any:
    return timezone.now() - timedelta(days=days)


@pytest.mark.django_db(transaction=True)
def test_p8_another_database_than_the_epochs_belong_to_is_told() -> None:
    assert "W011" not in complaints(deploy=False, databases=["default"])
    assert not Incarnation.objects.exists(), "a check writes nothing"
    incarnation.check_and_store()
    assert "W011" not in complaints(deploy=False, databases=["default"])
    Incarnation.objects.update(fingerprint="file=1 cluster=1")
    messages = run_checks(databases=["default"])
    (told,) = [message for message in messages if message.id == "notifications.W011"]
    assert "manage.py renew_epochs" in str(told.hint)
    assert "W011" not in complaints(deploy=False)
    call_command("renew_epochs", nothing_lost=True, stdout=io.StringIO())
    assert "W011" not in complaints(deploy=False, databases=["default"])


def test_old_sqlite_is_an_error(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    assert "E007" not in complaints(deploy=False)
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 34, 1))
    is_sqlite = settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")
    assert ("E007" in complaints(deploy=False)) is is_sqlite


FOREIGN = """
from django.db.backends.sqlite3 import base

class DatabaseWrapper(base.DatabaseWrapper):
    vendor = {vendor!r}
"""


def unsuited(tmp_path: Path, command: str, *, vendor: str = "", **settings: Any) -> str:
    """What ``manage.py`` says of a site with such a database, or such settings.

    Args:
        vendor: of the database, "" for what the tests run on.
    """
    lines = ["from tests.settings import *"]
    if vendor:
        (tmp_path / "foreign").mkdir()
        (tmp_path / "foreign" / "base.py").write_text(FOREIGN.format(vendor=vendor))
        lines.append('DATABASES = {"default": {"ENGINE": "foreign", "NAME": ":memory:"}}')
    lines += [f"{name} = {value!r}" for name, value in settings.items()]
    (tmp_path / "unsuited.py").write_text("\n".join(lines))
    paths = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "DJANGO_SETTINGS_MODULE": "unsuited"}
    done = manage(command, env=site_environment(tmp_path) | paths, check=False)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("command", ["check", "migrate"])
def test_a_database_that_is_not_supported_is_an_error_before_anything_is_written(
    command: str, tmp_path: Path
) -> None:
    said = unsuited(tmp_path, command, vendor="mysql")
    assert "(notifications.E009) Notifications are stored in PostgreSQL or SQLite" in said


@pytest.mark.parametrize("command", ["check", "migrate"])
def test_times_without_zones_are_an_error_before_anything_is_written(
    command: str, tmp_path: Path
) -> None:
    said = unsuited(tmp_path, command, USE_TZ=False, TIME_ZONE="Europe/Berlin")
    assert "(notifications.E010) Notifications need USE_TZ = True" in said


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("django.db.backends.sqlite3", True),
        ("django.db.backends.postgresql", False),
    ],
)
def test_a_database_in_local_time_is_an_error_where_it_stores_no_zones(
    engine: str, expected: bool
) -> None:
    with site(databases={"default": {"ENGINE": engine, "TIME_ZONE": "Europe/Berlin"}}):
        assert ("E010" in complaints(deploy=False)) is expected


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
def test_a_site_without_a_database_is_left_to_django() -> None:
    with site(databases={}):
        assert complaints(deploy=False) == []
