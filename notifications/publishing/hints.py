"""Announcing sequenced notifications: hints to the workers, and the ``published`` signal."""

import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from ..host.announcements import tell_receivers
from ..layer import announcer, send_check, send_publication, type_prefix
from ..metrics import PUBLISHED
from ..models import Notification, database_alias
from ..signals import published
from ..streams.encoding import encode_content
from ..streams.instants import instant
from ..streams.names import BROADCAST, is_channel
from ..streams.numbered import Numbered, pack
from .numbering import Batch
from .writing import Written

logger = logging.getLogger(__name__)

#: If a batch has more streams than this, no stream gets a hint of its own: each costs 0.1 ms of CPU
#: here and in every hub, even in hubs without readers of the stream.
MAX_HINTS = 100

#: Streams up to which a batch is described, if all get the same notification.
MAX_SAME = 10_000

#: Streams in one message that carries the notification of all of them: about 30 KB beside it.
PER_MESSAGE = 500


def hints_each(streams: int, *, same: bool = False) -> bool:
    """Return whether each notification is announced, in a batch with so many streams.

    Args:
        streams: the number of streams.
        same: all get the same notification, which was written just now. Then one message announces
            many of them.
    """
    return streams <= (MAX_SAME if same else MAX_HINTS)


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
        _hint_all(batch.numbered, batch.moment, written)
    if published.has_listeners(Notification):
        ids = batch.ids
        if batch.numbered is not None:
            ids = [entry.id for entry in batch.numbered if not is_channel(entry.name)]
        for row in _load(ids).values():
            if not is_channel(row.stream_name):
                tell_receivers(published, Notification, notification=row)


def _hint_all(entries: Sequence[Numbered], moment: int, written: Written | None) -> None:
    same: list[Numbered] = []
    others = list(entries)
    if written is not None and len(entries) > MAX_HINTS:
        same = [entry for entry in entries if entry.id in written.ids]
        others = [entry for entry in entries if entry.id not in written.ids]
        if not _has_expired(written.expires_at, moment):
            _hint_together(same, written)
    if len(others) > MAX_HINTS:
        send_check()
    else:
        _hint_each(others, moment, written)


def _hint_together(entries: Sequence[Numbered], written: Written) -> None:
    """Announce these with few messages, to the group of the stream that every hub reads."""
    for start in range(0, len(entries), PER_MESSAGE):
        packed = pack(entries[start : start + PER_MESSAGE])
        message = {"stream": BROADCAST, "content": written.content, "has_id": written.has_id}
        announcer.send(
            BROADCAST, {"type": f"{type_prefix}publications", "entries": packed, **message}
        )


def _hint_each(entries: Sequence[Numbered], moment: int, written: Written | None) -> None:
    known: Collection[int] = written.ids if written else ()
    rows = _load(entry.id for entry in entries if entry.id not in known)
    for entry in entries:
        if written is not None and entry.id in known:
            _hint(entry, written.data(entry.id), written.expires_at, moment)
        elif entry.id in rows:  # not deleted meanwhile
            _hint_row(entry, rows[entry.id], moment)


def _load(ids: Iterable[int]) -> dict[int, Notification]:
    wanted = list(ids)
    if not wanted:
        return {}
    rows = Notification.objects.using(database_alias()).select_related("actor", "stream")
    return {row.pk: row for row in rows.filter(pk__in=wanted).order_by("stream", "offset")}


def _hint_row(entry: Numbered, row: Notification, moment: int) -> None:
    try:
        _hint(entry, encode_content(row), row.expires_at, moment)
    except ValueError as error:  # written without the checks of publishing
        logger.error("A notification cannot be encoded and is skipped: %s", error)  # noqa: TRY400 - no bug of ours


def _hint(entry: Numbered, data: bytes, expires_at: datetime | None, moment: int) -> None:
    if not _has_expired(expires_at, moment):
        send_publication(entry.name, entry.epoch, entry.offset, data, entry.at, entry.previous)


def _has_expired(expires_at: datetime | None, moment: int) -> bool:
    """Return whether readers skip an offset, because its notification has expired by now."""
    return expires_at is not None and instant(expires_at) <= moment
