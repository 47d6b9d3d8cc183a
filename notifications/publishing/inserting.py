"""Inserting the rows of a call in the caller's transaction; they are sequenced after its commit."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from ..database.transactions import after_commit
from ..models import Notification, database_alias
from ..streams import rows as stream_rows
from ..streams.encoding import encode_content
from .committed import sequence_rows, sequence_streams
from .ids import Ids
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


def insert(draft: Notification, names: list[str], publish_at: datetime | None) -> list[int]:
    """Insert a draft for each stream; place and sequence the rows after the caller's commit.

    This never waits for another transaction: it creates no streams, and compares a key only with
    rows that it can see. Rows that need a new stream or have a key are written unplaced.

    Args:
        draft: an unsaved notification or publication without a stream.
        names: names of streams, as many as one statement takes.
        publish_at: when it is to be published; None for now.

    Returns:
        The primary keys of the rows, in the order of ``names``.
    """
    at_once = publish_at is None
    content = encode_content(draft)
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
    is_notification = draft.publication is None
    written = Written(new_ids, content, draft.expires_at, has_id=is_notification)
    callback = after_commit(
        database_alias(), sequence_streams, list(placed), list(unplaced), written
    )
    if is_notification and rows_written.has_listeners():
        new = {name: pk for name, pk in ids.items() if pk in new_ids}
        rows_written.send(Notification, draft=draft, ids=new, callback=callback)
    return [ids[name] for name in names]


def insert_for_users(
    draft: Notification,
    users: QuerySet[Any],
    publish_at: datetime | None,
    progress: Progress | None,
) -> Ids:
    """Insert a draft without a key for each user of a queryset, who stay in the database.

    The rows are sequenced after the caller's commit, in chunks. It never waits for another
    transaction, see :func:`insert`.

    Args:
        draft: an unsaved notification without a stream.
        users: see :func:`notifications.publishing.recipients.stay_in_database`.
        publish_at: when it is to be published; None for now.
        progress: see :func:`report_after_commit`.

    Returns:
        The primary keys of the rows, in the order of the users.
    """
    ids = write_for_users(draft, users, at_once=publish_at is None)
    content = encode_content(draft)
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        written = Written(chunk, content, draft.expires_at)
        after_commit(database_alias(), sequence_rows, chunk, written)
        report_after_commit(progress, start + len(chunk))
    return ids


def report_after_commit(progress: Progress | None, count: int) -> None:
    """Call ``progress``, if there is one, with the number of recipients after the commit.

    Register it after the sequencing of these recipients, which takes most of the time.
    """
    if progress is not None:
        after_commit(database_alias(), progress, count)
