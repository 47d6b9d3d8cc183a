"""Moving back the marks of subscriptions that lie above the history of their stream."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import connections, transaction
from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL

from ..database.locks import limit_waiting
from ..database.transactions import update_rows
from ..models import Subscription, database_alias
from .rows import CHUNK, chunks

#: Seconds that a transaction waits for each of its locks. Others must not wait long for it in turn;
#: streams that cannot be renewed now are retried later.
MAX_LOCK_WAIT = 1.0

#: Subscriptions per query that looks for marks to move.
SUBSCRIPTIONS_PER_QUERY = 20 * CHUNK


def move_back(common: Mapping[int, int], newest: Mapping[int, datetime | None]) -> int:
    """Move back the marks that lie above the last common offset of their stream.

    Args:
        common: by stream id, the highest offset that the old and the new history have in common.
        newest: by stream id, when the newest known entry of the old history was published, or None.

    Returns:
        The number of subscriptions with such marks.
    """
    count = 0
    while True:
        keys = list(ahead(common).values_list("pk", flat=True)[:SUBSCRIPTIONS_PER_QUERY])
        for chunk in chunks(sorted(keys)):
            _move_some_back(chunk, common, newest)
        count += len(keys)
        if len(keys) < SUBSCRIPTIONS_PER_QUERY:
            return count


def _move_some_back(
    keys: Sequence[int], common: Mapping[int, int], newest: Mapping[int, datetime | None]
) -> None:
    alias = database_alias()
    no_key = connections[alias].features.has_select_for_no_key_update
    with transaction.atomic(using=alias):
        limit_waiting(database_alias(), MAX_LOCK_WAIT)
        rows = Subscription.objects.using(alias).filter(pk__in=keys).order_by("pk")
        changed = []
        for row in rows.select_for_update(no_key=no_key):
            limit, last = common[row.stream_id], newest[row.stream_id]
            # A user who joined the new history still sees nothing from before joining.
            is_later = last is not None and row.created_at > last
            since = row.since if is_later else min(row.since, limit)
            marks = (row.delivered, row.read, row.archived, row.unmuted)
            changed.append((since, *(min(mark, limit) for mark in marks), row.pk))
        fields = ["since", "delivered", "read", "archived", "unmuted"]
        update_rows(alias, Subscription, fields, changed)


def ahead(common: Mapping[int, int]) -> QuerySet[Subscription]:
    """Subscriptions with a mark above the last common offset of their stream.

    Only ``delivered`` and ``read`` are compared: they have an index, and the other marks of a
    subscription are never above both of them.
    """
    table = f'"{Subscription._meta.db_table}"'
    places = [value for place in common.items() for value in place]

    def beyond(mark: str) -> RawSQL:
        one = f'{table}."stream_id" = %s AND {table}."{mark}" > %s'
        return RawSQL(  # noqa: S611 - all values are parameters
            "(" + ") OR (".join([one] * len(common)) + ")", places, output_field=BooleanField()
        )

    rows = Subscription.objects.using(database_alias())
    return rows.filter(Q(beyond("delivered")) | Q(beyond("read")))
