"""Inserting the rows of a call, in the caller's transaction or in one of its own.

Rows that have no offset then are sequenced after the commit.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.db import DataError, IntegrityError, OperationalError, transaction
from django.db.models import QuerySet

from ..database.locks import has_row_locks, was_locked
from ..database.transactions import after_commit
from ..models import Notification, database_alias
from ..streams import rows as stream_rows
from ..streams.names import user_stream
from . import immediate, immediate_sqlite, mailings
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
    if names and can_be_immediate(draft, publish_at):
        if _is_too_much(len(names)):
            return _write_in_parts(draft, wanted_names(names), progress)
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
    if can_be_immediate(draft, publish_at):
        if _is_too_much(count):
            return _write_in_parts(draft, wanted_users(users), progress)
        if has_row_locks(database_alias()):
            names = [user_stream(user_id) for user_id in recipients(users)]
            return insert(draft, names, publish_at, progress)
        done = _attempt(lambda: _write_to_all(draft, wanted_users(users), count, progress))
        if done is not None:
            return done
    with transaction.atomic(using=database_alias()):
        ids = write_for_users(draft, users, at_once=publish_at is None)
        _sequence_after_commit(ids, Written.of(draft, ids), progress)
    return ids


def can_be_immediate(draft: Notification, publish_at: datetime | None) -> bool:
    """Return whether rows may be written with their offsets.

    Whoever listens to what is written wants to hear of it before the commit.
    """
    can_write = immediate.can_write(draft, at_once=publish_at is None)
    return can_write and not rows_written.has_listeners()


def _is_too_much(count: int) -> bool:
    """Return whether one transaction must not lock so many streams."""
    return count > immediate.MAX_LOCKED and has_row_locks(database_alias())


def _write_in_parts(draft: Notification, wanted: Wanted, progress: Progress | None) -> Ids:
    Written.of(draft, ())  # raises here if it cannot be encoded
    with transaction.atomic(using=database_alias()):
        count, ranges = 0, list[range]()
        for part in mailings.plan(draft, wanted):
            after_commit(database_alias(), mailings.write, part.mailing)
            count += len(part.ids)
            ranges += part.ids.ranges
            _report_after_commit(progress, count)
    return Ids(ranges)


def _attempt(write: Callable[[], Sequence[int]]) -> Sequence[int] | None:
    """Write rows with their offsets.

    Returns:
        The primary keys of the rows. None if nothing was written, because a stream is broken, or
        is being created elsewhere for long: the sequencing repairs it, or tells it from the others.
    """
    try:
        return write()
    except (DataError, IntegrityError):
        return None
    except OperationalError as error:
        if not was_locked(error, or_deadlock=True):
            raise
        return None


def _write_at_once(
    draft: Notification, names: Sequence[str], progress: Progress | None
) -> Sequence[int]:
    if not has_row_locks(database_alias()):
        return _write_to_all(draft, wanted_names(names), len(names), progress)
    if len(names) > 1:
        return _write_in(draft, names, progress, immediate.write_to_free, immediate.write_to_new)
    # One statement is a transaction by itself, without the round trips of BEGIN and COMMIT.
    # So what cannot be encoded is found before it.
    written = Written.of(draft, ())
    batch = immediate.write_to_free(draft, names)
    _announce_after_commit(batch, written._replace(ids=frozenset(batch.ids)), progress)
    return batch.ids or _write_in(draft, names, progress, immediate.write_to_new)


def _write_in(
    draft: Notification,
    names: Sequence[str],
    progress: Progress | None,
    *ways: Callable[[Notification, Sequence[str]], Batch],
) -> Sequence[int]:
    """Write rows in one transaction: in each of these ways, and what is left without offsets."""
    ids: dict[str, int] = {}
    with transaction.atomic(using=database_alias()):
        for write in ways:
            left = [name for name in names if name not in ids]
            batch = write(draft, left) if left else None
            if batch is not None:
                written = Written.of(draft, frozenset(batch.ids))
                _announce_after_commit(batch, written, progress, len(ids))
                ids |= {entry.name: entry.id for entry in batch.numbered or ()}
        for chunk in stream_rows.chunks([name for name in names if name not in ids], CHUNK):
            ids |= zip(chunk, _insert(draft, chunk, at_once=True), strict=True)
            _report_after_commit(progress, len(ids))
    return [ids[name] for name in names]


def _write_to_all(
    draft: Notification, wanted: Wanted, count: int, progress: Progress | None
) -> Ids:
    with transaction.atomic(using=database_alias()):
        ids, batch = immediate_sqlite.write_to_all(draft, wanted, count)
        written = Written.of(draft, ids)
        if len(batch.ids) == len(ids):
            _announce_after_commit(batch, written, progress)
        else:
            _announce_after_commit(batch, written, None)
            _sequence_after_commit(ids, written, progress)
    return ids


def _announce_after_commit(
    batch: Batch, written: Written, progress: Progress | None, before: int = 0
) -> None:
    if batch.ids:
        after_commit(database_alias(), announce_batch, batch, written)
        _report_after_commit(progress, before + len(batch.ids))


def _sequence_after_commit(ids: Ids, written: Written, progress: Progress | None) -> None:
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        after_commit(database_alias(), sequence_rows, chunk, written._replace(ids=chunk))
        _report_after_commit(progress, start + len(chunk))


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
    written = Written.of(draft, new_ids)
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
