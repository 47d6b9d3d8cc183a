"""Moving what django-notifications has left in the database aside, and dropping it in the end.

The table gets another name, and so do its indexes and its sequence, because these have one name in
a whole schema. Their migrations stay recorded under another label, which no app has.
"""

import re

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import truncate_name

from ..database.locks import has_row_locks, limit_waiting
from . import mark
from .traces import LABEL, MIGRATIONS_TABLE, OLD_LABEL, OLD_TABLE, TABLE, Traces

#: Seconds that moving waits for whoever still uses the table.
PATIENCE = 10.0

#: How SQLite keeps an index that Django has made.
CREATE_INDEX = re.compile(r'(CREATE (?:UNIQUE )?INDEX )("[^"]+"|\w+)( ON .*)', re.DOTALL)

#: Longest name in PostgreSQL.
NAME_LENGTH = 63


def move_aside(alias: str, traces: Traces) -> None:
    """Move their table and migrations out of the way, all or nothing.

    Raises:
        OperationalError: somebody has kept the table in use for too long.
    """
    connection = connections[alias]
    with transaction.atomic(using=alias, durable=True):
        limit_waiting(alias, PATIENCE)
        if traces.has_table:
            _rename_table(connection)
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {MIGRATIONS_TABLE} SET app = %s WHERE app = %s",  # noqa: S608 - a table
                [OLD_LABEL, LABEL],
            )
        mark.create(connection)


def drop(alias: str) -> None:
    """Delete everything that was moved aside, for good."""
    connection = connections[alias]
    with transaction.atomic(using=alias, durable=True), connection.cursor() as cursor:
        limit_waiting(alias, PATIENCE)
        cursor.execute(f"DROP TABLE IF EXISTS {OLD_TABLE}")
        cursor.execute(
            f"DELETE FROM {MIGRATIONS_TABLE} WHERE app = %s",  # noqa: S608 - a table
            [OLD_LABEL],
        )
        mark.drop(connection)


def _rename_table(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {TABLE} RENAME TO {OLD_TABLE}")
    if has_row_locks(connection.alias):
        _rename_in_postgresql(connection)
    else:
        _rename_indexes_in_sqlite(connection)


def _rename_in_postgresql(connection: BaseDatabaseWrapper) -> None:
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE indrelid = %s::regclass",
            [OLD_TABLE],
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"ALTER INDEX {quote(name)} RENAME TO {quote(_old(name))}")
        cursor.execute(
            "SELECT relname FROM pg_depend JOIN pg_class ON pg_class.oid = objid "
            "WHERE refobjid = %s::regclass AND relkind = 'S' AND deptype IN ('a', 'i')",
            [OLD_TABLE],
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"ALTER SEQUENCE {quote(name)} RENAME TO {quote(_old(name))}")


def _rename_indexes_in_sqlite(connection: BaseDatabaseWrapper) -> None:
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = %s",
            [OLD_TABLE],
        )
        for name, sql in cursor.fetchall():
            parts = CREATE_INDEX.fullmatch(sql or "")  # none for what a constraint implies
            if parts is not None:
                cursor.execute(f"DROP INDEX {quote(name)}")
                cursor.execute(f"{parts[1]}{quote(_old(name))}{parts[3]}")


def _old(name: str) -> str:
    return truncate_name(f"django_{name}", NAME_LENGTH)
