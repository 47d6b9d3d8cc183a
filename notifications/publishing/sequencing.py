"""Sequencing: giving offsets to waiting notifications after the caller's commit, then the hint.

An offset cannot be given inside the caller's transaction: a counter locked there would serialize
and deadlock business transactions, and with an auto-increment id, a late commit could end up below
a reader's position. So rows wait with ``offset`` NULL. Either the caller's ``on_commit`` or the
ticker of a worker gives them the next offsets, in a short transaction of its own. Scheduling works
the same way: a ``publish_at`` in the future keeps a row waiting. Without a caller's transaction,
:mod:`notifications.publishing.immediate` gives most offsets, and what is left comes here.

A locked or broken stream delays only its own readers.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, transaction

from ..database.clock import present
from ..database.locks import limit_waiting, was_locked
from ..models import Notification, database_alias
from ..streams import rows as stream_rows
from ..streams.rows import CREATE_TIMEOUT, MAX_LOCK_WAIT, chunks
from .hints import announce, hints_each
from .numbering import Batch, give_offsets, repair
from .placing import find_channels
from .setbacks import Setbacks
from .writing import Written

logger = logging.getLogger(__name__)

T = TypeVar("T", int, str)

#: Streams per transaction, and rows per page. Locks are held for as long as it takes.
BATCH_SIZE = 2000
#: Notifications per transaction: more than streams, so that a chunk of a bulk call is one batch.
MAX_NOTIFICATIONS = 4000

#: Errors that a broken stream may cause; :func:`_concerns_all` tells errors with other causes.
FAILURES = (DatabaseError, ArithmeticError, ValueError)

#: The streams that fail by themselves in this process.
setbacks = Setbacks()


class _Due(NamedTuple):
    publish_at: datetime
    id: int
    stream_id: int


class _Done(NamedTuple):
    """The number of published notifications, and the streams that were processed."""

    published: int
    streams: set[int]


def sequence(
    stream_ids: Iterable[int],
    now: datetime | None = None,
    written: Written | None = None,
    *,
    placing: bool = False,
) -> int:
    """Give offsets to the due notifications of these streams, and announce them.

    It waits briefly for locked streams, because another sequencer needs only milliseconds. Streams
    that stay locked or are broken are left to the tickers.

    Args:
        stream_ids: primary keys of any number of streams.
        now: the moment that decides what is due; default the present by the database's clock.
        written: what is known of rows written just now, which need not be read again.
        placing: whether these streams have unplaced notifications.

    Returns:
        The number of notifications published.

    Raises:
        OperationalError, InterfaceError: the database is down.
    """
    count = 0
    for chunk in chunks(sorted(set(stream_ids)), BATCH_SIZE):
        done = _publish(chunk, now, written, placing=placing, to_the_end=True)
        count += done.published
        left = [pk for pk in chunk if pk not in done.streams and pk not in setbacks.paused()]
        if left:
            again = _publish(
                left, now, written, wait=MAX_LOCK_WAIT, placing=placing, to_the_end=True
            )
            count += again.published
    return count


def sequence_waiting(now: datetime | None = None) -> int:
    """Sequence what has become due, and what a dead process left waiting; called by the ticker.

    Streams that another worker has locked are skipped.

    Args:
        now: the moment that decides what is due; default the present by the database's clock.

    Returns:
        The number of notifications published.

    Raises:
        OperationalError, InterfaceError: the database is down.
    """
    count = _place_leftovers(now)
    after: _Due | None = None
    passed: set[int] = set()
    while page := _due_page(now, after, passed):
        stream_ids = sorted({row.stream_id for row in page})
        done = _publish(stream_ids, now)
        count += done.published
        passed.update(pk for pk in stream_ids if pk not in done.streams)
        if len(page) < BATCH_SIZE:
            break
        after = page[-1]
    return count


def _place_leftovers(now: datetime | None) -> int:
    """Place what a dead process left unplaced, due or not, and publish what is due."""
    count, after = 0, ""
    while True:
        passed = [stream for stream in setbacks.paused() if isinstance(stream, str)]
        names = find_channels(after, passed, BATCH_SIZE)
        if names:
            stream_ids = sorted(find_or_create(names).values())
            count += _publish(stream_ids, now, placing=True, to_the_end=True).published
        if len(names) < BATCH_SIZE:
            return count
        after = names[-1]


def find_or_create(names: Sequence[str]) -> dict[str, int]:
    """Primary keys of these streams, creating missing ones; not inside a caller's transaction."""
    found = stream_rows.ids(names)
    missing = sorted({name for name in names if name not in found} - setbacks.paused())
    if missing:

        def create(some: Sequence[str]) -> None:
            with transaction.atomic(using=database_alias()):
                limit_waiting(database_alias(), CREATE_TIMEOUT)
                created = stream_rows.create(some)
            # Those that another transaction has created meanwhile have to be read.
            found.update(created | stream_rows.ids([name for name in some if name not in created]))
            setbacks.succeeded(some)

        _bisect(missing, create, setbacks.failed)
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
    """Number and announce what is due in these streams, except in locked and broken ones.

    Args:
        wait: seconds to wait for a lock before locked streams are skipped; None skips them at once.
        to_the_end: repeat until nothing is due, instead of one batch.
    """
    count, done = 0, set[int]()
    paused = setbacks.paused()
    left = [pk for pk in stream_ids if pk not in paused]
    while left:
        attempt = _Attempt(now, wait, placing, same=written is not None)
        try:
            _bisect(left, attempt.number, attempt.repair_or_set_aside)
        finally:
            # Announce what has its offsets, even if the database has failed meanwhile.
            for batch in attempt.batches:
                announce(batch, written)
        count += sum(len(batch.ids) for batch in attempt.batches)
        done.update(*(batch.locked for batch in attempt.batches))
        full = [pk for batch in attempt.batches if batch.is_full for pk in sorted(batch.locked)]
        left = full if to_the_end else []
    return _Done(count, done)


