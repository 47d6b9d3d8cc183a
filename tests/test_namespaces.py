"""Declaring namespaces."""

from typing import Any

import pytest
from django.core.checks import run_checks

from notifications.namespaces import RESERVED, Namespace, namespace_of


def messages() -> list[str]:
    return [str(message.msg) for message in run_checks() if message.id == "notifications.E014"]


def declare(settings: Any, **namespaces: Any) -> None:
    settings.NOTIFICATIONS = {"NAMESPACES": namespaces}


def test_a_channel_belongs_to_the_namespace_before_its_colon(settings: Any) -> None:
    declare(settings, chat={"durable": True}, typing={})
    assert namespace_of("chat:7") == Namespace(name="chat", durable=True)
    assert namespace_of("typing:a:b") == Namespace(name="typing")
    assert messages() == []


def test_the_namespace_without_a_name_has_the_channels_without_a_colon(settings: Any) -> None:
    settings.NOTIFICATIONS = {"NAMESPACES": {"": {"durable": True}}}
    assert namespace_of("lobby") == namespace_of("ü 7") == Namespace(name="", durable=True)
    assert messages() == []


@pytest.mark.parametrize("channel", ["", ":7", "chat:7", *RESERVED, "x" * 256])
def test_it_has_neither_built_in_streams_nor_channels_with_a_colon(
    settings: Any, channel: str
) -> None:
    settings.NOTIFICATIONS = {"NAMESPACES": {"": {}}}
    assert namespace_of(channel) is None


@pytest.mark.parametrize("channel", ["", "chat", "chat:", ":7", "other:7", "chat:" + "x" * 251])
def test_other_names_belong_to_no_namespace(settings: Any, channel: str) -> None:
    declare(settings, chat={})
    assert namespace_of(channel) is None


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("user", {}),
        ("topic", {}),
        ("a b", {}),
        (":", {}),
        (7, {}),
        ("chat", True),
        ("chat", {"durabel": True}),
        ("chat", {"durable": 1}),
        ("chat", {"publish": "everybody"}),
        ("chat", {"publish": "token"}),
        ("chat", {"subscribe": "subscribers"}),
        ("chat", {"schema": None}),
        ("chat", {"schema": "check"}),
    ],
)
def test_a_check_reports_a_bad_declaration(settings: Any, name: Any, options: Any) -> None:
    settings.NOTIFICATIONS = {"NAMESPACES": {name: options, "good": {}}}
    (message,) = messages()
    assert repr(name) in message
    assert namespace_of(f"{name}:7") is None
    assert namespace_of("good:7") == Namespace(name="good")


async def asynchronous(user: Any, channel: str) -> bool:
    """A right that cannot be used: a coroutine is always true."""
    return False


A_TEXT = "not callable"


@pytest.mark.parametrize("name", ["asynchronous", "A_TEXT", "missing"])
@pytest.mark.parametrize("option", ["subscribe", "publish", "history", "presence", "schema"])
def test_a_check_reports_functions_that_cannot_be_called(
    settings: Any, option: str, name: str
) -> None:
    declare(settings, chat={option: f"{__name__}.{name}"}, good={option: "os.path.exists"})
    (message,) = messages()
    assert name in message
    assert "'chat'" in message


@pytest.mark.parametrize("path", ["nowhere.at_all", ".", ".relative.path"])
def test_a_check_reports_paths_that_lead_nowhere(settings: Any, path: str) -> None:
    declare(settings, chat={"subscribe": path})
    (message,) = messages()
    assert f"'chat']: {path}: " in message


def test_a_check_reports_tokens_that_nothing_can_sign(settings: Any) -> None:
    namespaces = {"chat": {"subscribe": "token"}}
    settings.NOTIFICATIONS = {"NAMESPACES": namespaces}
    (message,) = messages()
    assert "TOKEN_SECRET" in message
    settings.NOTIFICATIONS = {"NAMESPACES": namespaces, "TOKEN_SECRET": "x" * 32}
    assert messages() == []
