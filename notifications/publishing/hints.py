"""Announcing sequenced notifications: hints to the workers, and the ``published`` signal."""

import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from ..host.announcements import tell_receivers
from ..layer import send_check, send_publication
from ..metrics import PUBLISHED
from ..models import Notification, database_alias
from ..signals import published
from ..streams.encoding import encode_content
from ..streams.instants import instant
from ..streams.names import is_channel
from .numbering import Batch, Numbered
from .writing import Written

logger = logging.getLogger(__name__)

#: If a batch has more streams than this, one hint stands for all of them: each hint costs 0.1 ms of
#: CPU here and in every hub, even in hubs without readers of the stream.
MAX_HINTS = 100


def hints_each(streams: int) -> bool:
    """Return whether each notification gets a hint, in a batch with so many streams."""
    return streams <= MAX_HINTS


def announce(batch: Batch, written: Written | None = None) -> None:
    """Send the hints and the ``published`` signals for sequenced notifications.

    Args:
        batch: the notifications with their new offsets. If it does not describe them, one hint
            stands for all of them.
        written: what is known of rows that were written just now, which are not read again for the
            hints.
    """
    if not batch.ids:
        return
    PUBLISHED.inc(len(batch.ids))
    if batch.numbered is None:
        send_check()
    else:
        _hint_each(batch.numbered, written)
    if published.has_listeners(Notification):
        ids = batch.ids
        if batch.numbered is not None:
            ids = [entry.id for entry in batch.numbered if not is_channel(entry.stream.name)]
        for row in _load(ids).values():
            if not is_channel(row.stream_name):
                tell_receivers(published, Notification, notification=row)


def _hint_each(batch: Sequence[Numbered], written: Written | None) -> None:
    known: Collection[int] = written.ids if written else ()
    rows = _load(entry.id for entry in batch if entry.id not in known)
    for entry in batch:
        if written is not None and entry.id in known:
            _hint(entry, written.data(entry.id), written.expires_at)
        elif entry.id in rows:  # not deleted meanwhile
            _hint_row(entry, rows[entry.id])


def _load(ids: Iterable[int]) -> dict[int, Notification]:
    wanted = list(ids)
    if not wanted:
        return {}
    rows = Notification.objects.using(database_alias()).select_related("actor", "stream")
    return {row.pk: row for row in rows.filter(pk__in=wanted).order_by("stream", "offset")}


def _hint_row(entry: Numbered, row: Notification) -> None:
    try:
        _hint(entry, encode_content(row), row.expires_at)
    except ValueError as error:  # written without the checks of publishing
        logger.error("A notification cannot be encoded and is skipped: %s", error)  # noqa: TRY400 - no bug of ours


def _hint(entry: Numbered, data: bytes, expires_at: datetime | None) -> None:
    if expires_at and expires_at <= entry.moment:
        return  # it has expired, so readers skip its offset
    at, previous = instant(entry.published_at), instant(entry.previous)
    send_publication(entry.stream.name, entry.stream.epoch, entry.offset, data, at, previous)
