"""A new epoch for streams whose history has gone back, so that every client learns of it (P8).

Once per stream, whoever sees it first: the epoch that was seen is replaced under the lock of the
stream, and whoever comes second finds another one. With the epoch go the marks of the
subscriptions. They are moved back to where the old history and the new one part, because what was
acknowledged or read behind that was something else.
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
from .heads import TOGETHER, Head, all_heads, cut, read_heads, streams_of
from .rows import chunks, locked

logger = logging.getLogger(__name__)


#: How often marks are moved back before acknowledging is stopped for the rest.
PASSES = 2

#: How often, and after how many seconds, ``renew_all`` asks again for what was locked.
ROUNDS = 10
PAUSE = 0.5


class Old(NamedTuple):
    """The history of a stream that is to be renewed.

    Args:
        epoch: it is renewed only while it has this one.
        newest: when the newest entry that was seen of it was published; None if that is not
            known, and then marks are moved back to the top only.
        seen: what was held against the tables. Before the stream is renewed this is done once
            more, under its lock: what was read may have come from a replica that lags. None if
            there is no doubt.
    """

    epoch: str
    newest: datetime | None = None
    seen: Seen | None = None


class Verdict(NamedTuple):
    """What became of streams whose history seemed to have gone back.

    ``settled`` do not have the old epoch any more, whoever has replaced it; of ``innocent`` the
    history only goes on. The others are locked by somebody, and are to be asked for again.
    """

    settled: set[int]
    innocent: set[int]


class Renewed(NamedTuple):
    """What was done, or would be.

    Args:
        streams: got a new epoch.
        tops: among them lay below their notifications.
        subscriptions: had a mark that was moved back.
        locked: streams that were left out, because somebody held their locks.
    """

    streams: int = 0
    tops: int = 0
    subscriptions: int = 0
    locked: int = 0

    def plus(self, other: "Renewed") -> "Renewed":
        return Renewed(*(one + more for one, more in zip(self, other, strict=True)))


class _Acknowledging(Exception):
    """Somebody's acknowledgements take too long: that holds up all streams alike."""


def renew(histories: Mapping[int, Old]) -> Verdict:
    """Give new epochs to streams whose history was found to have gone back.

    Args:
        histories: the old ones, by stream id.

    Raises:
        DatabaseError: the database fails.
    """
    verdict = Verdict(set(), set())
    count = 0
    for chunk in chunks(sorted(histories), TOGETHER):
        guilty = _examine({pk: histories[pk] for pk in chunk}, verdict)
        if guilty:
            incarnation.suspect()
        settled, renewed = _renew_apart({pk: histories[pk] for pk in guilty})
        verdict.settled.update(settled)
        count += renewed.streams
    if count:
        RENEWED.inc(count)
        logger.error(
            "The history of %d streams had gone back: they have a new epoch now, and their "
            "clients are told.",
            count,
        )
    return verdict


def renew_all(since: datetime | None = None) -> Iterator[Renewed]:
    """Give new epochs to all streams; may be interrupted, and run again.

    Args:
        since: only to streams in which something was published since then, and marks are moved
            back to what was published before.

    Yields:
        What was done to each chunk of streams. The last one tells how many could not be locked.

    Raises:
        DatabaseError: the database fails.
    """
    left: dict[int, Old] = {}
    for heads in all_heads(since):
        histories = {head.id: Old(head.epoch, since) for head in heads}
        settled, renewed = _renew_apart(histories)
        left |= {pk: old for pk, old in histories.items() if pk not in settled}
        yield renewed
    for _ in range(ROUNDS):
        if not left:
            return
        time.sleep(PAUSE)
        for chunk in chunks(list(left), TOGETHER):
            settled, renewed = _renew_apart({pk: left[pk] for pk in chunk})
            left = {pk: old for pk, old in left.items() if pk not in settled}
            yield renewed
    yield Renewed(locked=len(left))


def count_all(since: datetime | None = None) -> Iterator[Renewed]:
    """What :func:`renew_all` would do now."""
    for heads in all_heads(since):
        cuts = {head.id: cut(head, since) for head in heads}
        tops = sum(head.real_top > head.top for head in heads)
        yield Renewed(len(heads), tops, marks.ahead(cuts).count())


