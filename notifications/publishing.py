"""``notify`` and ``broadcast``: check, write in the caller's transaction, sequence after commit.

Nothing is written before every argument is found good, and nothing is sent before the caller's
transaction has committed (P2).
"""

import json
import logging
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MaxLengthValidator
from django.db import router, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.functional import Promise

from . import streams, topics
from .conf import app_settings
from .database import after_commit
from .history import encode_data
from .models import Notification, NotificationQuerySet, validate_text
from .sequencing import sequence_after_commit
from .writing import write, written

logger = logging.getLogger(__name__)

EVERYONE = "everyone"

#: A NUL escaped in JSON, behind an even number of backslashes.
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

#: A TextField's ``max_length`` is checked by forms only.
check_body_length = MaxLengthValidator(10_000)

Progress = Callable[[int], None]
Errors = dict[str, Any]


def notify(
    to: Any,
    title: str,
    *,
    body: str = "",
    url: str = "",
    kind: str = "message",
    level: str = "info",
    data: dict[str, Any] | None = None,
    actor: Any = None,
    key: str | None = None,
    publish_at: datetime | None = None,
    expires_at: datetime | None = None,
    progress: Progress | None = None,
) -> list[int]:
    """Send a private notification to one user or to many.

    Written in the caller's transaction; it leaves when that commits.

    Args:
        to: a user, an iterable of users, or a queryset of users.
        title: plain text, at most 200 characters.
        body: plain text, at most 10 000 characters.
        url: a path on this site or an http(s) URL.
        kind: a dotted slug such as ``order.shipped``.
        level: ``debug``, ``info``, ``success``, ``warning`` or ``error``.
        data: anything JSON for the client, at most ``MAX_DATA_SIZE`` bytes of it.
        actor: the user on whose behalf it is sent.
        key: publishing again to the same recipient with the same key gives the first one; at
            most 200 characters, "" for none.
        publish_at: aware datetime; it waits until then.
        expires_at: aware datetime; it is not sent or listed after.
        progress: called with the number of recipients done after each chunk that was sent, so
            after the commit. What it raises is logged, not raised.

    Returns:
        The primary keys of the notifications, in the order of the recipients.

    Raises:
        ValueError: ``to`` holds something else than saved users.
        ValidationError: another argument is bad; ``message_dict`` names it.
    """
    draft = _draft(
        title,
        body=body,
        url=url,
        kind=kind,
        level=level,
        data=data,
        actor=actor,
        key=key,
        publish_at=publish_at,
        expires_at=expires_at,
    )
    ids: list[int] = []
    with transaction.atomic(using=_alias()):
        for user_ids in streams.chunks(_recipients(to)):
            ids += _write(draft, [streams.user_stream(user_id) for user_id in user_ids])
            if progress is not None:
                # Behind the sequencing of the same chunk, which takes most of the time.
                after_commit(_alias(), progress, len(ids))
    return ids


def broadcast(
    title: str,
    *,
    to: Any = EVERYONE,
    body: str = "",
    url: str = "",
    kind: str = "broadcast",
    level: str = "info",
    data: dict[str, Any] | None = None,
    actor: Any = None,
    key: str | None = None,
    publish_at: datetime | None = None,
    expires_at: datetime | None = None,
) -> Notification:
    """Send one notification to all readers of a shared stream. One row, however many readers.

    Args:
        title: plain text, at most 200 characters.
        to: ``"everyone"``, ``"staff"``, ``"topic:<slug>"``, a Django ``Group`` or the
            ``"group:<id>"`` of one. Any topic will do, but nobody can read one that neither
            ``TOPICS`` nor ``TOPIC_PERMISSION`` lets be read.

    The other arguments are those of :func:`notify`.

    Returns:
        The notification; with a known ``key`` the one that was published first.

    Raises:
        ValueError: ``to`` is none of these.
        ValidationError: another argument is bad; ``message_dict`` names it.
    """
    draft = _draft(
        title,
        body=body,
        url=url,
        kind=kind,
        level=level,
        data=data,
        actor=actor,
        key=key,
        publish_at=publish_at,
        expires_at=expires_at,
    )
    name = audience(to)
    with transaction.atomic(using=_alias()):
        (pk,) = _write(draft, [name])
    return _rows().select_related("stream").get(pk=pk)


