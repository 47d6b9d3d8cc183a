"""``notify`` and ``broadcast``: check, write in the caller's transaction, announce after commit.

Nothing is written before every argument has been checked, and nothing is sent before the caller's
transaction has committed (P2).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Unpack, cast

from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.db.models import QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from ..database.clock import present
from ..database.compiled import Compiled
from ..models import Notification, NotificationQuerySet, Stream, database_alias
from ..options import Audience, Options, Recipients, Text
from ..streams import names as stream_names
from ..streams import rows as stream_rows
from ..texts import plain
from . import immediate
from .drafts import check_names, make_draft
from .inserting import Progress, insert, insert_for_users
from .recipients import EVERYONE, audience, count_in_database, recipients
from .writing import CHUNK, rows_written


def notify(
    to: Recipients,
    title: Text,
    *,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> Sequence[int]:
    """Send a private notification to one or many users.

    It is written in the caller's transaction, and sent after that has committed. Without one, it is
    written in a transaction of its own, all or nothing.

    Texts may be of any subclass of ``str``, or lazy. Lazy texts are evaluated at once, in the
    active language.

    Args:
        to: a user, an iterable of users, or a queryset of users.
        title: plain text with at least one visible character, at most 200 characters. Line breaks
            become spaces.
        body: plain text, at most 10 000 characters.
        url: a path on this site or an http(s) URL.
        kind: a dotted slug such as ``order.shipped``.
        level: ``debug``, ``info``, ``success``, ``warning`` or ``error``.
        data: a dict for the client, at most ``MAX_DATA_SIZE`` bytes as JSON; see
            :func:`notifications.texts.plain_json` for the values.
        actor: the user on whose behalf it is sent.
        key: identifies the notification for each recipient, at most 200 characters: publishing
            again with the same key returns the first notification. Of concurrent calls with one
            key, one is published. "" or None for no key.
        publish_at: aware datetime before which it is not published. Default: now, by the
            database's clock.
        expires_at: aware datetime after which it is neither sent nor listed.
        progress: called after the commit with the number of recipients that have been served so
            far: after each chunk of them, or once for those who got their offsets at once. Its
            errors are logged.

    Returns:
        The primary keys of the notifications, in the order of the recipients: a list, or for many
        recipients an :class:`~notifications.publishing.ids.Ids`, which needs little memory.
        With a ``key`` and inside a transaction, some may turn out to be duplicates; see
        :func:`originals`.

    Raises:
        ValueError: ``to`` contains anything other than saved users.
        ValidationError: another argument is invalid; ``message_dict`` names it.
        TypeError: an option is unknown.
    """
    check_names("notify", options)
    draft = make_draft(title, **options)
    publish_at = options.get("publish_at")
    # A key is compared in Python, and whoever listens wants each row.
    if draft.key is None and not rows_written.has_listeners():
        count = count_in_database(to, immediate.MAX_LOCKED + 1)
        if count > CHUNK:
            users = cast("QuerySet[Any]", to)
            return insert_for_users(draft, users, count, publish_at, progress)
    names = [stream_names.user_stream(user_id) for user_id in recipients(to)]
    ids = insert(draft, names, publish_at, progress)
    return _settled(draft, ids)


def broadcast(
    title: Text,
    *,
    to: Audience = EVERYONE,
    **options: Unpack[Options],
) -> Notification:
    """Send one notification to all readers of a shared stream: one row for any number of readers.

    Args:
        title: see :func:`notify`, also for the other arguments.
        to: ``"everyone"``, ``"staff"``, ``"topic:<slug>"``, a Django ``Group`` or
            ``"group:<id>"``. Any topic is accepted, but nobody can read one that neither
            ``TOPICS`` nor ``TOPIC_PERMISSION`` allows.

    Returns:
        The notification; with a known ``key`` the first one. Inside a transaction its ``stream``
        may be None until the commit; ``stream_name`` has the name.

    Raises:
        ValueError: ``to`` is none of these.
        ValidationError: another argument is invalid; ``message_dict`` names it.
        TypeError: an option is unknown.
    """
    check_names("broadcast", options)
    options.setdefault("kind", "broadcast")
    draft = make_draft(title, **options)
    name = audience(to)
    (pk,) = insert(draft, [name], options.get("publish_at"))
    (pk,) = _settled(draft, [pk])
    return _with_stream(pk)


async def anotify(
    to: Recipients,
    title: Text,
    *,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> Sequence[int]:
    """:func:`notify` for asynchronous code; the same arguments, result and errors."""
    return await sync_to_async(notify)(to, title, progress=progress, **options)


async def abroadcast(
    title: Text,
    *,
    to: Audience = EVERYONE,
    **options: Unpack[Options],
) -> Notification:
    """:func:`broadcast` for asynchronous code; the same arguments, result and errors."""
    return await sync_to_async(broadcast)(title, to=to, **options)


def publish(name: str, title: Text, **options: Unpack[Options]) -> int:
    """Publish to a stream by its name, as a client's ``publish`` command and the admin do.

    Args:
        name: name of any stream; the caller checks whether it has an audience.
        title: see :func:`notify`, also for the other arguments.

    Returns:
        The primary key of the notification; see :func:`originals`.

    Raises:
        UnknownStream: no stream can have this name.
        ValidationError: another argument is invalid; ``message_dict`` names it.
        TypeError: an option is unknown.
    """
    return publish_to_each([name], title, **options)[0]


def publish_to_each(names: Sequence[str], title: Text, **options: Unpack[Options]) -> Sequence[int]:
    """Publish one notification to each of these streams, in one transaction.

    Args:
        names: names of streams, each of them once; see :func:`publish`.
        title: see :func:`notify`, also for the other arguments.

    Returns:
        The primary keys of the notifications in the order of the names; see :func:`originals`.

    Raises:
        UnknownStream, ValidationError, TypeError: as :func:`publish`; nothing is written then.
    """
    check_names("publish", options)
    names = [plain(name) for name in names]
    for name in names:
        stream_names.parse(name)
    draft = make_draft(title, **options)
    return _settled(draft, insert(draft, names, options.get("publish_at")))


def originals(ids: Iterable[int]) -> list[int]:
    """Replace the primary keys of duplicates by those of the notifications that were kept.

    Two transactions that use one key at the same time do not wait for each other: each gets the
    primary key of its own row. After both have committed, the first row is published, and the other
    one is dropped as its duplicate.

    Args:
        ids: primary keys that a call with a ``key`` has returned.

    Returns:
        The primary keys of the kept notifications, in the same order.
    """
    wanted = list(ids)
    found: dict[int, int] = {}
    for chunk in stream_rows.chunks(wanted):
        dropped = _rows().filter(pk__in=chunk, duplicate_of__isnull=False)
        found |= dict(dropped.values_list("pk", "duplicate_of_id"))
    return [found.get(pk, pk) for pk in wanted]


def withdraw(notifications: QuerySet[Notification]) -> int:
    """Cancel waiting notifications, and hide published ones.

    Row locks keep this and sequencing apart: this waits for a notification that is being sequenced,
    and sequencing skips one that is being withdrawn. In place of a duplicate, the notification that
    was kept is withdrawn.

    Args:
        notifications: the notifications to withdraw.

    Returns:
        The number of notifications that this call has withdrawn.
    """
    alias = database_alias()
    chosen = _rows().filter(pk__in=notifications.using(alias).values("pk"))
    meant = dict(chosen.values_list("pk", Coalesce("duplicate_of_id", "pk")))
    by_meant: dict[int, list[int]] = defaultdict(list)
    for pk, kept in meant.items():
        by_meant[kept].append(pk)
    count = 0
    with transaction.atomic(using=alias):
        # Locked in the order of their primary keys, so that concurrent calls do not deadlock.
        for chunk in stream_rows.chunks(sorted(by_meant)):
            rows = _rows().filter(pk__in=chunk, withdrawn_at=None).order_by("pk")
            no_key = connections[alias].features.has_select_for_no_key_update
            ids = list(rows.select_for_update(no_key=no_key).values_list("pk", flat=True))
            # Waiting for the lock may have let a notification change, so that the queryset no
            # longer contains it.
            asked = [pk for kept in ids for pk in by_meant[kept]]
            still = {meant[pk] for pk in chosen.filter(pk__in=asked).values_list("pk", flat=True)}
            count += _rows().filter(pk__in=still).update(withdrawn_at=present(alias))
    return count


def _with_stream(pk: int) -> Notification:
    """Read a notification and its stream, which takes the ORM longer than publishing it."""
    alias = database_alias()
    (row,) = _WITH_STREAM.rows(alias, [pk])
    own, of_stream = row[: len(_FIELDS)], row[len(_FIELDS) :]
    found = Notification.from_db(alias, _FIELDS, own)
    found.stream = None if found.stream_id is None else Stream.from_db(alias, _OF_STREAM, of_stream)
    return found


_FIELDS = [field.attname for field in Notification._meta.concrete_fields]
_OF_STREAM = [field.attname for field in Stream._meta.concrete_fields]


def _fields_of_both(alias: str, among: Combinable) -> QuerySet[Any, Any]:
    rows = Notification.objects.using(alias).filter(among)
    return rows.values_list(*_FIELDS, *(f"stream__{name}" for name in _OF_STREAM))


_WITH_STREAM = Compiled(
    _fields_of_both,
    lambda: Notification._meta.get_field("id"),
    f'"{Notification._meta.db_table}"."id"',
)


def _rows() -> NotificationQuerySet:
    return Notification.objects.using(database_alias())


def _settled(draft: Notification, ids: Sequence[int]) -> Sequence[int]:
    """Apply :func:`originals` to a keyed call that has committed, and so has been placed."""
    if draft.key is None or connections[database_alias()].in_atomic_block:
        return ids
    return originals(ids)
