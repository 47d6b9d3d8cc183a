"""Work after a commit, and fast updates of many rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, ParamSpec, cast

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model

P = ParamSpec("P")

#: Values in one statement, if the database has no limit of its own.
MAX_VALUES = 3000


#: What an element of an array literal of PostgreSQL has to escape.
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\""})


class AfterCommit:
    """A call that :func:`after_commit` has registered with Django."""

    #: A test has made the call already, because its own transaction never commits.
    is_done = False

    def __init__(self, call: Callable[[], object], name: str) -> None:
        self._call = call
        # Django logs the __qualname__ of a failed callback, which a partial does not have.
        self.__qualname__ = name

    def __call__(self) -> None:
        if not self.is_done:
            self._call()


def after_commit(
    using: str, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> AfterCommit:
    """Call ``function`` after the current transaction has committed, or at once outside of one.

    Django logs what it raises: an error does not reach the caller, and does not prevent other
    callbacks of the same commit.

    Args:
        using: alias of the database whose commit is awaited.
        function: called with the other arguments.

    Returns:
        What Django calls.
    """
    name = getattr(function, "__qualname__", type(function).__qualname__)
    call = AfterCommit(partial(function, *args, **kwargs), name)
    transaction.on_commit(call, using=using, robust=True)
    return call


def update_rows(
    using: str, model: type[Model], fields: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Update rows by primary key, hundreds per statement, by joining a list of values.

    ``bulk_update`` does the same, but needs 0.4 ms of CPU per row to build its CASE; this takes
    8 µs. One statement per row would cost PostgreSQL another 150 µs for parsing and planning.

    Args:
        using: alias of the database.
        model: the model of the rows.
        fields: names of concrete fields.
        rows: for each row the Python values of these fields, none of them None, followed by the
            primary key.
    """
    connection = connections[using]
    options = model._meta
    changed = [cast("Field[Any, Any]", options.get_field(name)) for name in fields]
    columns = [*changed, options.pk]
    prepare = [partial(field.get_db_prep_value, connection=connection) for field in columns]
    source = _arrays if connection.vendor == "postgresql" else _values
    rows_per_statement = (connection.features.max_query_params or MAX_VALUES) // len(columns) - 1
    for start in range(0, len(rows), rows_per_statement):
        entries = [
            [prepared(value, prepared=True) for prepared, value in zip(prepare, row, strict=True)]
            for row in rows[start : start + rows_per_statement]
        ]
        table, parameters = source(connection, columns, entries)
        statement = _update_statement(options.db_table, [str(f.column) for f in columns], table)
        keys = [entry[-1] for entry in entries]
        with connection.cursor() as cursor:
            cursor.execute(statement, [*parameters, min(keys), max(keys)])


Entries = Sequence[Sequence[Any]]


def table_of(
    using: str, fields: Sequence[Field[Any, Any]], rows: Entries
) -> tuple[str, Sequence[Any]]:
    """Values as the table ``entry`` of a FROM clause, with columns ``column1``, ``column2`` …

    The number of parameters does not grow with the rows, because databases limit it.

    Args:
        using: alias of the database.
        fields: a field for each column, which gives its type.
        rows: the Python values of each row.

    Returns:
        The SQL and its parameters.
    """
    connection = connections[using]
    prepare = [partial(field.get_db_prep_value, connection=connection) for field in fields]
    entries = [
        [prepared(value, prepared=False) for prepared, value in zip(prepare, row, strict=True)]
        for row in rows
    ]
    if connection.vendor == "postgresql":
        return _arrays(connection, fields, entries)
    columns = ", ".join(
        f"json_extract(value, '$[{number}]') AS column{number + 1}" for number in range(len(fields))
    )
    table = f"(SELECT {columns} FROM json_each(%s)) AS entry"  # noqa: S608 - numbers only
    return table, [json.dumps(entries)]


