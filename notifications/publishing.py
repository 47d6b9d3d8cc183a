"""``notify`` and ``broadcast``: check, write in the caller's transaction, sequence after commit.

Nothing is written before every argument is found good, and nothing is sent before the caller's
transaction has committed (P2).
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import router, transaction
from django.db.models import QuerySet
from django.utils import timezone

from . import streams
from .conf import app_settings
from .models import Notification
from .sequencing import sequence_after_commit

EVERYONE = "everyone"

#: Recipients per statement.
CHUNK = 500

Progress = Callable[[int], None]


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
        key: publishing again to the same recipient with the same key gives the first one.
        publish_at: aware datetime; it waits until then.
        expires_at: aware datetime; it is not sent or listed after.
        progress: called after each chunk with the number of recipients done.

    Returns:
        The primary keys of the notifications, in the order of the recipients.

    Raises:
        ValueError: ``to`` holds something else than saved users.
        ValidationError: another argument is bad; ``message_dict`` names it.
    """
    draft = _draft(
        title=title, body=body, url=url, kind=kind, level=level, data=data, actor=actor, key=key,
        publish_at=publish_at, expires_at=expires_at,
    )  # fmt: skip
    ids: list[int] = []
    with transaction.atomic(using=_alias()):
        for user_ids in _chunks(_recipients(to)):
            ids += _write(draft, [streams.user_stream(user_id) for user_id in user_ids])
            if progress is not None:
                progress(len(ids))
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
        to: ``"everyone"``, ``"staff"``, ``"topic:<slug>"`` or a Django ``Group``.

    The other arguments are those of :func:`notify`.

    Returns:
        The notification; with a known ``key`` the one that was published first.

    Raises:
        ValueError: ``to`` is none of these.
        ValidationError: another argument is bad; ``message_dict`` names it.
    """
    draft = _draft(
        title=title, body=body, url=url, kind=kind, level=level, data=data, actor=actor, key=key,
        publish_at=publish_at, expires_at=expires_at,
    )  # fmt: skip
    name = audience(to)
    with transaction.atomic(using=_alias()):
        (pk,) = _write(draft, [name])
    return Notification.objects.select_related("stream").get(pk=pk)


async def anotify(to: Any, title: str, **options: Any) -> list[int]:
    """:func:`notify` for asynchronous code; the same arguments, result and errors."""
    return await sync_to_async(notify)(to, title, **options)


async def abroadcast(title: str, **options: Any) -> Notification:
    """:func:`broadcast` for asynchronous code; the same arguments, result and errors."""
    return await sync_to_async(broadcast)(title, **options)


def publish(name: str, title: str, **options: Any) -> int:
    """Write to a stream by its name: what a client's ``publish`` command and the admin do.

    Raises:
        UnknownStream: no such name.
        ValidationError: as :func:`notify`.
    """
    streams.parse(name)
    draft = _draft(title=title, **options)
    with transaction.atomic(using=_alias()):
        (pk,) = _write(draft, [name])
    return pk


def withdraw(notifications: QuerySet[Notification]) -> int:
    """Cancel waiting notifications and stop showing published ones.

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
    if isinstance(to, str):
        try:
            name = streams.parse(to)
        except streams.UnknownStream:
            name = None
        if name is not None and name.kind in ("staff", "topic", "group"):
            return to
    raise ValueError(
        f"to: {to!r} is not “everyone”, “staff”, “topic:<slug>” or a Group "
        "(for users there is notify())"
    )


def _alias() -> str:
    return router.db_for_write(Notification)


def _draft(**values: Any) -> Notification:
    """An unsaved notification without a stream, with every field checked."""
    data = values.pop("data", None)
    actor = values.pop("actor", None)
    publish_at = values.pop("publish_at", None)
    draft = Notification(
        **{name: _text(value) for name, value in values.items() if name not in TIMES},
        **{name: value for name, value in values.items() if name in TIMES},
        data={} if data is None else data,
        publish_at=publish_at or timezone.now(),
    )
    errors = {
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


TIMES = ("expires_at",)


def _text(value: Any) -> Any:
    """Lazy translations become text; what is no text stays, for the field to refuse."""
    return str(value) if hasattr(value, "__proxy__") or hasattr(value, "_proxy____args") else value


def _check_times(draft: Notification) -> dict[str, Any]:
    errors: dict[str, Any] = {}
    for name in ("publish_at", "expires_at"):
        value = getattr(draft, name)
        if value is None:
            continue
        if not isinstance(value, datetime) or timezone.is_naive(value):
            errors[name] = ValidationError("An aware datetime is needed.")
    if not errors and draft.expires_at and draft.expires_at <= draft.publish_at:
        errors["expires_at"] = ValidationError("It would expire before it is published.")
    return errors


def _check_data(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        return {"data": ValidationError("A dict is needed.")}
    try:
        text = json.dumps(data, cls=DjangoJSONEncoder, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        return {"data": ValidationError(f"This is not JSON: {error}")}
    if size > app_settings.MAX_DATA_SIZE:
        return {"data": ValidationError(f"{size} bytes; {app_settings.MAX_DATA_SIZE} at most.")}
    if "\\u0000" in text:
        return {"data": ValidationError("JSON text holds no NUL character.")}
    return {}


def _check_actor(actor: Any) -> dict[str, Any]:
    if actor is None or (isinstance(actor, get_user_model()) and actor.pk is not None):
        return {}
    return {"actor": ValidationError("A saved user is needed.")}


def _recipients(to: Any) -> Iterable[Any]:
    """Primary keys of users; all are checked before the first is returned."""
    users = get_user_model()
    if isinstance(to, QuerySet):
        if not issubclass(to.model, users):
            raise ValueError(f"to: a queryset of users is needed, not of {to.model.__name__}")
        return to.values_list("pk", flat=True).iterator(chunk_size=CHUNK)
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


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _write(draft: Notification, names: list[str]) -> list[int]:
    """Insert the draft into each stream; sequence these after the caller's commit."""
    found = streams.ensure(names)
    stream_ids = [found[name].pk for name in names]
    if draft.key is None:
        rows = Notification.objects.bulk_create(_copies(draft, stream_ids))
        ids = [row.pk for row in rows]
    else:
        ids = _write_once(draft, stream_ids)
    transaction.on_commit(partial(sequence_after_commit, stream_ids), using=_alias(), robust=True)
    return ids


def _write_once(draft: Notification, stream_ids: list[int]) -> list[int]:
    """Insert where the key is new. The unique constraint decides between concurrent callers."""
    Notification.objects.bulk_create(_copies(draft, stream_ids), ignore_conflicts=True)
    rows = Notification.objects.filter(stream__in=stream_ids, key=draft.key)
    by_stream = dict(rows.values_list("stream", "pk"))
    return [by_stream[stream_id] for stream_id in stream_ids]


def _copies(draft: Notification, stream_ids: list[int]) -> list[Notification]:
    fields = ("kind", "level", "title", "body", "url", "data", "key", "created_at")
    values = {name: getattr(draft, name) for name in fields}
    return [
        Notification(
            stream_id=stream_id,
            actor_id=draft.actor_id,
            publish_at=draft.publish_at,
            expires_at=draft.expires_at,
            **values,
        )
        for stream_id in stream_ids
    ]
