"""A new epoch for streams whose history has gone back, so that every client learns of it (P8).

A stream is renewed once, even if several workers notice: the first one replaces the epoch under the
lock of the stream, and the others find a new epoch. The marks of the subscriptions are moved back
to the last offset that the old and the new history have in common. What was acknowledged or read
above it were other entries.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import OperationalError, transaction

from ..database.locks import limit_waiting, was_locked
from ..database.transactions import update_rows
from ..metrics import RENEWED
from ..models import Stream, database_alias, new_epoch
from . import incarnation, marks
from .acknowledging import stop_acknowledging
from .evidence import Seen, look
from .heads import (
    STREAMS_PER_TRANSACTION,
    Head,
    all_heads,
    last_common_offset,
    read_heads,
    streams_of,
)
from .rows import chunks, locked

logger = logging.getLogger(__name__)


#: Passes over the marks before acknowledging is stopped for the last one.
MARK_PASSES = 2

#: Rounds in which ``renew_all`` retries locked streams, and seconds before each round.
ROUNDS = 10
PAUSE = 0.5


class Old(NamedTuple):
    """The old history of a stream that is to be renewed.

    Args:
        epoch: the stream is renewed only while it has this epoch.
        newest: when the newest known entry of the old history was published; None if that is not
            known, in which case marks are moved back to the top only.
        seen: the position that contradicted the tables. It is compared again under the lock of the
            stream, because the first comparison may have read a lagging replica. None if there is
            no doubt.
    """

    epoch: str
    newest: datetime | None = None
    seen: Seen | None = None


class Verdict(NamedTuple):
    """The result of examining streams whose history seems to have gone back.

    Streams in neither set are locked by another transaction; the caller has to retry them.

    Args:
        settled: streams that no longer exist or no longer have the old epoch, whoever replaced it.
        unchanged: streams whose history has not gone back.
    """

    settled: set[int]
    unchanged: set[int]


class Renewed(NamedTuple):
    """How much was renewed, or would be.

    Args:
        streams: streams with a new epoch.
        tops: those among them whose top was below the offset of their newest notification.
        subscriptions: subscriptions with marks that were moved back.
        locked: streams that were left out, because another transaction had locked them.
    """

    streams: int = 0
    tops: int = 0
    subscriptions: int = 0
    locked: int = 0

    def plus(self, other: "Renewed") -> "Renewed":
        return Renewed(*(one + more for one, more in zip(self, other, strict=True)))


class _AcknowledgingNotStopped(Exception):
    """Acknowledging could not be stopped in time, which affects all streams alike."""


def renew(histories: Mapping[int, Old]) -> Verdict:
    """Give new epochs to streams whose history has gone back.

    Args:
        histories: the old histories by stream id.

    Raises:
        DatabaseError: the database fails for another reason than a lock.
    """
    verdict = Verdict(set(), set())
    count = 0
    for chunk in chunks(sorted(histories), STREAMS_PER_TRANSACTION):
        gone_back = _examine({pk: histories[pk] for pk in chunk}, verdict)
        if gone_back:
            incarnation.suspect()
        settled, renewed = _renew_isolating_locked({pk: histories[pk] for pk in gone_back})
        verdict.settled.update(settled)
        count += renewed.streams
    if count:
        RENEWED.inc(count)
        logger.error(
            "The history of %d streams has gone back; they got new epochs and their clients are "
            "notified.",
            count,
        )
    return verdict


def renew_all(since: datetime | None = None) -> Iterator[Renewed]:
    """Give new epochs to all streams. It can be interrupted, and run again.

    Args:
        since: renew only streams in which something was published at this time or later, and move
            marks back to what was published up to it. None renews every stream.

    Yields:
        The result for each chunk of streams. If some streams stay locked, the last result has
        their number.

    Raises:
        DatabaseError: the database fails for another reason than a lock.
    """
    left: dict[int, Old] = {}
    for heads in all_heads(since):
        histories = {head.id: Old(head.epoch, since) for head in heads}
        settled, renewed = _renew_isolating_locked(histories)
        left |= {pk: old for pk, old in histories.items() if pk not in settled}
        yield renewed
    for _ in range(ROUNDS):
        if not left:
            return
        time.sleep(PAUSE)
        for chunk in chunks(list(left), STREAMS_PER_TRANSACTION):
            settled, renewed = _renew_isolating_locked({pk: left[pk] for pk in chunk})
            left = {pk: old for pk, old in left.items() if pk not in settled}
            yield renewed
    yield Renewed(locked=len(left))


def count_all(since: datetime | None = None) -> Iterator[Renewed]:
    """Yield what :func:`renew_all` would do now, for each chunk of streams."""
    for heads in all_heads(since):
        common = {head.id: last_common_offset(head, since) for head in heads}
        tops = sum(head.real_top > head.top for head in heads)
        yield Renewed(len(heads), tops, marks.ahead(common).count())


def _examine(histories: Mapping[int, Old], verdict: Verdict) -> set[int]:
    """Compare doubtful streams with the tables again, under their locks.

    Args:
        histories: the old histories by stream id.
        verdict: settled and unchanged streams are added to it.

    Returns:
        The streams to renew, without those that are locked.
    """
    epochs = dict(streams_of(histories).values_list("pk", "epoch"))
    old = {pk for pk, history in histories.items() if epochs.get(pk) == history.epoch}
    verdict.settled.update(histories.keys() - old)
    doubts = {pk: seen for pk in old if (seen := histories[pk].seen) is not None}
    gone_back = old - doubts.keys()
    if doubts:
        with transaction.atomic(using=database_alias()):
            rows = locked(streams_of(doubts), skip_locked=True)
            held = set(rows.values_list("pk", flat=True))
            found = look({pk: doubts[pk] for pk in held})
        gone_back |= found.gone_back
        # Streams whose epoch has changed by now count as settled at the next call.
        same = {pk for pk, top in found.tops.items() if top.epoch == doubts[pk].epoch}
        verdict.unchanged.update(same - found.gone_back)
    return gone_back


def _renew_isolating_locked(histories: Mapping[int, Old]) -> tuple[set[int], Renewed]:
    """Renew the streams together, or one by one if a lock of one of them delays the others."""
    settled: set[int] = set()
    total = Renewed()
    if not histories:
        return settled, total
    try:
        return _renew(histories)
    except _AcknowledgingNotStopped:
        return settled, total
    except OperationalError as error:
        if not was_locked(error, or_deadlock=True):
            raise
        if len(histories) == 1:
            return settled, total
    for pk, old in histories.items():
        done, renewed = _renew_isolating_locked({pk: old})
        settled |= done
        total = total.plus(renewed)
    return settled, total


def _stop_acknowledging() -> None:
    try:
        stop_acknowledging(database_alias())
    except OperationalError as error:
        if was_locked(error, or_deadlock=True):
            raise _AcknowledgingNotStopped from error
        raise


def _renew(histories: Mapping[int, Old]) -> tuple[set[int], Renewed]:
    heads = read_heads(streams_of(histories))
    old = [head for head in heads if head.epoch == histories[head.id].epoch]
    common = {head.id: last_common_offset(head, histories[head.id].newest) for head in old}
    settled = histories.keys() - common.keys()
    if not common:
        return set(settled), Renewed()
    newest = {pk: histories[pk].newest for pk in common}
    # A shared stream may have a million subscriptions. Nearly all marks are moved before anything
    # is locked for long; acknowledgements go on meanwhile, so a few are always left.
    moved = sum(marks.move_back(common, newest) for _ in range(MARK_PASSES))
    with transaction.atomic(using=database_alias()):
        limit_waiting(database_alias(), marks.MAX_LOCK_WAIT)
        # Subscriptions before streams: deleting a user locks them in the same order.
        _stop_acknowledging()
        moved += marks.move_back(common, newest)
        rows = locked(streams_of(common), skip_locked=True)
        epochs = dict(rows.values_list("pk", "epoch"))
        heads = read_heads(streams_of(epochs))
        found = [head for head in heads if head.epoch == histories[head.id].epoch]
        _store(found)
    there = set(streams_of(common).values_list("pk", flat=True))
    settled = settled | set(epochs) | (common.keys() - there)
    return settled, Renewed(len(found), sum(head.real_top > head.top for head in found), moved)


def _store(heads: Sequence[Head]) -> None:
    """Store new epochs, and raise tops that are below the newest notification."""
    alias = database_alias()
    update_rows(
        alias, Stream, ["epoch", "top"], [(new_epoch(), head.real_top, head.id) for head in heads]
    )
    # ``published_at`` must keep ascending with the offset.
    later = [
        (head.highest_at, head.id)
        for head in heads
        if head.highest_at is not None
        and (head.published_at is None or head.published_at < head.highest_at)
    ]
    update_rows(alias, Stream, ["published_at"], later)
