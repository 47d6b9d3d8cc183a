"""Subscriptions of users: joining and leaving streams, muting them."""

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import QuerySet, Subquery
from django.db.models.functions import Greatest

from ..database.transactions import after_commit
from ..models import Stream, Subscription, database_alias
from . import names as stream_names
from . import rows as stream_rows
from .feeds import subscription_from, subscription_rows


def join(user_ids: Iterable[Any], name: str, *, from_start: bool = False) -> None:
    """Subscribe users to a shared stream from its top: they see only what is published later.

    Users who are subscribed already keep their marks. Do not call it in a caller's transaction,
    because the stream is created if it is missing.

    Args:
        user_ids: primary keys of any number of users.
        name: name of the stream.
        from_start: the users see everything in the stream, because it did not exist when they
            should have joined it.
    """
    members = list(user_ids)
    if join_existing(members, name, from_start=from_start):
        return
    stream_rows.ensure([name])
    while not join_existing(members, name, from_start=from_start, wait=True):
        stream_rows.ensure([name])


def join_existing(
    user_ids: Iterable[Any], name: str, *, from_start: bool = False, wait: bool = False
) -> bool:
    """:func:`join`, if the stream exists.

    Args:
        user_ids: primary keys of any number of users.
        name: name of the stream.
        from_start: see :func:`join`.
        wait: wait for a transaction that is deleting the stream; by default the stream counts as
            missing then.

    Returns:
        False if there is no such stream; then nothing was done.
    """
    with transaction.atomic(using=database_alias(), savepoint=False):
        held = stream_rows.hold([name], wait=wait).get(name)
        if held is None:
            return False
        offset = 0 if from_start else held.top
        # In one order over all chunks, so that concurrent calls do not deadlock.
        rows = [subscription_from(user_id, held.id, offset) for user_id in sorted(set(user_ids))]
        Subscription.objects.bulk_create(rows, batch_size=stream_rows.CHUNK, ignore_conflicts=True)
    return True


def leave(user_ids: Iterable[Any], name: str) -> int:
    """Delete the subscriptions of these users to the stream.

    A topic that has no subscriptions left and never had a notification is deleted after the commit.
    If it were deleted before, users who join it would have to wait for the commit.

    Returns:
        The number of subscriptions.
    """
    alias = database_alias()
    count = 0
    with transaction.atomic(using=alias, savepoint=False):
        for chunk in stream_rows.chunks(sorted(set(user_ids))):
            rows = subscription_rows().filter(stream__name=name, user__in=chunk).order_by("user_id")
            # In the same order as acknowledgements, which may be writing the same rows.
            found = list(rows.select_for_update(of=("self",)).values_list("pk", flat=True))
            if found:
                count += subscription_rows().filter(pk__in=found).delete()[0]
    if stream_names.is_topic(name):
        after_commit(alias, stream_rows.remove_unused, name)
    return count


def topics(user_id: Any) -> int:
    """The number of topics that the user is subscribed to."""
    return _of_topics(user_id).count()


def topics_of(user_id: Any) -> list[tuple[str, bool]]:
    """The names of the topics that the user is subscribed to, sorted, and whether each is muted."""
    return list(_of_topics(user_id).order_by("stream__name").values_list("stream__name", "muted"))


def mute(user_id: Any, name: str, muted: bool) -> bool:
    """Mute or unmute a stream for a user.

    Entries that were published while it was muted are never sent, so positions from before can no
    longer be resumed. Unmuting marks everything in the stream as read, older entries too.

    Returns:
        False if the user has no such subscription.
    """
    rows = Subscription.objects.filter(user=user_id, stream__name=name)
    if muted:
        return bool(rows.update(muted=True))
    top = Subquery(Stream.objects.filter(name=name).values("top"))
    unmuted = rows.filter(muted=True).update(
        muted=False,
        unmuted=Greatest("unmuted", top),
        delivered=Greatest("delivered", top),
        read=Greatest("read", top),
    )
    return bool(unmuted) or rows.exists()


def _of_topics(user_id: Any) -> QuerySet[Subscription]:
    return subscription_rows().filter(
        user=user_id, stream__name__startswith=stream_names.TOPIC_PREFIX
    )
