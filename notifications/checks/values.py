"""Checks that the settings are valid and consistent with each other. They always run."""

import math
from inspect import iscoroutinefunction
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.utils.module_loading import import_string

from ..conf import FIELDS, app_settings, is_slug
from ..namespaces import TOKEN, functions_of_namespaces, problems_of

#: How a message describes each type of :data:`notifications.conf.FIELDS`.
WORDS = {
    "str": "text",
    "int": "a whole number above 0",
    "int | None": "a whole number above 0, or None",
    "float": "a number above 0",
    "Delay": "a number, 0 or above",
    "float | None": "a number above 0, or None",
    "tuple[str, ...]": "a list of texts",
    "dict[str, dict[str, Any]]": "a dict of namespaces by name",
    "dict[str, str | None]": "a dict of paths by transport",
}

#: What importing a path raises that names nothing, or is relative.
IMPORT_ERRORS = (ImportError, TypeError, ValueError)


@register
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """``E001`` to ``E005``, ``E008``, ``E014`` and ``W001``: the values of ``NOTIFICATIONS``."""
    value = getattr(django_settings, "NOTIFICATIONS", {})
    if not isinstance(value, dict):
        return [Error("NOTIFICATIONS must be a dict.", id="notifications.E001")]
    return [
        *_check_names(value),
        *_check_values(value),
        *_check_timing(),
        *_check_layer(),
        *_check_topics(),
        *_check_namespaces(),
    ]


def _check_names(raw: dict[str, Any]) -> list[CheckMessage]:
    return [
        Error(f"NOTIFICATIONS has no setting {name!r}.", id="notifications.E002")
        for name in raw
        if name not in FIELDS
    ]


def _check_values(raw: dict[str, Any]) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for name, value in raw.items():
        expected = str(FIELDS[name].type) if name in FIELDS else ""
        if not expected or _fits(value, expected):
            continue
        got = "" if name == "TOKEN_SECRET" else f", not {value!r}"
        messages.append(
            Error(
                f"NOTIFICATIONS[{name!r}] must be {WORDS[expected]}{got}.", id="notifications.E003"
            )
        )
    secret = raw.get("TOKEN_SECRET", "")
    if isinstance(secret, str) and secret and len(secret) < 32:
        messages.append(
            Warning(
                "NOTIFICATIONS['TOKEN_SECRET'] is shorter than 32 characters.",
                hint="HS256 keys should have 256 bits (RFC 7518 section 3.2).",
                id="notifications.W001",
            )
        )
    return messages


def _fits(value: Any, expected: str) -> bool:
    if isinstance(value, bool):
        return False
    if expected == "str":
        return isinstance(value, str)
    if value is None:
        return expected.endswith("| None")
    if expected.startswith("dict"):
        return isinstance(value, dict)
    if expected.startswith("int"):
        return isinstance(value, int) and value > 0
    if expected == "tuple[str, ...]":
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return value > 0 or (expected == "Delay" and value == 0)


def _check_timing() -> list[CheckMessage]:
    try:
        if app_settings.PONG_TIMEOUT < app_settings.PING_INTERVAL:
            return []
    except TypeError:
        return []  # E003 reports it
    return [
        Error("NOTIFICATIONS['PONG_TIMEOUT'] must be below PING_INTERVAL.", id="notifications.E004")
    ]


def _check_layer() -> list[CheckMessage]:
    alias = app_settings.CHANNEL_LAYER
    if alias in getattr(django_settings, "CHANNEL_LAYERS", {}):
        return []
    return [
        Error(
            f"CHANNEL_LAYERS has no layer {alias!r}, which NOTIFICATIONS['CHANNEL_LAYER'] names.",
            hint='The minimum is {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}.',
            id="notifications.E005",
        )
    ]


def _check_topics() -> list[CheckMessage]:
    if not isinstance(app_settings.TOPICS, tuple):
        return []  # E003 reports it
    return [
        Error(
            f"NOTIFICATIONS['TOPICS']: {slug!r} is not a valid topic slug.",
            hint="1 to 100 letters, digits, '-', '_' or (not first) '.', without 'topic:'.",
            id="notifications.E008",
        )
        for slug in app_settings.TOPICS
        if not is_slug(slug)
    ]


def _check_namespaces() -> list[CheckMessage]:
    if not isinstance(app_settings.NAMESPACES, dict):
        return []  # E003 reports it
    return [
        Error(f"NOTIFICATIONS['NAMESPACES'][{name!r}]: {problem}.", id="notifications.E014")
        for name, options in app_settings.NAMESPACES.items()
        for problem in problems_of(name, options) or _without_secret(options)
    ]


def _without_secret(options: dict[str, Any]) -> list[str]:
    if options.get("subscribe") != TOKEN or app_settings.TOKEN_SECRET:
        return []
    return ["'subscribe' needs NOTIFICATIONS['TOKEN_SECRET'], which signs the tokens"]


@register
def check_namespace_functions(**kwargs: Any) -> list[CheckMessage]:
    """``E014``: a function of a namespace cannot be imported, is a coroutine, or not callable."""
    return [
        Error(f"NOTIFICATIONS['NAMESPACES'][{name!r}]: {path}: {problem}", id="notifications.E014")
        for name, path in functions_of_namespaces()
        if (problem := _problem_of_function(path))
    ]


def _problem_of_function(path: str) -> str:
    try:
        function = import_string(path)
    except IMPORT_ERRORS as error:
        return f"{error}."
    if iscoroutinefunction(function):  # a coroutine object is always true
        return "it must not be async."
    return "" if callable(function) else "it is not callable."


@register
def check_topic_permission(**kwargs: Any) -> list[CheckMessage]:
    """``E006``: ``TOPIC_PERMISSION`` cannot be imported, is a coroutine, or is not callable."""
    try:
        permission = app_settings.topic_permission()
    except (*IMPORT_ERRORS, AttributeError) as error:  # E003 reports a wrong type
        return [
            Error(f"NOTIFICATIONS['TOPIC_PERMISSION']: {error}", id="notifications.E006"),
        ]
    if iscoroutinefunction(permission):  # a coroutine object is always true
        return [
            Error("NOTIFICATIONS['TOPIC_PERMISSION'] must not be async.", id="notifications.E006")
        ]
    if permission is None or callable(permission):
        return []
    return [Error("NOTIFICATIONS['TOPIC_PERMISSION'] is not callable.", id="notifications.E006")]
