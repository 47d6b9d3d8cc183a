"""Comparing captured notifications with what a test expects, and describing them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import Group

from ..models import Notification
from ..options import Audience
from ..publishing.recipients import EVERYONE
from ..streams import names as stream_names
from ..texts import TEXT, one_line, plain, plain_json

#: A user, or the audience of a broadcast.
To: TypeAlias = "AbstractBaseUser | Audience"

#: Fields in the order in which a description has them, with the values that it leaves out.
SHOWN: dict[str, tuple[object, ...]] = {
    "title": (),
    "body": ("",),
    "url": ("",),
    "kind": ("message", "broadcast"),
    "level": ("info",),
    "data": ({},),
    "actor": (None,),
    "key": (None,),
    "expires_at": (None,),
}

#: Characters of a value in a description.
MOST_SAID = 80


def stream_of(to: Any) -> str:
    """The name of the stream that ``to`` means.

    Raises:
        ValueError: it is neither a saved user nor an audience.
    """
    if isinstance(to, Group | get_user_model()):
        if to.pk is None:
            raise ValueError(f"to: {to} is not saved")
        is_group = isinstance(to, Group)
        return (stream_names.group_stream if is_group else stream_names.user_stream)(to.pk)
    if not isinstance(to, TEXT):
        raise ValueError(f"to: {to!r} is neither a user nor an audience")
    name = stream_names.BROADCAST if plain(to) == EVERYONE else plain(to)
    try:
        stream_names.parse(name)
    except stream_names.UnknownStream:
        raise ValueError(f"to: there is no audience {name!r}") from None
    return name


def as_stored(name: str, value: Any) -> Any:
    """A value of a field as publishing stores it, so that it can be compared."""
    if isinstance(value, TEXT):
        value = plain(value)
    if name == "title" and isinstance(value, str):
        return one_line(value)
    if name == "data" and (value is None or isinstance(value, dict)):
        return plain_json(value or {})
    return value or None if name == "key" else value


def differences(notification: Notification, expected: Mapping[str, Any]) -> list[str]:
    """The names of the fields whose values are not the expected ones."""
    return [
        name
        for name, value in expected.items()
        # The expected value comes first: it may decide by itself, as ``unittest.mock.ANY`` does.
        if not as_stored(name, value) == getattr(notification, name)  # noqa: SIM201
    ]


def describe(notification: Notification) -> str:
    """A captured notification in one line."""
    fields = {
        name: getattr(notification, name)
        for name, usual in SHOWN.items()
        if getattr(notification, name) not in usual
    }
    if notification.publish_at > notification.created_at:
        fields["publish_at"] = notification.publish_at
    return f"{notification.stream_name}: {describe_fields(fields)}"


def describe_fields(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(as_stored(name, value))}" for name, value in fields.items())


def describe_to(to: Any) -> str:
    """Whom ``to`` means, for a message."""
    name = stream_of(to)
    return name if isinstance(to, TEXT) else f"{name} ({to})"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SAID else text[: MOST_SAID - 1] + "…"
