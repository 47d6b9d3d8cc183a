"""Waiting notifications become publications: offsets after the caller's commit, then the hint.

An offset cannot be given inside the caller's transaction: a counter locked there would serialize
and deadlock business transactions, and an auto-increment id lets a late commit slip behind a
reader's position. So rows wait with ``offset`` NULL, and whoever comes first (the caller's
``on_commit``, any worker's ticker) gives the next offsets in a short transaction of its own.
Scheduling is the same: ``publish_at`` in the future keeps a row waiting.

A stream that is locked or broken holds up nobody but its own readers.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, transaction

from ..database.clock import present
from ..database.locks import limit_waiting, was_locked
from ..metrics import DATABASE_ERRORS
from ..models import Notification, database_alias
from ..streams import rows as stream_rows
from ..streams.rows import PATIENCE, chunks
from .hints import announce
from .numbering import Batch, give_offsets, repair
from .placing import find_channels
from .setbacks import Setbacks
from .writing import Written

logger = logging.getLogger(__name__)

T = TypeVar("T", int, str)

#: Streams per transaction, and rows of a page: locks stay short.
BATCH = 500

#: Notifications per transaction. More than streams, so that a chunk of a bulk call, which has one
#: for each stream, is known to be done without a second look.
MOST = 1000


#: Seconds that the making of streams waits for another transaction that has made one of them.
MAKING = 0.2

#: What a stream may raise that is broken; see :func:`_concerns_all` for what is not its fault.
FAILURES = (DatabaseError, ArithmeticError, ValueError)

#: The streams that fail by themselves in this process.
setbacks = Setbacks()


class _Due(NamedTuple):
    publish_at: datetime
    id: int
    stream_id: int


class _Done(NamedTuple):
    """How many were published, and the streams in which that could be done."""

    published: int
    streams: set[int]


def sequence(
    stream_ids: Iterable[int],
    now: datetime | None = None,
    written: Written | None = None,
    *,
    placing: bool = False,
) -> int:
    """Give offsets to what is due in these streams, and announce it.

    A stream that somebody else has locked is waited for briefly: another sequencer takes
    milliseconds. One that stays locked, or is broken, is left to the tickers.

    Args:
        stream_ids: primary keys of streams, any number.
        now: the moment that decides what is due; default the present by the database's clock.
        written: what need not be read again, because it was written just now.
        placing: something is still to be placed in them.

    Returns:
        The number of notifications published.
    """
    count = 0
    for chunk in chunks(sorted(set(stream_ids)), BATCH):
        done = _publish(chunk, now, written, placing=placing, to_the_end=True)
        count += done.published
        left = [pk for pk in chunk if pk not in done.streams and pk not in setbacks.resting()]
        if left:
            again = _publish(left, now, written, wait=PATIENCE, placing=placing, to_the_end=True)
            count += again.published
    return count


def sequence_after_commit(
    stream_ids: Collection[int], names: Sequence[str], written: Written
) -> None:
    """The caller's ``on_commit``. A database that fails now is met again by the tickers.

    Args:
        stream_ids: where something was written.
        names: of streams for which something was written that is still to be placed.
        written: all of it.
    """
    try:
        found = _find_or_make(names) if names else {}
        sequence([*stream_ids, *found.values()], written=written, placing=bool(names))
    except DatabaseError as error:
        DATABASE_ERRORS.inc()
        logger.warning(
            "Committed notifications wait for a worker (%s on sequencing).", type(error).__name__
        )


def sequence_waiting(now: datetime | None = None) -> int:
    """The ticker's part: what a dead process left waiting and what has become due.

    Streams that another worker is sequencing are skipped, not waited for.

    Args:
        now: the moment that decides what is due; default the present by the database's clock.

    Returns:
        The number of notifications published.

    Raises:
        OperationalError: the database is away.
    """
    count = _place_leftovers(now)
    after: _Due | None = None
    passed: set[int] = set()
    while page := _due_page(now, after, passed):
        stream_ids = sorted({row.stream_id for row in page})
        done = _publish(stream_ids, now)
        count += done.published
        passed.update(pk for pk in stream_ids if pk not in done.streams)
        if len(page) < BATCH:
            break
        after = page[-1]
    return count


def _place_leftovers(now: datetime | None) -> int:
    """Place what a dead process has left, due or not."""
    count, after = 0, ""
    while True:
        passed = [stream for stream in setbacks.resting() if isinstance(stream, str)]
        names = find_channels(after, passed, BATCH)
        if names:
            stream_ids = sorted(_find_or_make(names).values())
            count += _publish(stream_ids, now, placing=True, to_the_end=True).published
        if len(names) < BATCH:
            return count
        after = names[-1]


def _find_or_make(names: Sequence[str]) -> dict[str, int]:
    """Primary keys of these streams, outside of any caller's transaction."""
    found = stream_rows.ids(names)
    missing = sorted({name for name in names if name not in found} - setbacks.resting())
    if missing:

        def make(some: Sequence[str]) -> None:
            with transaction.atomic(using=database_alias()):
                limit_waiting(database_alias(), MAKING)
                stream_rows.make(some)
            found.update(stream_rows.ids(some))
            setbacks.succeeded(some)

        _apart(missing, make, setbacks.failed)
    return found