class _Attempt:
    """Numbers streams together, or one alone; see :func:`_publish` for the arguments.

    Args:
        same: whether nearly all rows are the same notification, written just now.
    """

    def __init__(
        self, now: datetime | None, wait: float | None, placing: bool, *, same: bool
    ) -> None:
        self._now = now
        self._wait = wait
        self._placing = placing
        self._same = same
        self.batches: list[Batch] = []

    def number(self, stream_ids: Sequence[int]) -> None:
        try:
            batch = self._give_offsets(stream_ids, self._wait)
        except OperationalError as error:
            if self._wait is None or not was_locked(error):
                raise
            # Skip the stream that stays locked; the others may be free now.
            batch = self._give_offsets(stream_ids, None)
        self.batches.append(batch)
        setbacks.succeeded(batch.locked)

    def repair_or_set_aside(self, stream_id: int, error: Exception) -> None:
        """Repair a stream that has failed by itself, or set it aside."""
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
        return give_offsets(
            stream_ids,
            self._now,
            MAX_NOTIFICATIONS,
            wait=wait,
            placing=self._placing,
            described=hints_each(len(stream_ids), same=self._same),
        )


def _bisect(
    items: Sequence[T],
    work: Callable[[Sequence[T]], None],
    on_failure: Callable[[T, Exception], None],
) -> None:
    """Do ``work`` for all streams at once; if that fails, bisect to find the broken ones.

    Args:
        items: primary keys or names of streams.
        work: does all or nothing.
        on_failure: called with each stream for which ``work`` fails by itself, and the error.
    """
    try:
        work(items)
    except FAILURES as error:
        if _concerns_all(error):
            raise
        if len(items) == 1:
            on_failure(items[0], error)
            return
        middle = len(items) // 2
        _bisect(items[:middle], work, on_failure)
        _bisect(items[middle:], work, on_failure)


def _concerns_all(error: Exception) -> bool:
    """Return whether the database is down, rather than one stream broken or locked."""
    return isinstance(error, OperationalError | InterfaceError) and not was_locked(error)


def _due_page(now: datetime | None, after: _Due | None, passed: Collection[int]) -> list[_Due]:
    """The next page of due notifications after ``after``, without streams that are skipped."""
    due = Notification.objects.using(database_alias()).waiting()
    due = due.filter(publish_at__lte=now or present(database_alias()), stream__isnull=False)
    skipped = [*passed, *(stream for stream in setbacks.paused() if isinstance(stream, int))]
    if skipped:
        due = due.exclude(stream__in=skipped[:BATCH_SIZE])
    if after is not None:
        due = due.filter(publish_at__gte=after.publish_at).exclude(
            publish_at=after.publish_at, id__lte=after.id
        )
    rows = due.order_by("publish_at", "id").values_list("publish_at", "id", "stream_id")
    return [_Due(*row) for row in rows[:BATCH_SIZE]]
