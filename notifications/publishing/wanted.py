"""The streams that a call wants to write to, as a table for the statements that write."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import QuerySet

from ..database.locks import has_row_locks
from ..models import database_alias
from ..streams.names import USER_PREFIX


class Wanted(NamedTuple):
    """Which streams get a row.

    Args:
        sql: for the WITH of a statement. It gives the table ``wanted``, with the ``name`` of each
            stream, and a ``number`` that ascends in the order of the call.
        parameters: its parameters.
    """

    sql: str
    parameters: list[Any]


def wanted_names(names: Sequence[str]) -> Wanted:
    """Streams by name."""
    if has_row_locks(database_alias()):
        texts = "unnest(%s::text[]) WITH ORDINALITY AS given (name, number)"
        return Wanted(f"wanted AS (SELECT name, number FROM {texts})", [list(names)])  # noqa: S608
    ctes = "wanted AS (SELECT value AS name, key AS number FROM json_each(%s))"
    return Wanted(ctes, [json.dumps(list(names))])


def wanted_users(users: QuerySet[Any]) -> Wanted:
    """The private streams of the users of a queryset.

    Args:
        users: see :func:`notifications.publishing.recipients.count_in_database`.
    """
    compiler = users.values_list("pk").query.get_compiler(connection=connections[database_alias()])
    sql, parameters = compiler.as_sql()
    # A user may be in a queryset more than once, and counts where it comes first.
    ctes = f"""
        chosen (id) AS ({sql}),
        numbered AS (SELECT id, row_number() OVER () AS number FROM chosen),
        wanted AS (
            SELECT '{USER_PREFIX}' || CAST(id AS text) AS name, min(number) AS number
            FROM numbered GROUP BY id
        )
    """  # noqa: S608 - a query of Django; no value
    return Wanted(ctes, list(parameters))