async def anotify(to: Any, title: str, **options: Any) -> list[int]:
    """:func:`notify` for asynchronous code; the same arguments, result and errors."""
    return await sync_to_async(notify)(to, title, **options)


async def abroadcast(title: str, **options: Any) -> Notification:
    """:func:`broadcast` for asynchronous code; the same arguments, result and errors."""
    return await sync_to_async(broadcast)(title, **options)


def publish(name: str, title: str, **options: Any) -> int:
    """Write to a stream by its name: what a client's ``publish`` command and the admin do.

    Args:
        name: of any stream; whether anybody reads it is the caller's question.

    The other arguments are those of :func:`notify`, except ``progress``.

    Returns:
        The primary key of the notification.

    Raises:
        UnknownStream: no such name.
        ValidationError: as :func:`notify`.
    """
    streams.parse(name)
    draft = _draft(title, **options)
    with transaction.atomic(using=_alias()):
        (pk,) = _write(draft, [name])
    return pk


def withdraw(notifications: QuerySet[Notification]) -> int:
    """Cancel waiting notifications and stop showing published ones.

    A notification is either published or cancelled, never both at once: whoever comes second,
    this or sequencing, waits for or steps over the other's lock.

    Returns:
        How many were withdrawn now.
    """
    return notifications.filter(withdrawn_at=None).update(withdrawn_at=timezone.now())


def audience(to: Any) -> str:
    """The shared stream that ``to`` means; see :func:`broadcast`.

    Raises:
        ValueError: it means none.
    """
    if isinstance(to, Group):
        if to.pk is None:
            raise ValueError("to: the group is not saved")
        return streams.group_stream(to.pk)
    if to in (EVERYONE, streams.BROADCAST):
        return streams.BROADCAST
    if not isinstance(to, str) or not _is_shared(to):
        raise ValueError(
            f"to: {to!r} is not “everyone”, “staff”, “topic:<slug>” or a Group "
            "(for users there is notify())"
        )
    if not streams.has_audience(to):
        raise ValueError(f"to: there is no {to!r}")
    kind, key = streams.parse(to)
    if kind == "topic" and settings.DEBUG and not topics.has_readers(key):
        logger.warning("Nobody can read %s: NOTIFICATIONS['TOPICS'] does not list it.", to)
    return to


def _is_shared(name: str) -> bool:
    try:
        return streams.parse(name).kind in streams.SHARED_KINDS
    except streams.UnknownStream:
        return False


def _alias() -> str:
    return router.db_for_write(Notification)


def _rows() -> NotificationQuerySet:
    # A replica may not know yet what was written just now.
    return Notification.objects.using(_alias())


def _draft(
    title: str,
    *,
    body: str = "",
    url: str = "",
    kind: str = "message",
    level: str = "info",
    data: dict[str, Any] | None = None,
    actor: Any = None,
    key: str | None = None,
    publish_at: datetime | None = None,
    expires_at: datetime | None = None,
) -> Notification:
    """An unsaved notification without a stream, with every field checked."""
    texts = {"title": title, "body": body, "url": url, "kind": kind, "level": level, "key": key}
    # Lazy translations become what they say now: the reader's language is not known here.
    texts = {name: str(text) if isinstance(text, Promise) else text for name, text in texts.items()}
    texts["key"] = texts["key"] or None
    draft = Notification(
        **texts,
        data={} if data is None else data,
        publish_at=timezone.now() if publish_at is None else publish_at,
        expires_at=expires_at,
    )
    errors = {
        **_check_texts(texts),
        **_check_times(draft),
        **_check_data(draft.data),
        **_check_actor(actor),
    }
    try:
        draft.clean_fields(exclude={"stream", "actor", *errors})
    except ValidationError as error:
        errors |= error.error_dict
    if errors:
        raise ValidationError(errors)
    draft.actor = actor
    return draft