def _publish(
    stream_ids: Sequence[int],
    now: datetime | None,
    written: Written | None = None,
    *,
    wait: float | None = None,
    placing: bool = False,
    to_the_end: bool = False,
) -> _Done:
    """Number and announce what is due in those of these streams that can be locked and work.

    Args:
        wait: seconds to wait for a lock before locked streams are stepped over.
        to_the_end: all that is due, not only what one transaction takes.
    """
    count, done = 0, set[int]()
    resting = setbacks.resting()
    left = [pk for pk in stream_ids if pk not in resting]
    while left:
        turn = _Turn(now, wait, placing)
        try:
            _apart(left, turn.number, turn.number_alone)
        finally:
            # What has its offsets is told, although the database may be away by now.
            for batch in turn.batches:
                announce(batch.numbered, written)
        count += sum(len(batch.numbered) for batch in turn.batches)
        done.update(*(batch.locked for batch in turn.batches))
        full = [pk for batch in turn.batches if batch.is_full for pk in sorted(batch.locked)]
        left = full if to_the_end else []
    return _Done(count, done)


class _Turn:
    """Numbers streams together or alone; see :func:`_publish` for the arguments."""

    def __init__(self, now: datetime | None, wait: float | None, placing: bool) -> None:
        self._now = now
        self._wait = wait
        self._placing = placing
        self.batches: list[Batch] = []

    def number(self, stream_ids: Sequence[int]) -> None:
        try:
            batch = self._give_offsets(stream_ids, self._wait)
        except OperationalError as error:
            if self._wait is None or not was_locked(error):
                raise
            # The others have been given back meanwhile perhaps.
            batch = self._give_offsets(stream_ids, None)
        self.batches.append(batch)
        setbacks.succeeded(batch.locked)

    def number_alone(self, stream_id: int, error: Exception) -> None:
        """It has failed by itself: repair it, or set it aside."""
        try:
            if repair(stream_id):
                self.number([stream_id])
                return
        except FAILURES as again:
            if _concerns_all(again):
                raise
            error = again
        setbacks.failed(stream_id, error)

    def _give_offsets(self, stream_ids: Sequence[int], wait: float | None) -> Batch:
        return give_offsets(stream_ids, self._now, MOST, wait=wait, placing=self._placing)


def _apart(
    items: Sequence[T],
    work: Callable[[Sequence[T]], None],
    alone: Callable[[T, Exception], None],
) -> None:
    """Do ``work`` for all at once. If that fails, find those that are to blame by halves.

    Args:
        items: streams.
        work: does all or nothing.
        alone: called with one for which ``work`` has failed, and why.
    """
    try:
        work(items)
    except FAILURES as error:
        if _concerns_all(error):
            raise
        if len(items) == 1:
            alone(items[0], error)
            return
        middle = len(items) // 2
        _apart(items[:middle], work, alone)
        _apart(items[middle:], work, alone)


def _concerns_all(error: Exception) -> bool:
    """Is the database away, rather than one stream broken or locked?"""
    return isinstance(error, OperationalError | InterfaceError) and not was_locked(error)


def _due_page(now: datetime | None, after: _Due | None, passed: Collection[int]) -> list[_Due]:
    """What is due behind ``after``, in the order of publication, without streams passed over."""
    due = Notification.objects.using(database_alias()).waiting()
    due = due.filter(publish_at__lte=now or present(database_alias()), stream__isnull=False)
    skipped = [*passed, *(stream for stream in setbacks.resting() if isinstance(stream, int))]
    if skipped:
        due = due.exclude(stream__in=skipped[:BATCH])
    if after is not None:
        due = due.filter(publish_at__gte=after.publish_at).exclude(
            publish_at=after.publish_at, id__lte=after.id
        )
    rows = due.order_by("publish_at", "id").values_list("publish_at", "id", "stream_id")
    return [_Due(*row) for row in rows[:BATCH]]
