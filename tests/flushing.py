"""Empties the tables after a test with real transactions, but keeps the permissions.

Django's own flush empties these too, and then makes permissions and content types anew for all
apps. That is nine tenths of its time, after each of thousands of tests.
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
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), sorted(tables)))
    migrated(apps.get_app_config("notifications"), database)