def _examine(histories: Mapping[int, Old], verdict: Verdict) -> set[int]:
    """Hold once more against the tables what was seen of streams, where there is a doubt.

    Args:
        verdict: gets those that are settled, and those that are innocent.

    Returns:
        Those that are to be renewed; not those that are locked.
    """
    epochs = dict(streams_of(histories).values_list("pk", "epoch"))
    old = {pk for pk, history in histories.items() if epochs.get(pk) == history.epoch}
    verdict.settled.update(histories.keys() - old)
    doubts = {pk: seen for pk in old if (seen := histories[pk].seen) is not None}
    guilty = old - doubts.keys()
    if doubts:
        with transaction.atomic(using=database_alias()):
            rows = locked(streams_of(doubts), skip_locked=True)
            held = set(rows.values_list("pk", flat=True))
            found = look({pk: doubts[pk] for pk in held})
        guilty |= found.gone_back
        # Those with another epoch by now are settled next time.
        same = {pk for pk, top in found.tops.items() if top.epoch == doubts[pk].epoch}
        verdict.innocent.update(same - found.gone_back)
    return guilty


def _renew_apart(histories: Mapping[int, Old]) -> tuple[set[int], Renewed]:
    """Renew together; one by one if a lock of one of them holds up the others."""
    settled: set[int] = set()
    total = Renewed()
    if not histories:
        return settled, total
    try:
        return _renew(histories)
    except _Acknowledging:
        return settled, total
    except OperationalError as error:
        if not was_locked(error, or_deadlock=True):
            raise
        if len(histories) == 1:
            return settled, total
    for pk, old in histories.items():
        done, renewed = _renew_apart({pk: old})
        settled |= done
        total = total.plus(renewed)
    return settled, total


def _stop_acknowledging() -> None:
    try:
        stop_acknowledging(database_alias())
    except OperationalError as error:
        if was_locked(error, or_deadlock=True):
            raise _Acknowledging from error
        raise


def _renew(histories: Mapping[int, Old]) -> tuple[set[int], Renewed]:
    heads = read_heads(streams_of(histories))
    old = [head for head in heads if head.epoch == histories[head.id].epoch]
    cuts = {head.id: cut(head, histories[head.id].newest) for head in old}
    settled = histories.keys() - cuts.keys()
    if not cuts:
        return set(settled), Renewed()
    newest = {pk: histories[pk].newest for pk in cuts}
    # A shared stream may have a million subscriptions: nearly all of the work is done before
    # anything is locked for long. Positions go on being acknowledged, so it is never done.
    moved = sum(marks.move_back(cuts, newest) for _ in range(PASSES))
    with transaction.atomic(using=database_alias()):
        limit_waiting(database_alias(), marks.PATIENCE)
        # Subscriptions before streams, as somebody locks them who deletes a user.
        _stop_acknowledging()
        moved += marks.move_back(cuts, newest)
        rows = locked(streams_of(cuts), skip_locked=True)
        epochs = dict(rows.values_list("pk", "epoch"))
        heads = read_heads(streams_of(epochs))
        found = [head for head in heads if head.epoch == histories[head.id].epoch]
        _store(found)
    there = set(streams_of(cuts).values_list("pk", flat=True))
    settled = settled | set(epochs) | (cuts.keys() - there)
    return settled, Renewed(len(found), sum(head.real_top > head.top for head in found), moved)


def _store(heads: Sequence[Head]) -> None:
    """New epochs, and tops that are not below what is there."""
    alias = database_alias()
    update_rows(
        alias, Stream, ["epoch", "top"], [(new_epoch(), head.real_top, head.id) for head in heads]
    )
    # ``published_at`` goes on ascending.
    later = [
        (head.highest_at, head.id)
        for head in heads
        if head.highest_at is not None
        and (head.published_at is None or head.published_at < head.highest_at)
    ]
    update_rows(alias, Stream, ["published_at"], later)
