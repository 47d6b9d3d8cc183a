"""How far the import has come, in a table of its own, changed in the transactions of the import."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from .reports import Report

TABLE = "django_notifications_import"


@dataclass
class Mark:
    """Where the import stands.

    Args:
        choice: what is imported, as it was asked for in the first run.
        last: the primary key, as text, of the last recipient whose notifications were imported;
            "" for none.
        report: what has been imported so far.
        is_done: there is nothing left.
    """

    choice: dict[str, Any] = field(default_factory=dict)
    last: str = ""
    report: Report = field(default_factory=Report)
    is_done: bool = False


def create(connection: BaseDatabaseWrapper) -> None:
    """Make the mark, unless it exists."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (id integer PRIMARY KEY, mark text)")
        cursor.execute(
            f"INSERT INTO {TABLE} VALUES (1, %s) ON CONFLICT DO NOTHING",  # noqa: S608 - a table
            [_text(Mark())],
        )


def exists(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        return TABLE in connection.introspection.table_names(cursor)


def read(connection: BaseDatabaseWrapper, *, lock: bool = False) -> Mark:
    """Read the mark.

    Args:
        lock: nobody else may read it with a lock, until the current transaction ends.
    """
    with connection.cursor() as cursor:
        if lock:  # in SQLite too, whose transaction may have begun as one that only reads
            cursor.execute(f"UPDATE {TABLE} SET id = id")  # noqa: S608 - a table
        cursor.execute(f"SELECT mark FROM {TABLE}")  # noqa: S608 - a table
        values = json.loads(cursor.fetchone()[0])
    return Mark(**{**values, "report": Report(**values["report"])})


def write(connection: BaseDatabaseWrapper, mark: Mark) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {TABLE} SET mark = %s", [_text(mark)])  # noqa: S608 - a table


def drop(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")


def _text(mark: Mark) -> str:
    return json.dumps(asdict(mark))