def among(
    connection: BaseDatabaseWrapper, column: str, values: Collection[int] | Collection[str]
) -> tuple[str, str]:
    """The condition that a column has one of these values, with one parameter for all of them.

    psycopg takes 3 µs for each parameter of a statement, and as long for each entry of a list.

    Args:
        connection: the connection that runs the statement.
        column: the column, as SQL.
        values: whole numbers, or texts without NUL.

    Returns:
        The SQL and its parameter.
    """
    if connection.vendor != "postgresql":
        condition = f"{column} IN (SELECT value FROM json_each(%s))"  # noqa: S608 - a column
        return condition, json.dumps(list(values))
    kind, literal = _array(values)
    return f"{column} = ANY(%s::{kind}[])", literal


def listed(
    connection: BaseDatabaseWrapper,
    values: Collection[int] | Collection[str],
    ids: Collection[int] | None = None,
) -> tuple[str, list[str]]:
    """These values as the table ``wanted`` with the column ``value``; see :func:`among`.

    Args:
        ids: a number for each of them, for the column ``row_id``.

    Returns:
        The SQL and its parameters.
    """
    if connection.vendor != "postgresql":
        if ids is None:
            return "json_each(%s) AS wanted", [json.dumps(list(values))]
        pairs = "SELECT value->>0 AS value, value->>1 AS row_id FROM json_each(%s)"
        return f"({pairs}) AS wanted", [json.dumps(list(zip(values, ids, strict=True)))]
    kind, literal = _array(values)
    if ids is None:
        return f"unnest(%s::{kind}[]) AS wanted (value)", [literal]
    numbers = f"unnest(%s::{kind}[], %s::bigint[]) AS wanted (value, row_id)"
    return numbers, [literal, _array(ids)[1]]


def _array(values: Collection[int] | Collection[str]) -> tuple[str, str]:
    """The type of these values on PostgreSQL, and the literal of an array of them."""
    kind = "text" if any(isinstance(value, str) for value in values) else "bigint"
    entries = ",".join(
        f'"{value.translate(_ESCAPES)}"' if isinstance(value, str) else str(value)
        for value in values
    )
    return kind, f"{{{entries}}}"


def _arrays(
    connection: BaseDatabaseWrapper, columns: Sequence[Field[Any, Any]], entries: Entries
) -> tuple[str, list[Any]]:
    """One array parameter per column; one per value would cost psycopg 30 µs per row."""
    places = ", ".join(f"%s::{field.cast_db_type(connection)}[]" for field in columns)
    names = ", ".join(f"column{number}" for number in range(1, len(columns) + 1))
    return f"unnest({places}) AS entry ({names})", [
        as_array(values) for values in zip(*entries, strict=True)
    ]


def as_array(values: Sequence[Any]) -> Any:
    """Return prepared values as one parameter for an array of PostgreSQL.

    psycopg takes 3 µs for each entry of a list, so whole numbers become the text of an array.
    """
    is_whole = all(type(value) is int for value in values)
    return _array(values)[1] if is_whole else list(values)


def _values(
    connection: BaseDatabaseWrapper, columns: Sequence[Field[Any, Any]], entries: Entries
) -> tuple[str, list[Any]]:
    """One parameter per value, for SQLite, which has no arrays.

    SQLite itself names the columns of VALUES ``column1``, ``column2`` …
    """
    places = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * len(entries))
    return f"(VALUES {places}) AS entry", [value for entry in entries for value in entry]


def _update_statement(table: str, columns: Sequence[str], source: str) -> str:
    """An UPDATE that joins these values, restricted to a range of primary keys.

    Without the range, PostgreSQL reads the whole table for each statement until the table is
    analyzed for the first time: 20 ms with 60 000 rows.
    """
    *changed, key = [f'"{column}"' for column in columns]
    pairs = ", ".join(f"{name} = entry.column{n}" for n, name in enumerate(changed, start=1))
    return (
        f'UPDATE "{table}" SET {pairs} FROM {source} '  # noqa: S608 - names only
        f'WHERE "{table}".{key} = entry.column{len(columns)} AND "{table}".{key} BETWEEN %s AND %s'
    )
