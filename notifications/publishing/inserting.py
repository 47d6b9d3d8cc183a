"""Inserting the rows of a call, in the caller's transaction or in one of its own.

Rows that have no offset then are sequenced after the commit.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from django.db import DataError, IntegrityError, transaction
from django.db.models import QuerySet

from ..database.locks import has_row_locks
from ..database.transactions import after_commit
from ..models import Notification, database_alias
from ..streams import rows as stream_rows
from ..streams.encoding import encode_content
from ..streams.names import user_stream
from . import immediate
from .committed import announce_batch, sequence_rows, sequence_streams
from .ids import Ids
from .numbering import Batch
from .recipients import recipients
from .wanted import Wanted, wanted_names, wanted_users
from .writing import (
    CHUNK,
    Written,
    find_known,
    rows_written,
    write_for_users,
    write_placed,
    write_unplaced,
)

Progress = Callable[[int], object]


def insert(
    draft: Notification,
    names: Sequence[str],
    publish_at: datetime | None,
    progress: Progress | None = None,
) -> Sequence[int]:
    """Insert a draft for each stream, with its offset or to be sequenced after the commit.

    This never waits for another transaction. In a caller's transaction it creates no streams, and
    compares a key only with rows that it can see. Rows that need a new stream or have a key are
    written unplaced.

    Args:
        draft: an unsaved notification or publication without a stream.
        names: names of streams, each of them once.
        publish_at: when it is to be published; None for now.
        progress: see :func:`notifications.publishing.notify.notify`.

    Returns:
        The primary keys of the rows, in the order of ``names``.
    """
    if names and can_be_immediate(draft, publish_at, len(names)):
        done = _attempt(lambda: _write_at_once(draft, names, progress))
        if done is not None:
            return done
    ids: list[int] = []
    with transaction.atomic(using=database_alias()):
        for chunk in stream_rows.chunks(names, CHUNK):
            ids += _insert(draft, chunk, at_once=publish_at is None)
            _report_after_commit(progress, len(ids))
    return ids


def insert_for_users(
    draft: Notification,
    users: QuerySet[Any],
    count: int,
    publish_at: datetime | None,
    progress: Progress | None,
) -> Sequence[int]:
    """:func:`insert` for the users of a queryset, who stay in the database.

    Args:
        draft: an unsaved notification without a stream or a key.
        users: see :func:`notifications.publishing.recipients.count_in_database`.
        count: how many they are about, or any number above
            :data:`~notifications.publishing.immediate.MAX_LOCKED` if they are more.
        publish_at: when it is to be published; None for now.
        progress: see :func:`notifications.publishing.notify.notify`.

    Returns:
        The primary keys of the rows, in the order of the users.
    """
    if can_be_immediate(draft, publish_at, count):
        if has_row_locks(database_alias()):
            names = [user_stream(user_id) for user_id in recipients(users)]
            return insert(draft, names, publish_at, progress)
        done = _attempt(lambda: _write_to_all(draft, wanted_users(users), count, progress))
        if done is not None:
            return done
    with transaction.atomic(using=database_alias()):
        ids = write_for_users(draft, users, at_once=publish_at is None)
        _sequence_after_commit(ids, _written(draft, ids), progress)
    return ids


def can_be_immediate(draft: Notification, publish_at: datetime | None, count: int) -> bool:
    """Return whether rows for so many streams may get their offsets at once.

    Whoever listens to what is written wants to hear of it before the commit.
    """
    can_write = immediate.can_write(draft, count, at_once=publish_at is None)
    return can_write and not rows_written.has_listeners()


def _attempt(write: Callable[[], Sequence[int]]) -> Sequence[int] | None:
    """Write rows with their offsets.

    Returns:
        The primary keys of the rows. None if nothing was written, because a stream is broken: the
        sequencing repairs it, or tells it from the others.
    """
    try:
        return write()
    except (DataError, IntegrityError):
        return None


def _write_at_once(
    draft: Notification, names: Sequence[str], progress: Progress | None
) -> Sequence[int]:
    if not has_row_locks(database_alias()):
        return _write_to_all(draft, wanted_names(names), len(names), progress)
    if len(names) > 1:
        with transaction.atomic(using=database_alias()):
            return _write_to_free(draft, names, progress)
    # One statement is a transaction by itself, without the round trips of BEGIN and COMMIT.
    return _write_to_free(draft, names, progress)


def _write_to_free(
    draft: Notification, names: Sequence[str], progress: Progress | None
) -> Sequence[int]:
    batch = immediate.write_to_free(draft, names)
    _announce_after_commit(batch, _written(draft, frozenset(batch.ids)), progress)
    ids = {entry.name: entry.id for entry in batch.numbered or ()}
    left = [name for name in names if name not in ids]
    if left:
        with transaction.atomic(using=database_alias(), savepoint=False):
            for chunk in stream_rows.chunks(left, CHUNK):
                ids |= zip(chunk, _insert(draft, chunk, at_once=True), strict=True)
                _report_after_commit(progress, len(ids))
    return [ids[name] for name in names]


def _write_to_all(
    draft: Notification, wanted: Wanted, count: int, progress: Progress | None
) -> Ids:
    with transaction.atomic(using=database_alias()):
        ids, batch = immediate.write_to_all(draft, wanted, count)
        written = _written(draft, ids)
        if len(batch.ids) == len(ids):
            _announce_after_commit(batch, written, progress)
        else:
            _announce_after_commit(batch, written, None)
            _sequence_after_commit(ids, written, progress)
    return ids


def _announce_after_commit(batch: Batch, written: Written, progress: Progress | None) -> None:
    if batch.ids:
        after_commit(database_alias(), announce_batch, batch, written)
        _report_after_commit(progress, len(batch.ids))


def _sequence_after_commit(ids: Ids, written: Written, progress: Progress | None) -> None:
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        after_commit(database_alias(), sequence_rows, chunk, written._replace(ids=chunk))
        _report_after_commit(progress, start + len(chunk))


def _written(draft: Notification, ids: Collection[int]) -> Written:
    return Written(ids, encode_content(draft), draft.expires_at, has_id=draft.publication is None)


def _insert(draft: Notification, names: Sequence[str], *, at_once: bool) -> list[int]:
    """Insert a draft for each stream, as many as one statement takes, without offsets."""
    ids: dict[str, int] = {}
    placed: dict[int, int] = {}
    unplaced: dict[str, int] = {}
    if draft.key is None:
        by_name = stream_rows.ids(names)
        placed = write_placed(draft, by_name.values(), at_once=at_once)
        ids = {name: placed[pk] for name, pk in by_name.items() if pk in placed}
    while missing := [name for name in names if name not in ids]:
        new = write_unplaced(draft, missing, at_once=at_once)
        unplaced |= new
        ids |= new
        if draft.key is not None:
            # Rows that had the key before. If one is pruned in between, the loop writes it anew.
            ids |= find_known([name for name in missing if name not in new], draft.key)
    new_ids = frozenset((*placed.values(), *unplaced.values()))
    written = _written(draft, new_ids)
    callback = after_commit(
        database_alias(), sequence_streams, list(placed), list(unplaced), written
    )
    if draft.publication is None and rows_written.has_listeners():
        new = {name: pk for name, pk in ids.items() if pk in new_ids}
        rows_written.send(Notification, draft=draft, ids=new, callback=callback)
    return [ids[name] for name in names]


def _report_after_commit(progress: Progress | None, count: int) -> None:
    """Call ``progress``, if there is one, with the number of recipients after the commit.

    Register it after the sequencing of these recipients, which takes most of the time.
    """
    if progress is not None:
        after_commit(database_alias(), progress, count)
