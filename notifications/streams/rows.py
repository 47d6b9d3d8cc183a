"""The rows of streams: found, made, held, locked and removed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from django.db import connections, transaction
from django.db.models import QuerySet

from ..database.locks import hold_clause
from ..models import Notification, Stream, Subscription, database_alias

T = TypeVar("T")

SELECT_IDS = f"SELECT name, id FROM {Stream._meta.db_table} WHERE name IN"  # noqa: S608 - a table

SELECT_HELD = f"SELECT name, id, top FROM {Stream._meta.db_table} WHERE name IN"  # noqa: S608

#: Seconds to wait for a stream that somebody else has locked.
PATIENCE = 1.0

#: Rows per statement: below SQLite's limit on variables with room to spare.
CHUNK = 500


class Held(NamedTuple):
    """A stream that cannot be deleted now."""

    id: int
    top: int


def ids(names: Sequence[str]) -> dict[str, int]:
    """Primary keys of those streams of these names that exist."""
    found: dict[str, int] = {}
    with connections[database_alias()].cursor() as cursor:
        for chunk in chunks(names):
            places = ", ".join(["%s"] * len(chunk))
            # Written out, because every notify() begins with it: the ORM takes 0.3 ms.
            cursor.execute(f"{SELECT_IDS} ({places})", chunk)
            found |= dict(cursor.fetchall())
    return found


def ensure(names: Iterable[str]) -> dict[str, Stream]:
    """The streams of these names, made where missing; safe against others doing the same.

    For code outside of callers' transactions: whoever else needs the same new stream waits until
    this transaction ends.
    """
    found: dict[str, Stream] = {}
    for chunk in chunks(sorted(set(names))):
        found |= _by_name(chunk)
        missing = [name for name in chunk if name not in found]
        if missing:
            make(missing)
            found |= _by_name(missing)
    return found


def make(names: Sequence[str]) -> None:
    """Make the streams of these names, except those that exist.

    In the order of their names, so that two that make the same ones wait for each other instead of
    locking each other out. Not in a caller's transaction, unless nobody else can need them yet.
    """
    for chunk in chunks(sorted(names)):
        Stream.objects.bulk_create([Stream(name=name) for name in chunk], ignore_conflicts=True)


def hold(names: Sequence[str], *, wait: bool = False) -> dict[str, Held]:
    """Those of these streams that exist, kept from being deleted until the transaction ends.

    Args:
        names: of streams.
        wait: for whoever is deleting one; by default it is left out.
    """
    found: dict[str, Held] = {}
    connection = connections[database_alias()]
    with connection.cursor() as cursor:
        for chunk in chunks(names):
            places = ", ".join(["%s"] * len(chunk))
            cursor.execute(f"{SELECT_HELD} ({places}) {hold_clause(connection, wait=wait)}", chunk)
            found |= {name: Held(pk, top) for name, pk, top in cursor.fetchall()}
    return found


def clear(name: str) -> None:
    """Delete a stream's notifications and subscriptions; nobody waits for the stream meanwhile.

    The stream itself is left for :func:`remove`: who writes to it in an open transaction would have
    to wait for the end of this one, and then fail.
    """
    rows = Notification.objects.using(database_alias())
    for notifications in (rows.filter(stream__name=name), rows.filter(channel=name)):
        while ids := list(notifications.order_by("pk").values_list("pk", flat=True)[:CHUNK]):
            rows.filter(pk__in=ids).delete()
    Subscription.objects.using(database_alias()).filter(stream__name=name).delete()


def remove(name: str) -> bool:
    """Delete a stream with its notifications and subscriptions.

    Returns:
        False if somebody is using it in an open transaction: it is left to pruning.
    """

    def clear_it(stream: Stream) -> bool:
        clear(name)
        return True

    return remove_if(name, clear_it)


def remove_unused(name: str) -> bool:
    """Delete a stream that nobody is subscribed to and that never had a notification.

    Returns:
        Was it deleted?
    """
    return remove_if(name, lambda stream: stream.top == 0 and is_empty(stream))


def is_empty(stream: Stream) -> bool:
    """Has it neither subscriptions nor notifications?"""
    theirs = (
        Subscription.objects.using(database_alias()),
        Notification.objects.using(database_alias()),
    )
    return not any(rows.filter(stream=stream).exists() for rows in theirs)


def remove_if(name: str, is_wanted: Callable[[Stream], bool]) -> bool:
    """Delete a stream, if that is still wanted when nobody can use it any more.

    What is still to be placed in a stream of this name stays, and makes another one.

    Args:
        name: of the stream.
        is_wanted: asked with the locked stream.

    Returns:
        Was it deleted?
    """
    rows = _rows().filter(name=name)
    features = connections[database_alias()].features
    with transaction.atomic(using=database_alias()):
        stream = rows.select_for_update(
            skip_locked=features.has_select_for_update_skip_locked
        ).first()
        if stream is None or not is_wanted(stream):
            return False
        rows.delete()
    return True


def locked(rows: QuerySet[Stream], *, skip_locked: bool = False) -> QuerySet[Stream]:
    """These streams in the order of their primary keys, locked until the transaction ends.

    With NO KEY: for a plain ``FOR UPDATE`` everybody would have to wait who commits a notification
    or subscription of these streams, because its foreign key takes ``FOR KEY SHARE`` then.
    SQLite has locked the whole database when its transaction began (BEGIN IMMEDIATE).
    """
    features = connections[rows.db].features
    return rows.select_for_update(
        no_key=features.has_select_for_no_key_update,
        skip_locked=skip_locked and features.has_select_for_update_skip_locked,
    ).order_by("pk")


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """``items`` in slices of ``size``: what one statement can take."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _rows() -> QuerySet[Stream]:
    # A replica may not know yet what was made or locked just now.
    return Stream.objects.using(database_alias())


def _by_name(names: Iterable[str]) -> dict[str, Stream]:
    return {stream.name: stream for stream in _rows().filter(name__in=names)}
