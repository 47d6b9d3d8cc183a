"""Moving what django-notifications has left in the database aside, and dropping it in the end.

The table gets another name, and so do its indexes and its sequence, because these have one name in
a whole schema. It loses its foreign keys: Django knows the table no longer, and so could delete no
user or content type that a row of it refers to. Their migrations stay recorded under another label,
which no app has.
"""

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import truncate_name

from ..database.locks import has_row_locks, limit_waiting
from . import mark
from .traces import LABEL, MIGRATIONS_TABLE, OLD_LABEL, OLD_TABLE, TABLE, Traces

#: Seconds that moving waits for whoever still uses the table.
PATIENCE = 10.0

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
            rename = _rename_in_postgresql if has_row_locks(alias) else _copy_in_sqlite
            rename(connection)
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


def _rename_in_postgresql(connection: BaseDatabaseWrapper) -> None:
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {TABLE} RENAME TO {OLD_TABLE}")
        cursor.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'",
            [OLD_TABLE],
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"ALTER TABLE {OLD_TABLE} DROP CONSTRAINT {quote(name)}")
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


def _copy_in_sqlite(connection: BaseDatabaseWrapper) -> None:
    """SQLite can take no constraint from a table, and no index can be renamed."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {OLD_TABLE} AS SELECT * FROM {TABLE}")  # noqa: S608 - names
        cursor.execute(f"CREATE INDEX {OLD_TABLE}_recipient ON {OLD_TABLE} (recipient_id)")
        cursor.execute(f"DROP TABLE {TABLE}")


def _old(name: str) -> str:
    return truncate_name(f"django_{name}", NAME_LENGTH)
