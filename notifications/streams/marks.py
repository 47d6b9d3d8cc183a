"""Marks of subscriptions that lie beyond their stream's history, moved back to it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import connections, transaction
from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL

from ..database.locks import limit_waiting
from ..database.transactions import update_rows
from ..models import Subscription, database_alias
from .rows import CHUNK, chunks

#: How long a transaction waits for one of its locks, in seconds. Nobody may have to wait
#: long for it in turn: what cannot be renewed now is tried again later.
PATIENCE = 1.0

#: Subscriptions that are found by one query.
KEYS = 20 * CHUNK


def move_back(cuts: Mapping[int, int], newest: Mapping[int, datetime | None]) -> int:
    """Move back the marks that lie above the cut of their stream.

    Returns:
        The number of subscriptions.
    """
    count = 0
    while True:
        keys = list(ahead(cuts).values_list("pk", flat=True)[:KEYS])
        for chunk in chunks(sorted(keys)):
            _move_some_back(chunk, cuts, newest)
        count += len(keys)
        if len(keys) < KEYS:
            return count


def _move_some_back(
    keys: Sequence[int], cuts: Mapping[int, int], newest: Mapping[int, datetime | None]
) -> None:
    alias = database_alias()
    no_key = connections[alias].features.has_select_for_no_key_update
    with transaction.atomic(using=alias):
        limit_waiting(database_alias(), PATIENCE)
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


def ahead(cuts: Mapping[int, int]) -> QuerySet[Subscription]:
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

    rows = Subscription.objects.using(database_alias())
    return rows.filter(Q(beyond("delivered")) | Q(beyond("read")))
