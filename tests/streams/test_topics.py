"""Who may read which topics, also if ``TOPIC_PERMISSION`` fails."""

import logging
from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError, connections
from prometheus_client import REGISTRY

from notifications import broadcast
from notifications.models import database_alias
from notifications.streams import access, subscriptions, topics
from notifications.streams import feeds as stream_feeds
from tests.rooms import make_user

pytestmark = pytest.mark.django_db

PERMISSION = "tests.streams.test_topics.raise_for_bad"

#: The error that the permission raises.
failure: list[Exception] = []


def raise_for_bad(user: Any, slug: str) -> bool:
    """A ``TOPIC_PERMISSION`` with a bug."""
    if user.username == "bad":
        raise failure[0]
    return slug == "garden"


@pytest.fixture(autouse=True)
def logged() -> None:
    """Forget the logged errors, as in a new process."""
    topics.permissions.logged_errors.clear()
    failure[:] = [RuntimeError("password=secret")]


def errors() -> float:
    return REGISTRY.get_sample_value("notifications_permission_errors_total") or 0


def test_without_a_permission_only_declared_topics_are_readable(settings: Any) -> None:
    settings.NOTIFICATIONS = {"TOPICS": ["news"]}
    user = make_user()
    assert access.may_read(user, "topic:news")
    for name in ("topic:new", "topic:newsx", "topic:News", "topic:other"):
        assert not access.may_read(user, name)
    user.is_active = False
    assert not access.may_read(user, "topic:news")
    settings.NOTIFICATIONS = {}
    user.is_active = True
    assert not access.may_read(user, "topic:news")


def test_a_permission_decides_alone(settings: Any) -> None:
    settings.NOTIFICATIONS = {"TOPICS": ["news"], "TOPIC_PERMISSION": PERMISSION}
    user = make_user()
    assert not access.may_read(user, "topic:news")
    assert access.may_read(user, "topic:garden")


def test_a_permission_that_raises_means_no_and_is_logged_once(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.NOTIFICATIONS = {"TOPIC_PERMISSION": PERMISSION}
    bad, good = make_user("bad"), make_user("good")
    before = errors()
    for _ in range(3):
        assert not access.may_read(bad, "topic:garden")
        assert access.may_read(good, "topic:garden")
    assert errors() == before + 3
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "RuntimeError" in record.getMessage()
    assert "test_topics.py" in record.getMessage()
    assert "secret" not in record.getMessage()
    assert record.exc_info is None


def test_a_permission_that_cannot_be_imported_means_no(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.NOTIFICATIONS = {"TOPIC_PERMISSION": "tests.nowhere.f"}
    assert not access.may_read(make_user(), "topic:garden")
    assert "ModuleNotFoundError" in caplog.text


@pytest.mark.parametrize("error", [OperationalError("no such table"), ProgrammingError("bug")])
def test_a_database_error_of_the_permission_alone_means_no(settings: Any, error: Exception) -> None:
    settings.NOTIFICATIONS = {"TOPIC_PERMISSION": PERMISSION}
    failure[:] = [error]
    assert not access.may_read(make_user("bad"), "topic:garden")


def test_a_permission_that_fails_with_the_database_down_is_not_a_no(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a restart of the database would end everybody's topics."""
    settings.NOTIFICATIONS = {"TOPIC_PERMISSION": PERMISSION}
    failure[:] = [OperationalError("server closed the connection")]
    bad = make_user("bad")
    monkeypatch.setattr(connections[database_alias()], "is_usable", lambda: False)
    before = errors()
    with pytest.raises(OperationalError):
        access.may_read(bad, "topic:garden")
    assert errors() == before


def test_a_permission_that_raises_for_one_user_does_not_affect_others(
    settings: Any,
) -> None:
    settings.NOTIFICATIONS = {"TOPIC_PERMISSION": PERMISSION}
    users = [make_user("bad"), make_user("good")]
    subscriptions.join([user.pk for user in users], "topic:garden")
    inboxes = stream_feeds.load_inboxes(users)
    names = [{feed.name for feed in inboxes[user.pk]} for user in users]
    assert ["broadcast" in own for own in names] == [True, True]
    assert ["topic:garden" in own for own in names] == [False, True]


def test_a_broadcast_that_nobody_can_read_is_logged_in_debug_mode(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.NOTIFICATIONS = {"TOPICS": ["news"]}
    broadcast("to all followers", to="topic:news")
    assert caplog.text == ""
    settings.DEBUG = True
    assert broadcast("to nobody", to="topic:typo").stream_name == "topic:typo"
    assert "Nobody can read topic:typo" in caplog.text
    settings.NOTIFICATIONS = {"TOPIC_PERMISSION": PERMISSION}
    caplog.clear()
    broadcast("to whom it concerns", to="topic:any")
    assert caplog.text == ""
