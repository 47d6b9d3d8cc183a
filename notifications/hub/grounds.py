"""Reads what the verdicts on users rest on, to compare it with what was read before (P6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from inspect import getattr_static
from types import NoneType
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models.query_utils import DeferredAttribute

from ..conf import app_settings
from ..connect.authentication import session_contents
from ..models import Connection as Row
from ..streams.access import groups_by_user
from ..streams.feeds import subscription_rows
from ..streams.names import TOPIC_PREFIX
from ..streams.rows import chunks

#: What a verdict takes from a user. A class may have a constant in place of a column.
COLUMNS = ("is_active", "is_staff", "password")

#: Django's methods that compute from the password what sessions and tokens depend on.
HASHES = ("get_session_auth_hash", "get_session_auth_fallback_hash", "_get_session_auth_hash")


class Grounds(NamedTuple):
    """What the verdicts on some users rest on, read before them.

    Args:
        users: what is stored of each user, by primary key. Users whose verdict rests on anything
            else are missing.
        sessions: what is stored of each session, by session key.
    """

    users: dict[Any, Hashable]
    sessions: dict[str, str]


def read_grounds(user_ids: Sequence[Any], keys: Iterable[str]) -> Grounds:
    """Read what the verdicts on these users rest on.

    Args:
        user_ids: primary keys of the users.
        keys: keys of the sessions that authenticated their connections.
    """
    columns = _columns()
    if columns is None:
        return Grounds({}, {})
    users = get_user_model()._default_manager
    found: dict[Any, list[Any]] = {}
    streams: defaultdict[Any, list[tuple[int, bool]]] = defaultdict(list)
    #: Users for whom the host's function or a mark in the row of a connection decides too.
    others: set[Any] = set()
    for chunk in chunks(user_ids):
        rows = users.filter(pk__in=chunk).values_list("pk", *columns)
        found |= {pk: values for pk, *values in rows}
        own = subscription_rows().filter(user__in=chunk)
        for pk, stream_id, muted in own.order_by("pk").values_list("user", "stream", "muted"):
            streams[pk].append((stream_id, muted))
        if app_settings.TOPIC_PERMISSION:
            followed = own.filter(stream__name__startswith=TOPIC_PREFIX)
            others.update(followed.values_list("user", flat=True))
        closing = Row.objects.filter(user__in=chunk, closing=True)
        others.update(closing.values_list("user", flat=True))
    groups = groups_by_user(list(found))
    stored: dict[Any, Hashable] = {
        pk: (*values, *groups.get(pk, ()), *streams[pk])
        for pk, values in found.items()
        if pk not in others
    }
    return Grounds(stored, session_contents(keys))


def _columns() -> list[str] | None:
    """The columns of users to read; None if the project computes what they stand for."""
    users = get_user_model()
    if any(not _is_djangos(getattr_static(users, name, None), name) for name in HASHES):
        return None
    found = {name: getattr_static(users, name, None) for name in COLUMNS}
    columns = [name for name, value in found.items() if type(value) is DeferredAttribute]
    rest = [value for value in found.values() if type(value) is not DeferredAttribute]
    return columns if all(isinstance(value, bool | NoneType) for value in rest) else None


def _is_djangos(method: Any, name: str) -> bool:
    return method is None or method is getattr_static(AbstractBaseUser, name, None)
