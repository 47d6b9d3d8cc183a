"""``notify`` and ``broadcast``: check, write in the caller's transaction, sequence after commit.

Nothing is written before every argument is found good, and nothing is sent before the caller's
transaction has committed (P2).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Unpack

from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.db.models import QuerySet
from django.db.models.functions import Coalesce

from ..database.clock import present
from ..database.transactions import after_commit
from ..models import Notification, NotificationQuerySet, database_alias
from ..options import Options
from ..streams import names as stream_names
from ..streams import rows as stream_rows
from ..streams.encoding import encode_content
from ..texts import plain
from .drafts import check_names, make_draft
from .recipients import EVERYONE, audience, recipients
from .sequencing import sequence_after_commit
from .writing import Written, find_known, write_placed, write_unplaced

Progress = Callable[[int], None]


def notify(
    to: Any,
    title: str,
    *,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> list[int]:
    """Send a private notification to one user or to many.

    Written in the caller's transaction; it leaves when that commits.

    Texts may be of any subclass of ``str``, or lazy: these become what they say now, in the
    language that is active.

    Args:
        to: a user, an iterable of users, or a queryset of users.
        title: plain text, at most 200 characters, with something to see in it. It is one line:
            line breaks become spaces.
        body: plain text, at most 10 000 characters.
        url: a path on this site or an http(s) URL.
        kind: a dotted slug such as ``order.shipped``.
        level: ``debug``, ``info``, ``success``, ``warning`` or ``error``.
        data: anything JSON for the client, at most ``MAX_DATA_SIZE`` bytes of it; see
            :func:`notifications.texts.plain_json`.
        actor: the user on whose behalf it is sent.
        key: publishing again to the same recipient with the same key gives the first one; at
            most 200 characters, "" for none. Of those that are written at the same time one is
            published.
        publish_at: aware datetime; it waits until then. Default: now, by the database's clock.
        expires_at: aware datetime; it is not sent or listed after.
        progress: called with the number of recipients done after each chunk that was sent, so
            after the commit. What it raises is logged, not raised.

    Returns:
        The primary keys of the notifications, in the order of the recipients. With a ``key``, and
        inside of a transaction, they may lead to others: see :func:`originals`.

    Raises:
        ValueError: ``to`` holds something else than saved users.
        ValidationError: another argument is bad; ``message_dict`` names it.
    """
    check_names("notify", options)
    draft = make_draft(title, **options)
    publish_at = options.get("publish_at")
    ids: list[int] = []
    with transaction.atomic(using=database_alias()):
        for user_ids in stream_rows.chunks(recipients(to)):
            names = [stream_names.user_stream(user_id) for user_id in user_ids]
            ids += _write(draft, names, publish_at)
            if progress is not None:
                # Behind the sequencing of the same chunk, which takes most of the time.
                after_commit(database_alias(), progress, len(ids))
    return _settled(draft, ids)


def broadcast(
    title: str,
    *,
    to: Any = EVERYONE,
    **options: Unpack[Options],
) -> Notification:
    """Send one notification to all readers of a shared stream. One row, however many readers.

    Args:
        title: as of :func:`notify`.
        to: ``"everyone"``, ``"staff"``, ``"topic:<slug>"``, a Django ``Group`` or the
            ``"group:<id>"`` of one. Any topic will do, but nobody can read one that neither
            ``TOPICS`` nor ``TOPIC_PERMISSION`` lets be read.

    The other arguments are those of :func:`notify`.

    Returns:
        The notification; with a known ``key`` the first one. Inside of a transaction a stream may
        be missing that is made after the commit; ``stream_name`` tells it.

    Raises:
        ValueError: ``to`` is none of these.
        ValidationError: another argument is bad; ``message_dict`` names it.
    """
    check_names("broadcast", options)
    options.setdefault("kind", "broadcast")
    draft = make_draft(title, **options)
    name = audience(to)
    with transaction.atomic(using=database_alias()):
        (pk,) = _write(draft, [name], options.get("publish_at"))
    (pk,) = _settled(draft, [pk])
    return _rows().select_related("stream").get(pk=pk)


async def anotify(
    to: Any,
    title: str,
    *,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> list[int]:
    """:func:`notify` for asynchronous code; the same arguments, result and errors."""
    return await sync_to_async(notify)(to, title, progress=progress, **options)


async def abroadcast(
    title: str,
    *,
    to: Any = EVERYONE,
    **options: Unpack[Options],
) -> Notification:
    """:func:`broadcast` for asynchronous code; the same arguments, result and errors."""
    return await sync_to_async(broadcast)(title, to=to, **options)


def publish(name: str, title: str, **options: Unpack[Options]) -> int:
    """Write to a stream by its name: what a client's ``publish`` command and the admin do.

    Args:
        name: of any stream; whether anybody reads it is the caller's question.

    The other arguments are those of :func:`notify`, except ``progress``.

    Returns:
        The primary key of the notification; see :func:`originals`.

    Raises:
        UnknownStream: no such name.
        ValidationError: as :func:`notify`.
    """
    check_names("publish", options)
    name = plain(name)
    stream_names.parse(name)
    draft = make_draft(title, **options)
    with transaction.atomic(using=database_alias()):
        (pk,) = _write(draft, [name], options.get("publish_at"))
    return _settled(draft, [pk])[0]


def originals(ids: Iterable[int]) -> list[int]:
    """What these primary keys, once returned by a call with a ``key``, lead to.

    Two transactions that use one key at the same time do not wait for each other: each gets the
    primary key of its own row. After both have committed the first is published; the other is
    dropped and leads to it.

    Args:
        ids: primary keys of notifications.

    Returns:
        For each, in their order, that of the notification which was kept: mostly itself.
    """
    wanted = list(ids)
    found: dict[int, int] = {}
    for chunk in stream_rows.chunks(wanted):
        dropped = _rows().filter(pk__in=chunk, duplicate_of__isnull=False)
        found |= dict(dropped.values_list("pk", "duplicate_of_id"))
    return [found.get(pk, pk) for pk in wanted]


def withdraw(notifications: QuerySet[Notification]) -> int:
    """Cancel waiting notifications and stop showing published ones.

    A notification is either published or cancelled, never both at once: whoever comes second,
    this or sequencing, waits for or steps over the other's lock. For one that was dropped as a
    duplicate the first with its key is withdrawn.

    Returns:
        How many were withdrawn now.
    """
    alias = database_alias()
    chosen = _rows().filter(pk__in=notifications.using(alias).values("pk"))
    meant = dict(chosen.values_list("pk", Coalesce("duplicate_of_id", "pk")))
    by_meant: dict[int, list[int]] = defaultdict(list)
    for pk, kept in meant.items():
        by_meant[kept].append(pk)
    count = 0
    with transaction.atomic(using=alias):
        # Locked in the order of their keys: two that withdraw the same ones do not lock each other
        # out.
        for chunk in stream_rows.chunks(sorted(by_meant)):
            rows = _rows().filter(pk__in=chunk, withdrawn_at=None).order_by("pk")
            no_key = connections[alias].features.has_select_for_no_key_update
            ids = list(rows.select_for_update(no_key=no_key).values_list("pk", flat=True))
            # One that was published while its lock was waited for may not be meant any more.
            asked = [pk for kept in ids for pk in by_meant[kept]]
            still = {meant[pk] for pk in chosen.filter(pk__in=asked).values_list("pk", flat=True)}
            count += _rows().filter(pk__in=still).update(withdrawn_at=present(alias))
    return count


def _rows() -> NotificationQuerySet:
    return Notification.objects.using(database_alias())


def _write(draft: Notification, names: list[str], publish_at: datetime | None) -> list[int]:
    """Insert the draft for each stream; place and sequence these after the caller's commit.

    Nothing here waits for another transaction: no stream is made, and a key is compared with what
    was committed. What needs either is written without its stream.
    """
    at_once = publish_at is None
    content = encode_content(draft)
    ids: dict[str, int] = {}
    placed: dict[int, int] = {}
    unplaced: dict[str, int] = {}
    if draft.key is None:
        by_name = stream_rows.ids(names)
        placed = write_placed(draft, by_name.values(), at_once=at_once)
        ids = {name: placed[pk] for name, pk in by_name.items() if pk in placed}
    while missing := [name for name in names if name not in ids]:
        new = write_unplaced(draft, missing, at_once=at_once)
        unplaced |= new
        ids |= new
        if draft.key is not None:
            # Those that were there; what has been pruned since then is written once more.
            ids |= find_known([name for name in missing if name not in new], draft.key)
    new_ids = frozenset((*placed.values(), *unplaced.values()))
    written = Written(new_ids, content, draft.expires_at)
    after_commit(database_alias(), sequence_after_commit, list(placed), list(unplaced), written)
    return [ids[name] for name in names]


def _settled(draft: Notification, ids: list[int]) -> list[int]:
    """:func:`originals` of a keyed call, where its own commit has settled them already."""
    if draft.key is None or connections[database_alias()].in_atomic_block:
        return ids
    return originals(ids)
