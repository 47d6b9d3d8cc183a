"""Who may do what in channels of namespaces (P6)."""

import logging
from typing import Any

import pytest
from django.db import OperationalError, connections

from notifications.host.permissions import ANSWER_TIMEOUT
from notifications.namespaces import UnknownChannel
from notifications.streams import channel_rights
from notifications.streams.channel_rights import Question, decide, may
from tests.rooms import make_user

pytestmark = pytest.mark.django_db

#: The error that the host's function raises for the user "bad".
failure: list[Exception] = []


def is_member(user: Any, channel: str) -> bool:
    """A right of the host: members of room 7, with a bug."""
    if user.username == "bad":
        raise failure[0]
    return channel == "chat:7"


@pytest.fixture(autouse=True)
def namespaces(settings: Any) -> None:
    channel_rights.permissions.logged_errors.clear()
    failure[:] = [RuntimeError("password=secret")]
    settings.NOTIFICATIONS = {
        "NAMESPACES": {
            "open": {"presence": "authenticated"},
            "chat": {"subscribe": f"{__name__}.is_member", "publish": "subscribers"},
            "secret": {"subscribe": "token"},
            "typo": {"subscribe": "tests.there_is.no_such_function"},
        }
    }


def test_every_active_user_has_an_authenticated_right() -> None:
    user = make_user()
    assert may(user, "subscribe", "open:1")
    assert may(user, "presence", "open:1")
    user.is_active = False
    assert not may(user, "subscribe", "open:1")


def test_nobody_has_the_right_nobody() -> None:
    assert not may(make_user(is_superuser=True), "publish", "open:1", is_subscribed=True)


def test_a_function_of_the_host_decides_for_each_channel() -> None:
    user = make_user()
    assert may(user, "subscribe", "chat:7")
    assert not may(user, "subscribe", "chat:8")
    user.is_active = False
    assert not may(user, "subscribe", "chat:7")


def test_subscribers_are_those_of_the_same_connection() -> None:
    user = make_user()
    assert not may(user, "publish", "chat:7")
    assert may(user, "publish", "chat:7", is_subscribed=True)
    user.is_active = False
    assert not may(user, "publish", "chat:7", is_subscribed=True)


def test_without_a_token_nobody_has_the_right_token() -> None:
    assert not may(make_user(), "subscribe", "secret:1")


def test_a_channel_of_no_namespace_is_unknown() -> None:
    for name in ("other:1", "open", "open:", "user:1", "open:\x00", "open:\ud800"):
        with pytest.raises(UnknownChannel):
            may(make_user(name=f"user{name!r}"), "subscribe", name)


def test_a_function_that_raises_means_no_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, good = make_user("bad"), make_user("good")
    for _ in range(2):
        assert not may(bad, "subscribe", "chat:7")
        assert may(good, "subscribe", "chat:7")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "RuntimeError" in record.getMessage()
    assert "test_channel_rights.py" in record.getMessage()
    assert "secret" not in record.getMessage()


def test_a_function_that_cannot_be_imported_means_no(caplog: pytest.LogCaptureFixture) -> None:
    assert not may(make_user(), "subscribe", "typo:1")
    assert "ModuleNotFoundError" in caplog.text


def test_a_database_that_is_down_is_not_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    failure[:] = [OperationalError("gone")]
    bad = make_user("bad")
    assert not may(bad, "subscribe", "chat:7")
    connection = connections["default"]
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    with pytest.raises(OperationalError):
        may(bad, "subscribe", "chat:7")


def test_many_questions_are_decided_together() -> None:
    one, bad, idle = make_user("one"), make_user("bad"), make_user("idle", is_active=False)
    asked = [
        Question("subscribe", "chat:7"),
        Question("subscribe", "chat:8"),
        Question("subscribe", "open:1"),
    ]
    answers = decide([(user, asked) for user in (one, bad, idle)], ANSWER_TIMEOUT)
    assert answers.undecided == {}
    assert list(answers.allowed[one.pk].values()) == [True, False, True]
    assert list(answers.allowed[bad.pk].values()) == [False, False, True]
    assert list(answers.allowed[idle.pk].values()) == [False, False, False]
