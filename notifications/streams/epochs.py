"""A new epoch for streams whose history has gone back, so that every client learns of it (P8).

Once per stream, whoever sees it first: the epoch that was seen is replaced under the lock of the
stream, and whoever comes second finds another one. With the epoch go the marks of the
subscriptions. They are moved back to where the old history and the new one part, because what was
acknowledged or read behind that was something else.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import OperationalError, connections, router, transaction
from django.db.models import BooleanField, OuterRef, Q, QuerySet, Subquery
from django.db.models.expressions import RawSQL

from ..database.locks import limit_waiting
from ..database.transactions import update_rows
from ..metrics import RENEWED
from ..models import Notification, NotificationQuerySet, Stream, Subscription, new_epoch
from . import incarnation
from .evidence import Seen, look
from .names import CHUNK, chunks, locked
from .subscriptions import stop_acknowledging

logger = logging.getLogger(__name__)

#: Streams in one transaction.
TOGETHER = 100

#: How long a transaction waits for one of its locks, in seconds. Nobody may have to wait
#: long for it in turn: what cannot be renewed now is tried again later.
PATIENCE = 1.0

#: Subscriptions that are found by one query.
KEYS = 20 * CHUNK

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


class _Head(NamedTuple):
    """A stream, and the highest offset that its notifications really have."""

    id: int
    epoch: str
    top: int
    published_at: datetime | None
    highest: int | None
    highest_at: datetime | None

    @property
    def real_top(self) -> int:
        return max(self.top, self.highest or 0)


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
    for heads in _heads_of_all(since):
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
    for heads in _heads_of_all(since):
        cuts = {head.id: _cut(head, since) for head in heads}
        tops = sum(head.real_top > head.top for head in heads)
        yield Renewed(len(heads), tops, _ahead(cuts).count())


def _examine(histories: Mapping[int, Old], verdict: Verdict) -> set[int]:
    """Hold once more against the tables what was seen of streams, where there is a doubt.

    Args:
        verdict: gets those that are settled, and those that are innocent.

    Returns:
        Those that are to be renewed; not those that are locked.
    """
    epochs = dict(_streams(histories).values_list("pk", "epoch"))
    old = {pk for pk, history in histories.items() if epochs.get(pk) == history.epoch}
    verdict.settled.update(histories.keys() - old)
    doubts = {pk: seen for pk in old if (seen := histories[pk].seen) is not None}
    guilty = old - doubts.keys()
    if doubts:
        with transaction.atomic(using=_alias()):
            rows = locked(_streams(doubts), skip_locked=True)
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
        if not _is_locked(error):
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
        stop_acknowledging(_alias())
    except OperationalError as error:
        if _is_locked(error):
            raise _Acknowledging from error
        raise


def _is_locked(error: OperationalError) -> bool:
    """Was a lock waited for too long, or taken from us in a deadlock?"""
    return getattr(error.__cause__, "sqlstate", None) in {"55P03", "40P01"}


def _renew(histories: Mapping[int, Old]) -> tuple[set[int], Renewed]:
    heads = _heads(_streams(histories))
    old = [head for head in heads if head.epoch == histories[head.id].epoch]
    cuts = {head.id: _cut(head, histories[head.id].newest) for head in old}
    settled = histories.keys() - cuts.keys()
    if not cuts:
        return set(settled), Renewed()
    newest = {pk: histories[pk].newest for pk in cuts}
    # A shared stream may have a million subscriptions: nearly all of the work is done before
    # anything is locked for long. Positions go on being acknowledged, so it is never done.
    moved = sum(_move_back(cuts, newest) for _ in range(PASSES))
    with transaction.atomic(using=_alias()):
        limit_waiting(_alias(), PATIENCE)
        # Subscriptions before streams, as somebody locks them who deletes a user.
        _stop_acknowledging()
        moved += _move_back(cuts, newest)
        rows = locked(_streams(cuts), skip_locked=True)
        epochs = dict(rows.values_list("pk", "epoch"))
        found = [
            head for head in _heads(_streams(epochs)) if head.epoch == histories[head.id].epoch
        ]
        _store(found)
    there = set(_streams(cuts).values_list("pk", flat=True))
    settled = settled | set(epochs) | (cuts.keys() - there)
    return settled, Renewed(len(found), sum(head.real_top > head.top for head in found), moved)


def _store(heads: Sequence[_Head]) -> None:
    """New epochs, and tops that are not below what is there."""
    alias = _alias()
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


def _cut(head: _Head, newest: datetime | None) -> int:
    """The offset up to which the old history and the present one are the same."""
    if newest is None:
        return head.real_top
    rows = _published(head.id)
    same = rows.filter(published_at__lte=newest).order_by("-published_at", "-id")
    offset = same.values_list("offset", flat=True).first()
    if offset is not None:
        return offset
    first = rows.order_by("offset").values_list("offset", flat=True).first()
    return head.real_top if first is None else first - 1


def _move_back(cuts: Mapping[int, int], newest: Mapping[int, datetime | None]) -> int:
    """Move back the marks that lie above the cut of their stream.

    Returns:
        The number of subscriptions.
    """
    count = 0
    while True:
        keys = list(_ahead(cuts).values_list("pk", flat=True)[:KEYS])
        for chunk in chunks(sorted(keys)):
            _move_some_back(chunk, cuts, newest)
        count += len(keys)
        if len(keys) < KEYS:
            return count


def _move_some_back(
    keys: Sequence[int], cuts: Mapping[int, int], newest: Mapping[int, datetime | None]
) -> None:
    alias = _alias()
    no_key = connections[alias].features.has_select_for_no_key_update
    with transaction.atomic(using=alias):
        limit_waiting(_alias(), PATIENCE)
        rows = Subscription.objects.using(alias).filter(pk__in=keys).order_by("pk")
        changed = []
        for row in rows.select_for_update(no_key=no_key):
            cut, last = cuts[row.stream_id], newest[row.stream_id]
            # Who has joined the present history did not join too late for it.
            is_later = last is not None and row.created_at > last
            since = row.since if is_later else min(row.since, cut)
            marks = (row.delivered, row.read, row.archived, row.unmuted)
            changed.append((since, *(min(mark, cut) for mark in marks), row.pk))
        fields = ["since", "delivered", "read", "archived", "unmuted"]
        update_rows(alias, Subscription, fields, changed)


def _ahead(cuts: Mapping[int, int]) -> QuerySet[Subscription]:
    """Subscriptions with a mark above the cut of their stream.

    The others of their marks lie below these two, and these have an index.
    """
    table = f'"{Subscription._meta.db_table}"'
    places = [value for place in cuts.items() for value in place]

    def beyond(mark: str) -> RawSQL:
        one = f'{table}."stream_id" = %s AND {table}."{mark}" > %s'
        return RawSQL(  # noqa: S611 - all values are parameters
            "(" + ") OR (".join([one] * len(cuts)) + ")", places, output_field=BooleanField()
        )

    rows = Subscription.objects.using(_alias())
    return rows.filter(Q(beyond("delivered")) | Q(beyond("read")))


def _heads_of_all(since: datetime | None) -> Iterator[list[_Head]]:
    after = 0
    while True:
        rows = Stream.objects.using(_alias()).filter(pk__gt=after).order_by("pk")
        if since is not None:
            rows = rows.filter(published_at__gte=since)
        keys = list(rows.values_list("pk", flat=True)[:TOGETHER])
        if not keys:
            return
        yield _heads(_streams(keys))
        after = keys[-1]


def _heads(rows: QuerySet[Stream]) -> list[_Head]:
    theirs = Notification.objects.filter(stream=OuterRef("pk"), offset__isnull=False)
    last = theirs.order_by("-offset")
    annotated = rows.order_by("pk").annotate(
        highest=Subquery(last.values("offset")[:1]),
        highest_at=Subquery(last.values("published_at")[:1]),
    )
    fields = ("pk", "epoch", "top", "published_at", "highest", "highest_at")
    return [_Head(*values) for values in annotated.values_list(*fields)]


def _streams(keys: Iterable[int]) -> QuerySet[Stream]:
    return Stream.objects.using(_alias()).filter(pk__in=list(keys))


def _published(stream_id: int) -> NotificationQuerySet:
    return Notification.objects.using(_alias()).published().filter(stream=stream_id)


def _alias() -> str:
    return router.db_for_write(Stream)
