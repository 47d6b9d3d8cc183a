"""Reading the notifications of django-notifications, wherever its table is.

The table is read by a model that belongs to no app. A column that an early release lacks has its
default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

from django.apps.registry import Apps
from django.contrib.auth import get_user_model
from django.db import connections, models
from django.db.models import AutoField, BigAutoField, Count, Field, QuerySet, SmallAutoField

from ..database.locks import has_row_locks
from .traces import OLD_LABEL, columns_of

#: Rows that are in memory at once.
ROWS = 500

#: Recipients at once, however few notifications they have: databases limit the values of a query.
RECIPIENTS = 1000


class OldRow(NamedTuple):
    """One notification of theirs; what belongs to a generic foreign key has no type here."""

    id: Any
    recipient: Any
    timestamp: datetime
    unread: bool = True
    actor_type: Any = None
    actor_id: str | None = None
    verb: str = ""
    level: str = "info"
    description: str | None = None
    target_type: Any = None
    target_id: str | None = None
    action_object_type: Any = None
    action_object_id: str | None = None
    public: bool = True
    deleted: bool = False
    emailed: bool = False
    data: Any = None


class State(NamedTuple):
    """What is known of a notification before it is read in full."""

    recipient: Any
    timestamp: datetime
    unread: bool = True
    deleted: bool = False


#: The columns of their table, by the names here, and the fields that read them.
FIELDS: dict[str, tuple[str, type[Field[Any, Any]]]] = {
    "unread": ("unread", models.BooleanField),
    "timestamp": ("timestamp", models.DateTimeField),
    "actor_type": ("actor_content_type_id", models.IntegerField),
    "actor_id": ("actor_object_id", models.TextField),
    "verb": ("verb", models.TextField),
    "level": ("level", models.TextField),
    "description": ("description", models.TextField),
    "target_type": ("target_content_type_id", models.IntegerField),
    "target_id": ("target_object_id", models.TextField),
    "action_object_type": ("action_object_content_type_id", models.IntegerField),
    "action_object_id": ("action_object_object_id", models.TextField),
    "public": ("public", models.BooleanField),
    "deleted": ("deleted", models.BooleanField),
    "emailed": ("emailed", models.BooleanField),
    "data": ("data", models.TextField),
}


class OldRows:
    """The notifications in one table of theirs.

    Args:
        alias: of the database.
        table: their own, or that of a model which the host has put in its place.
    """

    def __init__(self, alias: str, table: str) -> None:
        connection = connections[alias]
        self._alias = alias
        columns = columns_of(connection, table)
        with connection.cursor() as cursor:
            key = connection.introspection.get_primary_key_column(cursor, table) or "id"
        self._recipient = recipient_field()
        self._names = [name for name, (column, _) in FIELDS.items() if column in columns]
        # Of no type of ours: a host's model may have any primary key.
        attributes: dict[str, Any] = {
            "id": models.TextField(primary_key=True, db_column=key),
            "recipient": self._recipient,
        }
        for name in self._names:
            column, kind = FIELDS[name]
            attributes[name] = kind(db_column=column, null=True)
        meta = {"apps": Apps(), "app_label": OLD_LABEL, "db_table": table, "managed": False}
        attributes |= {"Meta": type("Meta", (), meta), "__module__": __name__}
        self._model = cast(
            "type[models.Model]", type("OldNotification", (models.Model,), attributes)
        )

    def count(self) -> int:
        return self._rows().count()

    def count_of_nobody(self) -> int:
        """How many have no recipient, which a host's table may allow."""
        return self._rows().filter(recipient__isnull=True).count()

    def freeze(self) -> None:
        """Let nobody write to the table until the current transaction ends.

        It is read twice in a transaction, and a host may use a table of its own meanwhile.
        """
        connection = connections[self._alias]
        if has_row_locks(self._alias):
            table = connection.ops.quote_name(self._model._meta.db_table)
            with connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {table} IN SHARE MODE")

    def recipients(self, last: str, most: int) -> list[Any]:
        """The primary keys of the recipients behind ``last``, in their order.

        Args:
            last: a primary key as text; "" for the beginning.
            most: as many as have so many notifications together, but one at least.
        """
        rows = self._rows().filter(recipient__isnull=False)
        if last:
            rows = rows.filter(recipient__gt=self._recipient.to_python(last))
        counted = rows.values_list("recipient").annotate(total=Count("*")).order_by("recipient")
        found: list[Any] = []
        total = 0
        for recipient, count in counted[: min(most, RECIPIENTS)]:
            total += count
            if found and total > most:
                break
            found.append(recipient)
        return found

    def states(self, recipients: Sequence[Any]) -> Iterator[State]:
        """What is known of the notifications of these recipients, each one's in order of time."""
        names = ["recipient", "timestamp", "unread"]
        if "deleted" in self._names:
            names.append("deleted")
        for values in self._read(recipients, names):
            yield State(**_said(names, values))

    def rows(self, recipients: Sequence[Any]) -> Iterator[OldRow]:
        """The notifications of these recipients, in the order of :meth:`states`."""
        names = ["id", "recipient", *self._names]
        for values in self._read(recipients, names):
            yield OldRow(**_said(names, values))

    def _read(self, recipients: Sequence[Any], names: Sequence[str]) -> Iterator[Any]:
        rows = self._rows().filter(recipient__in=recipients)
        ordered = rows.order_by("recipient", "timestamp", "id").values_list(*names)
        return ordered.iterator(chunk_size=ROWS)

    def _rows(self) -> QuerySet[Any]:
        return self._model._base_manager.using(self._alias)


def _said(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """What is in a row; what a host's table leaves empty has its default."""
    pairs = zip(names, values, strict=True)
    return {name: value for name, value in pairs if value is not None}


def recipient_field() -> Field[Any, Any]:
    """A field that reads the primary keys of users from a column which refers to them."""
    key: Any = get_user_model()._meta.pk
    while key.remote_field is not None:
        key = key.target_field
    column = "recipient_id"
    if isinstance(key, AutoField | BigAutoField | SmallAutoField):
        return models.BigIntegerField(db_column=column)
    _, _, args, kwargs = key.deconstruct()
    for name in ("primary_key", "unique", "default", "db_default", "db_column", "editable"):
        kwargs.pop(name, None)
    return cast("Field[Any, Any]", type(key)(*args, db_column=column, **kwargs))
