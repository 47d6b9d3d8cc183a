"""Calls for very many streams on PostgreSQL, which are written in parts.

One transaction must not lock very many streams, and a second transaction that gives the offsets
would write each row twice. So a call outside of a transaction first commits what is to be written:
*mailings* of some streams each. From then on all of it is certain. Each mailing is written with its
offsets in a short transaction of its own, which deletes the mailing. If the process dies, workers
write what is left.

The primary keys of the rows are reserved together with the mailing. So the caller knows them,
whoever writes the rows.
"""

from collections.abc import Callable
from itertools import compress
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import DataError, IntegrityError, OperationalError, connections, transaction

from ..database.clock import SQL_NOW, present
from ..database.locks import has_row_locks, reads_snapshot, was_locked
from ..database.transactions import after_commit
from ..models import Mailing, Notification, database_alias
from . import immediate
from .committed import announce_batch, left_to_workers, sequence_streams
from .ids import Ids
from .wanted import Wanted
from .writing import CHUNK, FIELDS, Written, write_unplaced

#: Seconds for which workers leave mailings to the process that made them.
PATIENCE = 10

#: Writes the mailings of a call. The names are in the order of the call before they get their
#: primary keys.
PLAN = f"""
    INSERT INTO {Mailing._meta.db_table} (notification, names, ids, own_until)
    WITH {{wanted}}, placed AS MATERIALIZED (
        SELECT name, row_number() OVER () - 1 AS place,
        {immediate.NEXT_ID} AS id
        FROM (SELECT name FROM wanted ORDER BY number) AS ordered
    )
    SELECT %s::jsonb, jsonb_agg(name ORDER BY place), jsonb_agg(id ORDER BY place),
    {SQL_NOW} + INTERVAL '{PATIENCE} seconds'
    FROM placed GROUP BY place / {{size}} ORDER BY place / {{size}}
    RETURNING id, (ids->>0)::bigint, (ids->>-1)::bigint, jsonb_array_length(ids)
"""  # noqa: S608 - names of the models and a number, no value

DELETE = f"DELETE FROM {Mailing._meta.db_table} WHERE id = %s"  # noqa: S608 - a table


class Part(NamedTuple):
    """A mailing that was committed: its primary key, and those of its rows."""

    mailing: int
    ids: Ids


class _Rows(NamedTuple):
    """The rows of a mailing: the notification, and a stream and a primary key for each."""

    draft: Notification
    names: list[str]
    ids: list[int]

    def without(self, names: set[str]) -> "_Rows":
        left = [name not in names for name in self.names]
        return self._replace(
            names=list(compress(self.names, left)), ids=list(compress(self.ids, left))
        )


def plan(draft: Notification, wanted: Wanted) -> list[Part]:
    """On PostgreSQL, store a draft and its streams as mailings.

    Args:
        draft: one for which :func:`notifications.publishing.immediate.can_write`.
        wanted: the streams.

    Returns:
        The mailings, in the order of the call.
    """
    connection = connections[database_alias()]
    field = Mailing._meta.get_field("notification")
    values = field.get_db_prep_save(_values_of(draft), connection)
    statement = PLAN.format(wanted=wanted.sql, size=CHUNK)
    with connection.cursor() as cursor:
        # It would overestimate the tables, and compile the statement for up to a second.
        cursor.execute("SET LOCAL jit = off")
        cursor.execute(statement, [*wanted.parameters, values])
        found = cursor.fetchall()
    return [Part(pk, _ids(pk, range(first, last + 1), count)) for pk, first, last, count in found]


def write(mailing: int) -> None:
    """Write the rows of a mailing, unless a worker has; wait for one that is writing them.

    Args:
        mailing: its primary key. It is left to workers if the database fails.
    """
    with left_to_workers():
        _write(mailing, skip_locked=False)


def write_left() -> int:
    """Write the mailings that their callers have left; called by the tickers of workers.

    Returns:
        The number of mailings written.

    Raises:
        Exception: what prevented the last one that could not be written; all others were.
    """
    rows = Mailing.objects.using(database_alias())
    left = rows.filter(own_until__lte=present(database_alias())).order_by("pk")
    count = 0
    failure: Exception | None = None
    for pk in left.values_list("pk", flat=True):
        try:
            count += _write(pk, skip_locked=True)
        except Exception as error:
            failure = error
    if failure is not None:
        raise failure
    return count


