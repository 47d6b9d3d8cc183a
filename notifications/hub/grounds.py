"""Reads what the verdicts on users rest on, to compare it with what was read before (P6)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from inspect import getattr_static
from types import NoneType
from typing import Any, NamedTuple, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import DatabaseError, OperationalError, connections
from django.db.models import Exists, Field, Model, OuterRef, Q, TextField
from django.db.models.expressions import RawSQL
from django.db.models.query_utils import DeferredAttribute

from ..conf import app_settings
from ..connect.sessions import session_contents
from ..database.sets import set_of
from ..models import Connection as Row
from ..models import Subscription, database_alias
from ..streams.names import TOPIC_PREFIX
from ..streams.rows import chunks

#: What a verdict takes from a user. A class may have a constant in place of a column.
COLUMNS = ("is_active", "is_staff", "password")

#: Django's methods that compute from the password what sessions and tokens depend on.
HASHES = ("get_session_auth_hash", "get_session_auth_fallback_hash", "_get_session_auth_hash")


#: What to read of a subscription.
STREAMS = {
    "sqlite": "mine.stream_id || '/' || mine.muted",
    "postgresql": "CONCAT_WS('/', mine.stream_id, mine.muted)",
}

#: Joins texts, always in the same order. SQLite reads them from an index that begins with the user.
TOGETHER = {"sqlite": "GROUP_CONCAT({0})", "postgresql": "STRING_AGG({0}, ',' ORDER BY {0})"}


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
    """Read what the verdicts on these users rest on, with one query per 500 users.

    If the database cannot answer for these users, nothing is known, and so all are checked.

    Args:
        user_ids: primary keys of the users.
        keys: keys of the sessions that authenticated their connections.

    Raises:
        OperationalError: the database is unavailable.
    """
    columns = _columns()
    if columns is None:
        return Grounds({}, {})
    try:
        return Grounds(_read_users(user_ids, columns), session_contents(list(keys)))
    except OperationalError:
        raise
    except DatabaseError:
        return Grounds({}, {})


def _read_users(user_ids: Sequence[Any], columns: Sequence[str]) -> dict[Any, Hashable]:
    users = get_user_model()
    everybody = users._default_manager.annotate(
        notifications_asks=_asks_host(),
        notifications_streams=_joined(Subscription, "user", STREAMS),
        **_groups(),
    )
    found: dict[Any, Hashable] = {}
    for chunk in chunks(user_ids):
        these = set_of(database_alias(), users._meta.pk, chunk)
        names = ("pk", *everybody.query.annotations, *columns)
        for pk, asks, *values in everybody.filter(pk__in=these).values_list(*names):
            if not asks:
                found[pk] = tuple(values)
    return found


def _asks_host() -> Exists | Q:
    """Does anything else decide: a mark in the row of a connection, or a function of the host?"""
    mine = Q(user=OuterRef("pk"))
    marked = Exists(Row.objects.filter(mine, Q(closing=True) | Q(expires_at__isnull=False)))
    if not app_settings.TOPIC_PERMISSION:
        return marked
    return marked | Exists(Subscription.objects.filter(mine, stream__name__startswith=TOPIC_PREFIX))


def _groups() -> dict[str, RawSQL]:
    membership = getattr(get_user_model(), "groups", None)
    if membership is None:
        return {}
    rows, field = membership.through, membership.field
    values = f'CAST(mine."{_column(rows, field.m2m_reverse_field_name())}" AS TEXT)'
    joined = _joined(rows, field.m2m_field_name(), dict.fromkeys(STREAMS, values))
    return {"notifications_groups": joined}


def _joined(rows: type[Model], user: str, values: Mapping[str, str]) -> RawSQL:
    """The values of all rows of a user, joined to one text.

    Args:
        rows: the model.
        user: its foreign key.
        values: what to read of a row, as SQL, by the kind of database.
    """
    connection = connections[database_alias()]
    quote, users = connection.ops.quote_name, get_user_model()._meta
    together = TOGETHER[connection.vendor].format(values[connection.vendor])
    owner = f"{quote(users.db_table)}.{quote(str(users.pk.column))}"
    sql = (
        f"SELECT {together} FROM {quote(rows._meta.db_table)} mine"  # noqa: S608 - names only
        f" WHERE mine.{quote(_column(rows, user))} = {owner}"
    )
    return RawSQL(sql, [], output_field=TextField())  # noqa: S611 - names only


def _column(rows: type[Model], name: str) -> str:
    return str(cast("Field[Any, Any]", rows._meta.get_field(name)).column)


def _columns() -> list[str] | None:
    """The columns of users to read; None if the project computes what they stand for."""
    users = get_user_model()
    if connections[database_alias()].vendor not in TOGETHER:
        return None
    if any(not _is_djangos(getattr_static(users, name, None), name) for name in HASHES):
        return None
    found = {name: getattr_static(users, name, None) for name in COLUMNS}
    columns = [name for name, value in found.items() if type(value) is DeferredAttribute]
    rest = [value for value in found.values() if type(value) is not DeferredAttribute]
    return columns if all(isinstance(value, bool | NoneType) for value in rest) else None


def _is_djangos(method: Any, name: str) -> bool:
    return method is None or method is getattr_static(AbstractBaseUser, name, None)
