"""The table of django-notifications as the last release of it makes it, moved aside."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from notifications.adoption import mark
from notifications.adoption.importing import Choice, Import
from notifications.adoption.reports import Report
from notifications.adoption.traces import OLD_TABLE, columns_of

BEGINNING = datetime(2024, 1, 1, tzinfo=UTC)

COLUMNS = """
    id integer PRIMARY KEY, level varchar(20) NOT NULL, recipient_id {user} NOT NULL,
    unread bool NOT NULL, actor_content_type_id integer NOT NULL,
    actor_object_id varchar(255) NOT NULL, verb varchar(255) NOT NULL, description text,
    target_content_type_id integer, target_object_id varchar(255),
    action_object_content_type_id integer, action_object_object_id varchar(255),
    timestamp {time} NOT NULL, public bool NOT NULL, deleted bool NOT NULL, emailed bool NOT NULL,
    data text
"""

DEFAULTS = {
    "level": "info",
    "unread": True,
    "public": True,
    "deleted": False,
    "emailed": False,
    "description": None,
    "data": None,
}


@contextmanager
def old_table(name: str = OLD_TABLE, columns: str = COLUMNS) -> Iterator["OldTable"]:
    """Make the table, and drop it in the end."""
    is_postgres = connection.vendor == "postgresql"
    user = get_user_model()._meta.pk.rel_db_type(connection)
    types = {"user": user, "time": "timestamptz" if is_postgres else "datetime"}
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {name} ({columns.format(**types)})")
    mark.create(connection)
    try:
        yield OldTable(name)
    finally:
        mark.drop(connection)
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {name}")


class OldTable:
    def __init__(self, name: str) -> None:
        self.name = name
        self._last = 0
        self._columns = columns_of(connection, name)

    def add(self, recipient: Any, verb: str, day: float = 0, **columns: Any) -> int:
        """Write a notification, whose actor is its recipient, and return its primary key."""
        self._last += 1
        key = recipient._meta.pk
        kind = ContentType.objects.get_for_model(recipient)
        row = {
            **DEFAULTS,
            "id": self._last,
            "recipient_id": key.get_db_prep_value(recipient.pk, connection),
            "actor_content_type_id": kind.pk,
            "actor_object_id": str(recipient.pk),
            "verb": verb,
            "timestamp": BEGINNING + timedelta(days=day),
            **columns,
        }
        row = {name: value for name, value in row.items() if name in self._columns}
        row["timestamp"] = connection.ops.adapt_datetimefield_value(row["timestamp"])
        places = ", ".join(["%s"] * len(row))
        with connection.cursor() as cursor:
            sql = f"INSERT INTO {self.name} ({', '.join(row)}) VALUES ({places})"
            cursor.execute(sql, list(row.values()))
        return self._last

    def work(self, choice: Choice | None = None, size: int = 1000) -> Import:
        return Import("default", self.name, choice or Choice(), size)

    def take(self, choice: Choice | None = None, size: int = 1000) -> Report:
        """Import everything."""
        return self.work(choice, size).run(lambda report: None)
