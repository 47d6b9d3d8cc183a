"""Revisions of streams: a mark that something about their readers has changed.

Every worker's position check sees one that it does not know, whatever became of the hints.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections, transaction
from django.db.models import F, QuerySet

from ..database.locks import limit_waiting
from ..models import Stream, database_alias
from .names import user_stream
from .rows import PATIENCE, chunks, locked

RAISE = f"UPDATE {Stream._meta.db_table} SET revision = revision + 1 WHERE name = %s"  # noqa: S608


def of_users(user_ids: Sequence[Any]) -> dict[Any, int]:
    """The revision of each user's own stream, by primary key; without a stream it is left out."""
    names = {user_stream(user_id): user_id for user_id in user_ids}
    found: dict[Any, int] = {}
    for chunk in chunks(list(names)):
        rows = _rows().filter(name__in=chunk).values_list("name", "revision")
        found |= {names[name]: revision for name, revision in rows}
    return found


def touch(names: Iterable[str]) -> None:
    """Raise the revision of these streams, so that every worker's position check looks again.

    Raises:
        OperationalError: somebody has kept one of them locked for too long.
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
        # This is done after the commits of callers, who must not wait for whom they do not know.
        limit_waiting(alias, PATIENCE)
        cursor.execute(f"{RAISE} RETURNING revision", [name])
        row = cursor.fetchone()
    return None if row is None else int(row[0])


def _touch(rows: QuerySet[Stream]) -> None:
    with transaction.atomic(using=rows.db):
        limit_waiting(rows.db, PATIENCE)
        # An UPDATE takes its locks in any order; sequencing takes them by primary key.
        ids = list(locked(rows).values_list("pk", flat=True))
        _rows().filter(pk__in=ids).update(revision=F("revision") + 1)


def _rows() -> QuerySet[Stream]:
    # A replica may not know yet what was made or locked just now.
    return Stream.objects.using(database_alias())
