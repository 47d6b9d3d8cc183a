"""What django-notifications has left in the database of this app."""

from collections.abc import Collection
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from ..models import Notification

#: The label that both apps have, and what their migrations are recorded under once moved aside.
LABEL = "notifications"
OLD_LABEL = "django_notifications"

#: The table of both apps, and its name once moved aside.
TABLE = Notification._meta.db_table
OLD_TABLE = "django_notifications_notification"

MIGRATIONS_TABLE = MigrationRecorder.Migration._meta.db_table

#: Columns of theirs, in every release since 0.5, and one that only ours has.
OLD_COLUMNS = frozenset(
    ("recipient_id", "unread", "actor_content_type_id", "actor_object_id", "verb", "timestamp")
)
OUR_COLUMN = "stream_id"

#: Their migrations, without the first, whose name ours has too.
OLD_MIGRATIONS = frozenset(
    (
        "0002_auto_20150224_1134",
        "0003_notification_data",
        "0004_auto_20150826_1508",
        "0005_auto_20160504_1520",
        "0006_indexes",
        "0007_add_timestamp_index",
        "0008_index_together_recipient_unread",
        "0009_alter_notification_options_and_more",
    )
)


class Traces(NamedTuple):
    """What is theirs in a database.

    Args:
        has_table: their table stands where ours belongs.
        migrations: theirs, recorded under our label. Without a table in our place, their model was
            swapped for one of the host, or their table was dropped.
        is_aside: their table was moved aside before.
    """

    has_table: bool
    migrations: tuple[str, ...]
    is_aside: bool

    @property
    def are_in_the_way(self) -> bool:
        """Would ``migrate`` take their tables and migrations for ours?"""
        return self.has_table or bool(self.migrations)


def find_traces(connection: BaseDatabaseWrapper) -> Traces:
    """Look for what is theirs in a database that holds the tables of this app."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
    columns = columns_of(connection, TABLE) if TABLE in tables else frozenset[str]()
    has_table = columns >= OLD_COLUMNS and OUR_COLUMN not in columns
    recorded = _recorded(connection) if MIGRATIONS_TABLE in tables else ()
    # Names that neither app knows may be of a later release of this one.
    is_swapped = not columns and not OLD_MIGRATIONS.isdisjoint(recorded)
    return Traces(has_table, recorded if has_table or is_swapped else (), OLD_TABLE in tables)


def columns_of(connection: BaseDatabaseWrapper, table: str) -> frozenset[str]:
    with connection.cursor() as cursor:
        found = connection.introspection.get_table_description(cursor, table)
    return frozenset(column.name for column in found)


def referring_tables(connection: BaseDatabaseWrapper) -> Collection[str]:
    """The tables of the host with a foreign key to their notifications."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            relations = connection.introspection.get_relations(cursor, table)
            if table != TABLE and any(relation[1] == TABLE for relation in relations.values()):
                found.append(table)
    return found


def dependents(connection: BaseDatabaseWrapper) -> list[str]:
    """Applied migrations of the host that depend on one of theirs, as ``app.name``.

    With these, Django finds the history of the migrations inconsistent once theirs are moved aside.

    Raises:
        NodeNotFoundError: one depends on a migration that is not there any more.
    """
    migrations = MigrationLoader(None).disk_migrations
    applied = MigrationRecorder(connection).applied_migrations()
    return sorted(
        f"{app}.{name}"
        for (app, name), migration in migrations.items()
        if app != LABEL
        and (app, name) in applied
        and any(parent[0] == LABEL for parent in migration.dependencies)
    )


def _recorded(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    rows = MigrationRecorder(connection).migration_qs.filter(app=LABEL).order_by("id")
    return tuple(rows.values_list("name", flat=True))
