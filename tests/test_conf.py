"""The typed settings and their system checks."""

from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from notifications import conf
from notifications.checks import values
from notifications.conf import app_settings


def ids() -> list[str | None]:
    """The ids of the app's check messages for the current settings."""
    return [message.id for message in run_checks() if str(message.id).startswith("notifications.")]


def only() -> Any:
    (message,) = values.check_settings()
    return message


def test_defaults_are_valid() -> None:
    with override_settings(NOTIFICATIONS={}):
        assert ids() == []
        assert app_settings.PING_INTERVAL == 25.0
        assert app_settings.PAGE_SIZE == 300
        assert app_settings.topic_permission() is None


def test_overridden_settings_take_effect_and_are_restored() -> None:
    before = app_settings.PAGE_SIZE
    with override_settings(NOTIFICATIONS={"PAGE_SIZE": 7}):
        assert app_settings.PAGE_SIZE == 7
    assert before == app_settings.PAGE_SIZE


def test_the_check_interval_depends_on_the_layer() -> None:
    redis = {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}}
    memory = {"default": {"BACKEND": conf.IN_MEMORY_LAYER}}
    with override_settings(NOTIFICATIONS={}, CHANNEL_LAYERS=memory):
        assert app_settings.check_interval == 1.0
    with override_settings(NOTIFICATIONS={}, CHANNEL_LAYERS=redis):
        assert app_settings.check_interval == 5.0
    with override_settings(NOTIFICATIONS={"CHECK_INTERVAL": 3}, CHANNEL_LAYERS=redis):
        assert app_settings.check_interval == 3


@pytest.mark.parametrize("value", [None, [], "PING_INTERVAL"])
def test_settings_that_are_not_a_dict_are_reported(value: Any) -> None:
    with override_settings(NOTIFICATIONS=value):
        assert ids() == ["notifications.E001"]
        assert app_settings.PAGE_SIZE == 300


def test_an_unknown_setting_is_reported() -> None:
    with override_settings(NOTIFICATIONS={"PING_INTERVALL": 25}):
        assert only().msg == "NOTIFICATIONS has no setting 'PING_INTERVALL'."
        assert ids() == ["notifications.E002"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PAGE_SIZE", "300", "a whole number above 0, not '300'"),
        ("PAGE_SIZE", 0, "a whole number above 0, not 0"),
        ("PAGE_SIZE", 1.5, "a whole number above 0"),
        ("PAGE_SIZE", True, "a whole number above 0"),
        ("LAYER_TIMEOUT", -1, "a number above 0"),
        ("LAYER_TIMEOUT", None, "a number above 0"),
        ("LAYER_TIMEOUT", float("nan"), "a number above 0"),
        ("PONG_TIMEOUT", float("inf"), "a number above 0"),
        ("DRAIN_SECONDS", -1, "a number, 0 or above, not -1"),
        ("DRAIN_SECONDS", "5", "a number, 0 or above"),
        ("CHECK_INTERVAL", "often", "a number above 0, or None"),
        ("ALLOWED_ORIGINS", "https://a.example", "a list of texts"),
        ("ALLOWED_ORIGINS", None, "a list of texts"),
        ("ALLOWED_ORIGINS", [1], "a list of texts"),
        ("CHANNEL_LAYER", 7, "text"),
        ("TOPIC_PERMISSION", len, "text"),
    ],
)
def test_an_invalid_value_is_reported_with_the_expected_type(
    name: str, value: Any, words: str
) -> None:
    with override_settings(NOTIFICATIONS={name: value}):
        messages = [m for m in values.check_settings() if m.id == "notifications.E003"]
        assert len(messages) == 1
        assert f"NOTIFICATIONS['{name}'] must be {words}" in messages[0].msg
        assert "notifications.E003" in ids()


def test_drain_seconds_may_be_zero() -> None:
    with override_settings(NOTIFICATIONS={"DRAIN_SECONDS": 0}):
        assert ids() == []


def test_an_invalid_secret_is_not_repeated_in_the_message() -> None:
    with override_settings(NOTIFICATIONS={"TOKEN_SECRET": b"hunter2"}):
        assert only().msg == "NOTIFICATIONS['TOKEN_SECRET'] must be text."


def test_a_short_secret_is_a_warning() -> None:
    with override_settings(NOTIFICATIONS={"TOKEN_SECRET": "x" * 31}):
        assert ids() == ["notifications.W001"]
    with override_settings(NOTIFICATIONS={"TOKEN_SECRET": "x" * 32}):
        assert ids() == []


def test_the_pong_timeout_must_be_shorter_than_the_ping_interval() -> None:
    with override_settings(NOTIFICATIONS={"PING_INTERVAL": 10, "PONG_TIMEOUT": 10}):
        assert ids() == ["notifications.E004"]
    with override_settings(NOTIFICATIONS={"PING_INTERVAL": "10"}):
        assert ids() == ["notifications.E003"]


def test_the_layer_must_exist() -> None:
    with override_settings(NOTIFICATIONS={"CHANNEL_LAYER": "other"}):
        assert ids() == ["notifications.E005"]
    with override_settings(CHANNEL_LAYERS={}):
        assert ids() == ["notifications.E005"]


@pytest.mark.parametrize(
    "path", ["nowhere.at_all", "tests.test_conf.missing", "nodots", ".", ".relative.path"]
)
def test_a_topic_permission_must_be_importable(path: str) -> None:
    with override_settings(NOTIFICATIONS={"TOPIC_PERMISSION": path}):
        assert ids() == ["notifications.E006"]


def test_a_topic_permission_must_be_callable() -> None:
    with override_settings(NOTIFICATIONS={"TOPIC_PERMISSION": "tests.test_conf.__name__"}):
        assert ids() == ["notifications.E006"]
    with override_settings(NOTIFICATIONS={"TOPIC_PERMISSION": "tests.test_conf.ids"}):
        assert ids() == []
        permission: Any = app_settings.topic_permission()
        assert permission is ids


def test_lists_become_tuples() -> None:
    with override_settings(NOTIFICATIONS={"ALLOWED_ORIGINS": ["https://a.example"]}):
        assert app_settings.ALLOWED_ORIGINS == ("https://a.example",)


def test_every_type_of_setting_has_words() -> None:
    assert values.WORDS.keys() >= {str(field.type) for field in conf.FIELDS.values()}


@pytest.mark.parametrize("slug", ["", "topic:news", "a b", ".hidden", "a" * 101, "news\n", "ä"])
def test_an_invalid_topic_is_reported(slug: str) -> None:
    with override_settings(NOTIFICATIONS={"TOPICS": ["news", slug]}):
        assert ids() == ["notifications.E008"]
        assert repr(slug) in only().msg
        assert app_settings.declared_topics == ("news",)


@pytest.mark.parametrize("value", ["news", None, {"news"}, [7]])
def test_topics_that_are_not_a_list_declare_no_topics(value: Any) -> None:
    with override_settings(NOTIFICATIONS={"TOPICS": value}):
        assert "notifications.E003" in ids()
        assert app_settings.declared_topics == ()


async def permit_later(user: Any, slug: str) -> bool:
    return False


def test_an_async_topic_permission_is_reported() -> None:
    with override_settings(NOTIFICATIONS={"TOPIC_PERMISSION": "tests.test_conf.permit_later"}):
        assert ids() == ["notifications.E006"]
