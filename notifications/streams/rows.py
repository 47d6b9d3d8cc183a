"""The rows of streams: finding, creating, holding, locking and removing them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

from ..database.locks import hold_clause
from ..database.transactions import among, listed
from ..models import Notification, Stream, Subscription, database_alias

T = TypeVar("T")

SELECT_IDS = f"SELECT name, id FROM {Stream._meta.db_table} WHERE"  # noqa: S608 - a table

#: SQLite needs the WHERE, or it would take the ON for that of a join.
INSERT = f"""
    INSERT INTO {Stream._meta.db_table} (name, epoch, top, floor, revision)
    SELECT value, {{epoch}}, 0, 0, 0 FROM {{wanted}} WHERE TRUE
    ON CONFLICT DO NOTHING RETURNING name, id
"""  # noqa: S608 - a table

#: An epoch as :func:`~notifications.models.new_epoch` makes it, by database vendor.
NEW_EPOCH = {
    "postgresql": "left(gen_random_uuid()::text, 8)",
    "sqlite": "lower(hex(randomblob(4)))",
}

SELECT_HELD = f"SELECT name, id, top FROM {Stream._meta.db_table} WHERE name IN"  # noqa: S608

#: Seconds to wait for a stream that another transaction has locked.
MAX_LOCK_WAIT = 1.0

#: Seconds that creating streams waits for another transaction that creates one of them.
CREATE_TIMEOUT = 0.2

#: Rows per statement: below SQLite's limit on variables with room to spare.
CHUNK = 500


class Held(NamedTuple):
    """A stream that cannot be deleted until the transaction ends."""

    id: int
    top: int


def ids(names: Sequence[str]) -> dict[str, int]:
    """Primary keys by name, of the streams that exist."""
    if not names:
        return {}
    connection = connections[database_alias()]
    condition, listed = among(connection, "name", names)
    with connection.cursor() as cursor:
        # Raw SQL, because every notify() begins with this query and the ORM takes 0.3 ms.
        cursor.execute(f"{SELECT_IDS} {condition}", [listed])
        return dict(cursor.fetchall())


def ensure(names: Iterable[str]) -> dict[str, Stream]:
    """Return the streams of these names, creating missing ones. Safe under concurrency.

    Do not call it in a caller's transaction: others who need the same new stream would wait until
    that ends.
    """
    found: dict[str, Stream] = {}
    for chunk in chunks(sorted(set(names))):
        found |= _by_name(chunk)
        missing = [name for name in chunk if name not in found]
        if missing:
            create(missing)
            found |= _by_name(missing)
    return found


def create(names: Sequence[str]) -> dict[str, int]:
    """Create the streams of these names that do not exist.

    They are created in the order of their names, so that concurrent calls do not deadlock. Do not
    call it in a caller's transaction, unless nobody else can need these streams yet.

    Returns:
        The primary keys of those that it has created, by name.
    """
    if not names:
        return {}
    connection = connections[database_alias()]
    wanted, parameters = listed(connection, sorted(names))
    statement = INSERT.format(epoch=NEW_EPOCH[connection.vendor], wanted=wanted)
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return dict(cursor.fetchall())


def hold(names: Sequence[str], *, wait: bool = False) -> dict[str, Held]:
    """Protect streams from being deleted until the transaction ends.

    Args:
        names: names of streams.
        wait: wait for a transaction that is deleting one of them; by default that one is left out.

    Returns:
        The streams that exist, by name.
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
    """Delete the notifications and subscriptions of a stream, without locking the stream.

    The stream itself is left to :func:`remove`: a transaction that writes to it would have to wait
    for the end of this one, and then fail.
    """
    rows = Notification.objects.using(database_alias())
    for notifications in (rows.filter(stream__name=name), rows.filter(channel=name)):
        while ids := list(notifications.order_by("pk").values_list("pk", flat=True)[:CHUNK]):
            rows.filter(pk__in=ids).delete()
    Subscription.objects.using(database_alias()).filter(stream__name=name).delete()


def remove(name: str) -> bool:
    """Delete a stream with its notifications and subscriptions.

    Returns:
        False if there is no such stream, or if an open transaction is using it: then it is left to
        pruning.
    """

    def clear_it(stream: Stream) -> bool:
        clear(name)
        return True

    return remove_if(name, clear_it)


def remove_unused(name: str) -> bool:
    """Delete a stream, if nobody is subscribed to it and it never had a notification.

    Returns:
        Whether it was deleted.
    """
    return remove_if(name, lambda stream: stream.top == 0 and is_empty(stream))


def is_empty(stream: Stream) -> bool:
    """Return whether a stream has neither subscriptions nor notifications."""
    theirs = (
        Subscription.objects.using(database_alias()),
        Notification.objects.using(database_alias()),
    )
    return not any(rows.filter(stream=stream).exists() for rows in theirs)


def remove_if(name: str, is_wanted: Callable[[Stream], bool]) -> bool:
    """Delete a stream, if ``is_wanted`` confirms it while the stream is locked.

    Unplaced notifications for this name stay, and a new stream is created for them.

    Args:
        name: name of the stream.
        is_wanted: called with the locked stream.

    Returns:
        Whether it was deleted; False also if an open transaction is using it.
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
    """Lock streams until the transaction ends, in the order of their primary keys.

    ``FOR NO KEY UPDATE``, because a plain ``FOR UPDATE`` would block everybody who commits a
    notification or subscription of these streams, whose foreign key takes ``FOR KEY SHARE``.
    SQLite has locked the whole database when the transaction began (``BEGIN IMMEDIATE``).

    Args:
        rows: the streams to lock.
        skip_locked: leave out streams that others have locked, instead of waiting for them.
    """
    features = connections[rows.db].features
    return rows.select_for_update(
        no_key=features.has_select_for_no_key_update,
        skip_locked=skip_locked and features.has_select_for_update_skip_locked,
    ).order_by("pk")


def lock_clause(connection: BaseDatabaseWrapper, *, skip_locked: bool = False) -> str:
    """What :func:`locked` adds to a SELECT, as SQL."""
    if connection.vendor != "postgresql":
        return "ORDER BY id"
    return f"ORDER BY id FOR NO KEY UPDATE{' SKIP LOCKED' if skip_locked else ''}"


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Split ``items`` into slices of at most ``size``: what one statement can take."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _rows() -> QuerySet[Stream]:
    # A replica may lack rows that were created or locked just now.
    return Stream.objects.using(database_alias())


def _by_name(names: Iterable[str]) -> dict[str, Stream]:
    return {stream.name: stream for stream in _rows().filter(name__in=names)}
