"""Announcing and sequencing what was just committed. If the database fails, workers find it."""

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from django.db import Error as DatabaseError
from django.db import connections

from ..metrics import DATABASE_ERRORS
from ..models import Notification, database_alias
from .hints import announce
from .ids import Ids
from .numbering import Batch
from .sequencing import find_or_create, sequence
from .writing import Written

logger = logging.getLogger(__name__)

#: The streams of rows that have no offset yet, within a range of primary keys: others' rows may be
#: among them, and are sequenced too.
SELECT_WAITING = f"""
    SELECT stream_id, channel FROM {Notification._meta.db_table}
    WHERE id BETWEEN %s AND %s AND "offset" IS NULL
"""  # noqa: S608 - a table


def announce_batch(batch: Batch, written: Written) -> None:
    """Announce notifications that were written with their offsets.

    Args:
        batch: see :func:`~notifications.publishing.hints.announce`, also for the other argument.
    """
    with left_to_workers():
        announce(batch, written)


def sequence_streams(stream_ids: Collection[int], names: Sequence[str], written: Written) -> None:
    """Sequence the notifications of these streams.

    Args:
        stream_ids: primary keys of the streams of placed notifications.
        names: names of the streams of unplaced notifications.
        written: what is known of the rows, placed and unplaced.
    """
    with left_to_workers():
        _sequence(stream_ids, names, written)


def sequence_rows(ids: Ids, written: Written) -> None:
    """Sequence the notifications that one statement has written for a queryset of users.

    Args:
        ids: primary keys of some rows, as many as one transaction takes.
        written: what is known of them.
    """
    with left_to_workers():
        with connections[database_alias()].cursor() as cursor:
            cursor.execute(SELECT_WAITING, [ids[0], ids[-1]])
            rows = cursor.fetchall()
        stream_ids = [stream_id for stream_id, name in rows if name is None]
        _sequence(stream_ids, [name for _, name in rows if name is not None], written)


def _sequence(stream_ids: Collection[int], names: Sequence[str], written: Written) -> None:
    found = find_or_create(names) if names else {}
    sequence([*stream_ids, *found.values()], written=written, placing=bool(names))


@contextmanager
def left_to_workers() -> Iterator[None]:
    """Log the errors of the database, because workers do what failed."""
    try:
        yield
    except DatabaseError as error:
        DATABASE_ERRORS.inc()
        logger.warning(
            "Sequencing failed (%s); a worker will publish the committed notifications.",
            type(error).__name__,
        )
