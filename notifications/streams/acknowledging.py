"""Acknowledged positions: up to which offset each user has received each stream."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import connections, transaction

from ..database.locks import has_row_locks, limit_waiting
from ..models import Stream, Subscription, database_alias

ADVANCE = f"""
    UPDATE {Subscription._meta.db_table} SET delivered = %s
    WHERE user_id = %s AND stream_id = %s AND delivered < %s AND EXISTS (
        SELECT 1 FROM {Stream._meta.db_table} WHERE id = %s AND epoch = %s AND top >= %s
    )
"""  # noqa: S608 - names of tables, no value

#: Key of the PostgreSQL advisory lock that acknowledgements share until their transaction ends.
#: The first bytes of BLAKE2 of the app's name, so that no other app uses the same key.
ADVISORY_LOCK = 0x75AAC3C5

#: Seconds that :func:`notifications.streams.feeds.begin` and :func:`acknowledge` wait for a lock.
MAX_LOCK_WAIT = 0.5


class Acknowledged(NamedTuple):
    """An offset that a client has received, and the epoch in which it received it."""

    epoch: str
    offset: int


def acknowledge(positions: Mapping[tuple[Any, int], Acknowledged]) -> None:
    """Advance the ``delivered`` marks to these offsets; a mark never goes back.

    An acknowledgement of another epoch or above the top is dropped: the history has gone back
    since then, and the offset stands for another entry.

    One prepared statement serves all rows: 3 µs per row on SQLite, where building an UPDATE with
    a CASE of a hundred branches took 40 µs per row.

    Args:
        positions: by primary key of the user and of the stream.

    Raises:
        OperationalError: a row stayed locked for longer than ``MAX_LOCK_WAIT``, or the database
            is down.
    """
    if not positions:
        return
    alias = database_alias()
    connection = connections[alias]
    user_key = get_user_model()._meta.pk
    # All workers lock rows in the same order, so that they cannot deadlock.
    pairs = sorted(positions, key=lambda pair: (pair[1], pair[0]))
    rows = []
    for user_id, stream_id in pairs:
        epoch, offset = positions[user_id, stream_id]
        user = user_key.get_db_prep_value(user_id, connection)
        rows.append((offset, user, stream_id, offset, stream_id, epoch, offset))
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        # Acknowledgements are retried later; one locked row must not delay all others.
        limit_waiting(alias, MAX_LOCK_WAIT)
        if has_row_locks(alias):
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [ADVISORY_LOCK])
        cursor.executemany(ADVANCE, rows)


def stop_acknowledging(using: str) -> None:
    """Block all acknowledgements until the current transaction ends.

    A statement that began before an epoch was replaced still sees the old epoch. Without this lock
    it could write a position of the old history after the replacement. The lock of the stream
    would also prevent that, but then publishing would wait for acknowledgements. SQLite needs no
    lock, because it has one writer at a time.

    Args:
        using: alias of the database.
    """
    if has_row_locks(using):
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
