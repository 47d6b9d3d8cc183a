"""Revisions of streams: counters that show that something about their readers has changed.

The position check of every worker notices a new revision, even if the hints were lost.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections, transaction
from django.db.models import F, QuerySet
from django.db.models.expressions import Combinable

from ..database.compiled import Compiled
from ..database.locks import limit_waiting
from ..models import Stream, database_alias
from .names import user_stream
from .rows import MAX_LOCK_WAIT, chunks, locked

RAISE = f"UPDATE {Stream._meta.db_table} SET revision = revision + 1 WHERE name = %s"  # noqa: S608


def of_users(user_ids: Sequence[Any]) -> dict[Any, int]:
    """The revision of each user's own stream by primary key, without users who have none."""
    names = {user_stream(user_id): user_id for user_id in user_ids}
    rows = _REVISIONS.rows(database_alias(), names)
    return {names[name]: revision for name, revision in rows}


def touch(names: Iterable[str]) -> None:
    """Raise the revision of these streams, so that the position check of every worker notices.

    Raises:
        OperationalError: one of them stayed locked for too long.
    """
    for chunk in chunks(sorted(set(names))):
        if len(chunk) == 1:
            touch_one(chunk[0])
        else:
            _touch(_rows().filter(name__in=chunk))


def touch_one(name: str) -> int | None:
    """:func:`touch` for one stream.

    Returns:
        Its new revision, which no other call gets; None if there is no such stream.
    """
    alias = database_alias()
    with (
        transaction.atomic(using=alias, savepoint=False),
        connections[alias].cursor() as cursor,
    ):
        # Callers run this after their commit, and must not wait long for a stranger's lock.
        limit_waiting(alias, MAX_LOCK_WAIT)
        cursor.execute(f"{RAISE} RETURNING revision", [name])
        row = cursor.fetchone()
    return None if row is None else int(row[0])


def _touch(rows: QuerySet[Stream]) -> None:
    with transaction.atomic(using=rows.db):
        limit_waiting(rows.db, MAX_LOCK_WAIT)
        # An UPDATE locks rows in any order; sequencing locks them by primary key.
        ids = list(locked(rows).values_list("pk", flat=True))
        _rows().filter(pk__in=ids).update(revision=F("revision") + 1)


def _rows() -> QuerySet[Stream]:
    # A replica may lack rows that were created or locked just now.
    return Stream.objects.using(database_alias())


def _revisions(using: str, condition: Combinable) -> QuerySet[Stream, Any]:
    return Stream.objects.using(using).filter(condition).values_list("name", "revision")


_REVISIONS = Compiled(
    _revisions, lambda: Stream._meta.get_field("name"), f'"{Stream._meta.db_table}"."name"'
)
