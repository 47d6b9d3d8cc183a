"""Queries of the ORM that are compiled once, and then run with other values.

Building a query takes the ORM 0.3 to 0.8 ms of CPU, running it a few µs a row: see
:mod:`notifications.connect.admission`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, Field, QuerySet
from django.db.models.expressions import Combinable, RawSQL
from django.utils import timezone

from .clock import has_clock
from .transactions import as_array

#: Stands for the values when a query is compiled.
_VALUES = object()

#: Stands for the present moment, where the database's own clock is not used. No row has it.
_PRESENT = datetime(9000, 1, 1, tzinfo=UTC)

#: A stranger's key may be too large for the column of PostgreSQL, which would be an error. Arrays
#: of a larger type would be compared one by one where a table is read as a whole: 200 keys and
#: 10 000 rows took 18 ms instead of 2.
_BOUNDS = {"smallint": 2**15, "integer": 2**31}


class Statement:
    """The SQL of a query that may compare times with the present moment.

    Args:
        query: the query; :func:`compiled_moment` stands for the present moment in it.
    """

    def __init__(self, query: QuerySet[Any, Any]) -> None:
        self.compiler = query.query.get_compiler(query.db)
        self.sql, parameters = self.compiler.as_sql()
        self._parameters = list(parameters)
        marker = connections[query.db].ops.adapt_datetimefield_value(_PRESENT)
        self._moments = [at for at, value in enumerate(self._parameters) if value == marker]
        # To find them takes the ORM longer than to run the statement.
        self._converters = self.compiler.get_converters(
            [column for column, *_ in self.compiler.select]
        )

    def parameters(self) -> list[Any]:
        """Its parameters, for running it now."""
        found = self._parameters.copy()
        if self._moments:
            now = self.compiler.connection.ops.adapt_datetimefield_value(timezone.now())
            for place in self._moments:
                found[place] = now
        return found

    def convert(self, rows: list[Sequence[Any]]) -> list[Sequence[Any]]:
        """Convert rows of the database to Python values, as the ORM does."""
        if not self._converters:
            return rows
        return list(self.compiler.apply_converters(rows, self._converters))


def compiled_moment(using: str) -> datetime | None:
    """What a query for a :class:`Statement` compares times with; None for the database's clock."""
    return None if has_clock(using) else _PRESENT


class Compiled:
    """A query for the rows in which one column has any of some values.

    All values are one parameter, so any number of them takes one statement.

    Args:
        build: makes the query for the alias of a database: a ``values_list`` that is filtered by
            the condition it gets, and by nothing that changes.
        field: returns the field of the values, for their type.
        column: the column, as SQL.
    """

    def __init__(
        self,
        build: Callable[[str, Combinable], QuerySet[Any, Any]],
        field: Callable[[], Field[Any, Any]],
        column: str,
    ) -> None:
        self._build = build
        self._field = field
        self._column = column
        self._compiled: dict[str, Statement] = {}

    def rows(self, using: str, values: Collection[Any]) -> list[Sequence[Any]]:
        """Run the query.

        Args:
            using: alias of the database.
            values: the Python values of the column.
        """
        if not values:
            return []
        connection = connections[using]
        statement = self._compiled.get(using)
        if statement is None:
            statement = self._compiled[using] = self._compile(connection)
        field = self._field()
        prepared = [field.get_db_prep_value(value, connection, prepared=False) for value in values]
        if connection.vendor == "postgresql":
            if bound := _BOUNDS.get(field.cast_db_type(connection) or ""):
                prepared = [value for value in prepared if -bound <= value < bound]
            listed = as_array(prepared)
        else:
            listed = json.dumps(prepared)
        parameters = [listed if each is _VALUES else each for each in statement.parameters()]
        with connection.cursor() as cursor:
            cursor.execute(statement.sql, parameters)
            return statement.convert(cursor.fetchall())

    def _compile(self, connection: BaseDatabaseWrapper) -> Statement:
        if connection.vendor == "postgresql":
            condition = f"{self._column} = ANY(%s::{self._field().cast_db_type(connection)}[])"
        else:
            condition = f"{self._column} IN (SELECT value FROM json_each(%s))"  # noqa: S608 - a column
        among = RawSQL(condition, [_VALUES], output_field=BooleanField())  # noqa: S611 - parameters
        return Statement(self._build(connection.alias, among))
