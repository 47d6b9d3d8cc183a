"""Names of streams, and who may read and write which.

====================  ==================================  ===============================
name                  who reads it                        who may write to it as a client
====================  ==================================  ===============================
``user:<id>``         that user                           ``notifications.send_private``
``broadcast``         every active user                   ``notifications.send_broadcast``
``staff``             users with ``is_staff``             ``notifications.send_broadcast``
``group:<id>``        members of that Django group        ``notifications.send_broadcast``
``topic:<slug>``      see :mod:`notifications.streams.topics`     ``notifications.send_broadcast``
====================  ==================================  ===============================
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import connections, router, transaction
from django.db.models import QuerySet

from ..conf import TOPIC_SLUG
from ..database.locks import hold_clause
from ..models import Notification, Stream, Subscription
from ..texts import is_storable, plain
from .topics import may_read_topic, may_read_topics

T = TypeVar("T")

BROADCAST = "broadcast"
STAFF = "staff"
SHARED_KINDS = ("broadcast", "staff", "group", "topic")

GROUP = re.compile(r"[1-9][0-9]{0,17}\Z")
TOPIC = TOPIC_SLUG

SELECT_IDS = f"SELECT name, id FROM {Stream._meta.db_table} WHERE name IN"  # noqa: S608 - a table

SELECT_HELD = f"SELECT name, id, top FROM {Stream._meta.db_table} WHERE name IN"  # noqa: S608

#: Seconds to wait for a stream that somebody else has locked.
PATIENCE = 1.0

#: Rows per statement: below SQLite's limit on variables with room to spare.
CHUNK = 500


class UnknownStream(ValueError):
    """A name that no stream can have."""


class StreamName(NamedTuple):
    kind: str
    key: str


class Held(NamedTuple):
    """A stream that cannot be deleted now."""

    id: int
    top: int


def parse(name: str) -> StreamName:
    """Take a name apart.

    Raises:
        UnknownStream: the name has none of the five forms.
    """
    name = plain(name)
    if name in (BROADCAST, STAFF):
        return StreamName(name, "")
    kind, colon, key = name.partition(":")
    if not colon or not key or len(name) > 255 or not is_storable(name):
        raise UnknownStream(name)
    if kind == "topic" and TOPIC.match(key):
        return StreamName(kind, key)
    if kind == "group" and GROUP.match(key):
        return StreamName(kind, key)
    if kind == "user":
        return StreamName(kind, key)
    raise UnknownStream(name)


def user_stream(user_id: Any) -> str:
    return f"user:{user_id}"


def group_stream(group_id: Any) -> str:
    return f"group:{group_id}"


def topic_stream(slug: str) -> str:
    """The stream of a topic.

    Raises:
        UnknownStream: ``slug`` is not 1–100 letters, digits, ``-``, ``_`` or (not first) ``.``.
    """
    return "topic:" + parse(f"topic:{plain(slug)}").key


def is_topic(name: str) -> bool:
    return name.startswith("topic:")


def is_private(name: str) -> bool:
    return name.startswith("user:")


def may_read(user: Any, name: str) -> bool:
    """May ``user`` read the stream ``name`` now? Asks the database for groups.

    Raises:
        UnknownStream: see :func:`parse`.
        Undecided: see :func:`notifications.streams.topics.may_read_topic`.
    """
    kind, key = parse(name)
    if not user.is_active:
        return False
    if kind == "user":
        return key == str(user.pk)
    if kind == "staff":
        return bool(getattr(user, "is_staff", False))
    if kind == "group":
        return hasattr(user, "groups") and user.groups.filter(pk=int(key)).exists()
    if kind == "topic":
        return may_read_topic(user, key)
    return True


def readable_topics(
    wanted: Iterable[tuple[Any, Sequence[str]]], patience: float
) -> tuple[dict[Any, list[str]], set[Any]]:
    """Those of these names of topics that each user may read now.

    Args:
        wanted: pairs of a user and names.
        patience: see :func:`notifications.streams.topics.may_read_topics`; and what it raises.

    Returns:
        The names by primary key, and the users of whom it is not known yet.
    """
    slugs = [
        (user, {name: parse(name).key for name in names})
        for user, names in wanted
        if names and user.is_active
    ]
    answers = may_read_topics([(user, list(keys.values())) for user, keys in slugs], patience)
    found = {
        user.pk: [name for name, slug in keys.items() if answers.readable[user.pk][slug]]
        for user, keys in slugs
        if user.pk in answers.readable
    }
    return found, set(answers.undecided)


def may_publish(user: Any, name: str) -> bool:
    """May ``user``, as a client, write to the stream ``name``?

    Raises:
        UnknownStream: see :func:`parse`.
    """
    if not user.is_active:
        return False
    private = parse(name).kind == "user"
    return bool(
        user.has_perm("notifications.send_private" if private else "notifications.send_broadcast")
    )


def has_audience(name: str) -> bool:
    """Is there a user or group behind the name? (A topic needs nobody to exist.)

    Only the name that the user reads will do: ``user:07`` finds user 7, but nobody reads it.
    """
    kind, key = parse(name)
    if kind == "group":
        return Group.objects.filter(pk=int(key)).exists()
    if kind != "user":
        return True
    users = get_user_model()
    try:
        found = users._default_manager.filter(pk=key).values_list("pk", flat=True).first()
    except (ValueError, TypeError, OverflowError, ValidationError):  # no key of this user model
        return False
    return found is not None and str(found) == key


def names_by_user(users: Iterable[Any]) -> dict[Any, list[str]]:
    """The streams that each active user reads without asking: own, broadcast, staff, groups.

    One query for the groups of all. Inactive users have none.
    """
    active = [user for user in users if user.is_active]
    names = {user.pk: [user_stream(user.pk), BROADCAST] for user in active}
    for user in active:
        if getattr(user, "is_staff", False):
            names[user.pk].append(STAFF)
    for user_id, group_ids in _groups_by_user(list(names)).items():
        names[user_id].extend(group_stream(group_id) for group_id in group_ids)
    return names


def _groups_by_user(user_ids: list[Any]) -> dict[Any, list[int]]:
    membership = getattr(get_user_model(), "groups", None)
    if membership is None:
        return {}
    user, group = membership.field.m2m_field_name(), membership.field.m2m_reverse_field_name()
    groups: dict[Any, list[int]] = defaultdict(list)
    for chunk in chunks(user_ids):
        rows = membership.through._default_manager.filter(**{f"{user}__in": chunk})
        for user_id, group_id in rows.order_by(group).values_list(user, group):
            groups[user_id].append(group_id)
    return groups


def ids(names: Sequence[str]) -> dict[str, int]:
    """Primary keys of those streams of these names that exist."""
    found: dict[str, int] = {}
    with connections[_alias()].cursor() as cursor:
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
    connection = connections[_alias()]
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
    rows = Notification.objects.using(_alias())
    for notifications in (rows.filter(stream__name=name), rows.filter(channel=name)):
        while ids := list(notifications.order_by("pk").values_list("pk", flat=True)[:CHUNK]):
            rows.filter(pk__in=ids).delete()
    Subscription.objects.using(_alias()).filter(stream__name=name).delete()


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
    theirs = (Subscription.objects.using(_alias()), Notification.objects.using(_alias()))
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
    features = connections[_alias()].features
    with transaction.atomic(using=_alias()):
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


def _alias() -> str:
    return router.db_for_write(Stream)


def _rows() -> QuerySet[Stream]:
    # A replica may not know yet what was made or locked just now.
    return Stream.objects.using(_alias())


def _by_name(names: Iterable[str]) -> dict[str, Stream]:
    return {stream.name: stream for stream in _rows().filter(name__in=names)}