def _check_texts(texts: dict[str, Any]) -> Errors:
    """What the fields do not check: types, the length of a TextField, characters in a key."""
    errors: Errors = {}
    for name, text in texts.items():
        if not isinstance(text, str) and not (name == "key" and text is None):
            errors[name] = ValidationError("Text is needed.")
    for name, check in (("body", check_body_length), ("key", validate_text)):
        try:
            if name not in errors and texts[name] is not None:
                check(texts[name])
        except ValidationError as error:
            errors[name] = error
    return errors


def _check_times(draft: Notification) -> Errors:
    errors: Errors = {}
    for name in ("publish_at", "expires_at"):
        value = getattr(draft, name)
        if value is None:
            continue
        if not isinstance(value, datetime) or timezone.is_naive(value):
            errors[name] = ValidationError("An aware datetime is needed.")
    if not errors and draft.expires_at and draft.expires_at <= draft.publish_at:
        errors["expires_at"] = ValidationError("It would expire before it is published.")
    return errors


def _check_data(data: Any) -> Errors:
    if not isinstance(data, dict):
        return {"data": ValidationError("A dict is needed.")}
    try:
        # NaN is what Python writes and nobody else reads.
        json.dumps(data, cls=DjangoJSONEncoder, allow_nan=False)
        text = encode_data(data)
    except (TypeError, ValueError, RecursionError) as error:
        return {"data": ValidationError(f"This is not JSON: {error}")}
    if len(text) > app_settings.MAX_DATA_SIZE:
        most = app_settings.MAX_DATA_SIZE
        return {"data": ValidationError(f"{len(text)} bytes; {most} at most.")}
    if NUL.search(text):
        return {"data": ValidationError("JSON text holds no NUL character.")}
    return {}


def _check_actor(actor: Any) -> Errors:
    if actor is None or (isinstance(actor, get_user_model()) and actor.pk is not None):
        return {}
    return {"actor": ValidationError("A saved user is needed.")}


def _recipients(to: Any) -> list[Any]:
    """Primary keys of users, each once; all are checked before anything is written."""
    users = get_user_model()
    if isinstance(to, QuerySet):
        if not issubclass(to.model, users):
            raise ValueError(f"to: a queryset of users is needed, not of {to.model.__name__}")
        # All at once: on SQLite a query that is still read would see what is written meanwhile.
        return list(dict.fromkeys(to.values_list("pk", flat=True)))
    if isinstance(to, users):
        return [_user_id(to)]
    if isinstance(to, str | bytes | dict) or not isinstance(to, Iterable):
        raise ValueError(f"to: {to!r} is not a user, a list of users or a queryset")
    return list(dict.fromkeys(_user_id(user) for user in to))


def _user_id(user: Any) -> Any:
    if not isinstance(user, get_user_model()):
        raise ValueError(f"to: {user!r} is not a user")
    if user.pk is None:
        raise ValueError(f"to: the user {user} is not saved")
    return user.pk


def _write(draft: Notification, names: list[str]) -> list[int]:
    """Insert the draft into each stream; sequence these after the caller's commit."""
    by_name = streams.ids(names)
    stream_ids = [by_name[name] for name in names]
    ids = write(draft, stream_ids)
    after_commit(_alias(), sequence_after_commit, stream_ids, written(draft, ids.values()))
    known = [stream_id for stream_id in stream_ids if stream_id not in ids]
    if known:  # the key is there already
        rows = _rows().filter(stream__in=known, key=draft.key)
        ids |= dict(rows.values_list("stream", "pk"))
    return [ids[stream_id] for stream_id in stream_ids]
