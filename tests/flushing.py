"""Empties the tables after a test with real transactions, but keeps the permissions.

Django's own flush empties these too, and then makes permissions and content types anew for all
apps. That is nine tenths of its time, after each of thousands of tests. On PostgreSQL it truncates,
which makes new files for all tables and indexes: 180 ms, where deleting a test's few rows takes 4.
"""

from typing import Any

from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.db import connections
from django.test import TransactionTestCase

from notifications.receivers import migrated

KEPT = (ContentType, Permission)

#: Bytes of a table that is truncated. Deleted rows stay in its file: they would slow down what
#: follows, and change the plans of queries.
LARGE = 32_768


def keep_permissions() -> None:
    """Let ``TransactionTestCase``, and so pytest-django, keep permissions and content types.

    A test that adds or deletes some is followed by Django's own flush.
    """
    cases: Any = TransactionTestCase
    prepare, flush = cases._fixture_setup.__func__, cases._fixture_teardown
    made: dict[str, list[Any]] = {}

    @classmethod  # type: ignore[misc]
    def set_up(cls: Any) -> None:
        for name in cls._databases_names(include_mirrors=False):
            if name not in made:
                made[name] = _kept_rows(name)
        prepare(cls)

    def tear_down(case: Any) -> None:
        names = case._databases_names(include_mirrors=False)
        if all(_kept_rows(name) == made[name] for name in names):
            for name in names:
                _empty(name)
        else:
            flush(case)
            made.clear()

    # TestCase has its own.
    cases._fixture_setup, cases._fixture_teardown = set_up, tear_down


def _kept_rows(database: str) -> list[Any]:
    return [list(model.objects.using(database).values_list("pk", flat=True)) for model in KEPT]


def _empty(database: str) -> None:
    connection = connections[database]
    tables = set(connection.introspection.django_table_names(only_existing=True))
    tables -= {model._meta.db_table for model in KEPT}
    if connection.vendor != "postgresql" or not _delete_rows(connection, sorted(tables)):
        connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), sorted(tables)))
    migrated(apps.get_app_config("notifications"), database)


def _delete_rows(connection: Any, tables: list[str]) -> bool:
    """Delete the rows of tables on PostgreSQL; False if a test has filled a table too much."""
    names = [connection.ops.quote_name(table) for table in tables]
    with connection.cursor() as cursor:
        sizes = ", ".join(f"pg_relation_size('{name}')" for name in names)
        cursor.execute(f"SELECT GREATEST({sizes})")
        if cursor.fetchone()[0] > LARGE:
            return False
        deletions = "; ".join(f"DELETE FROM {name}" for name in names)
        # Truncating waits for the transactions of other threads, too.
        cursor.execute(f"BEGIN; LOCK TABLE {', '.join(names)}; {deletions}; COMMIT")
    return True