def _write(mailing: int, *, skip_locked: bool) -> bool:
    """Write the rows of a mailing in a transaction.

    Returns:
        False if somebody else has written them, or is writing them.

    Raises:
        IntegrityError: no row could be written, as when the actor was deleted in this moment.
    """
    *attempts, last = _ways()
    for way in attempts:
        try:
            return _take(mailing, way, skip_locked=skip_locked)
        except (DataError, IntegrityError):
            continue
        except OperationalError as error:
            if not was_locked(error, or_deadlock=True):
                raise
    return _take(mailing, last, skip_locked=skip_locked)


def _ways() -> list[Callable[[_Rows], None]]:
    """The ways to write a mailing, in the order in which they are tried.

    A broken stream fails the first one. A primary key that is in use fails all but the last one.
    """
    connection = connections[database_alias()]
    if not has_row_locks(database_alias()) or reads_snapshot(connection):
        return [_write_unplaced, _write_anew]
    return [_write_with_offsets, _write_unplaced, _write_anew]


def _take(mailing: int, way: Callable[[_Rows], None], *, skip_locked: bool) -> bool:
    alias = database_alias()
    features = connections[alias].features
    with transaction.atomic(using=alias):
        rows = Mailing.objects.using(alias).filter(pk=mailing)
        found = rows.select_for_update(
            skip_locked=skip_locked and features.has_select_for_update_skip_locked
        ).first()
        if found is None:
            return False
        way(_Rows(_draft_of(found), found.names, found.ids))
        with connections[alias].cursor() as cursor:
            # The ORM would read it again, because the signals of deletions have receivers.
            cursor.execute(DELETE, [mailing])
    return True


def _write_with_offsets(rows: _Rows) -> None:
    done: set[str] = set()
    for write in (immediate.write_to_free, immediate.write_to_new):
        left = rows.without(done)
        if not left.names:
            return
        batch = write(rows.draft, left.names, left.ids)
        if batch.ids:
            written = Written.of(rows.draft, frozenset(batch.ids))
            after_commit(database_alias(), announce_batch, batch, written)
            done.update(entry.name for entry in batch.numbered or ())
    _write_unplaced(rows.without(done))


def _write_unplaced(rows: _Rows) -> None:
    """Write rows without offsets, which are sequenced after the commit."""
    if rows.names:
        write_unplaced(rows.draft, rows.names, rows.ids, at_once=True)
        written = Written.of(rows.draft, frozenset(rows.ids))
        after_commit(database_alias(), sequence_streams, [], rows.names, written)


def _write_anew(rows: _Rows) -> None:
    """The same with other primary keys: a copy of the database may have given these away."""
    ids = write_unplaced(rows.draft, rows.names, at_once=True)
    written = Written.of(rows.draft, frozenset(ids.values()))
    after_commit(database_alias(), sequence_streams, [], rows.names, written)


def _ids(mailing: int, between: range, count: int) -> Ids:
    """The primary keys of the rows: a range, unless others have taken some in between."""
    if len(between) == count:
        return Ids([between])
    rows = Mailing.objects.using(database_alias())
    return Ids(range(pk, pk + 1) for pk in rows.values_list("ids", flat=True).get(pk=mailing))


def _values_of(draft: Notification) -> dict[str, Any]:
    return {
        field.attname: field.value_to_string(draft)
        for field in FIELDS
        if getattr(draft, field.attname) is not None
    }


def _draft_of(mailing: Mailing) -> Notification:
    values = mailing.notification
    draft = Notification(
        **{
            field.attname: field.to_python(values[field.attname])
            for field in FIELDS
            if field.attname in values
        }
    )
    users = get_user_model()._base_manager.using(database_alias())
    if draft.actor_id is not None and not users.filter(pk=draft.actor_id).exists():
        draft.actor_id = None
    return draft
