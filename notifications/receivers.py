"""Reactions to the host's models: who joins or leaves which stream, and what publishes by signal.

An edge of the app: connected when it is ready, imported by nothing else. Rows follow in the
transaction of the change; workers are told after it has committed.
"""

from collections.abc import Iterable
from typing import Any, TypeGuard

from django.apps import apps as global_apps
from django.apps.registry import Apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import Model
from django.db.models.signals import (
    m2m_changed,
    post_delete,
    post_migrate,
    post_save,
    pre_delete,
    pre_save,
)
from django.dispatch import receiver
from django.utils.functional import Promise

from . import loading, signals
from .connect.authentication import session_digest
from .database.transactions import after_commit
from .layer import send_session_ended
from .models import validate_url
from .options import Options
from .publishing import notify as publishing
from .streams import names as stream_names
from .streams import rights, subscriptions
from .streams import rows as stream_rows

#: Fields of a user that decide what he may see and whether his sessions stay valid.
RIGHTS_FIELDS = {"is_active", "is_staff", "password"}

#: What the fields of a notification hold.
TITLE_LENGTH = 200
URL_LENGTH = 2000


@receiver(pre_save)
def row_is_loaded(instance: Model, raw: bool, using: str, **kwargs: Any) -> None:
    """A row of a fixture; see :mod:`notifications.loading`."""
    if raw:
        loading.prepare(instance, using)


@receiver(post_save)
def user_saved(
    instance: Model,
    created: bool,
    raw: bool,
    using: str,
    update_fields: Iterable[str] | None,
    **kwargs: Any,
) -> None:
    """A new user's subscriptions begin now; a changed one's rights are looked at again.

    Logging in saves ``last_login`` alone and costs nothing here.
    """
    if raw or not isinstance(instance, get_user_model()):
        return
    if update_fields is not None and RIGHTS_FIELDS.isdisjoint(update_fields):
        return
    if created:
        own = stream_names.user_stream(instance.pk)
        # Nobody else can need it before this transaction commits.
        stream_rows.make([own])
        subscriptions.join_existing([instance.pk], own, from_start=True)
        _join([instance.pk], stream_names.BROADCAST, using)
    if getattr(instance, "is_staff", False):
        _join([instance.pk], stream_names.STAFF, using)
    elif not created:
        subscriptions.leave([instance.pk], stream_names.STAFF)
    if not created:
        rights.changed([instance.pk], using)


@receiver(post_delete)
def user_deleted(instance: Model, using: str, **kwargs: Any) -> None:
    """What was private to a user goes with him."""
    if not isinstance(instance, get_user_model()):
        return
    _remove(stream_names.user_stream(instance.pk), using)
    rights.changed([instance.pk], using)


@receiver(m2m_changed)
def membership_changed(
    sender: Any, instance: Model, action: str, reverse: bool, pk_set: Any, using: str, **kwargs: Any
) -> None:
    """``user.groups`` or ``group.user_set`` has changed; ``reverse`` tells from which side."""
    if not _is_membership(sender) or loading.is_loaded(instance):
        return
    if action in {"post_add", "post_remove"}:
        others = set(pk_set or ())
    elif action == "pre_clear":
        # Afterwards nobody knows who was in it. It is the same transaction, so what is done here
        # too early is undone if clearing fails.
        others = _members(instance) if reverse else _groups(instance)
    else:
        return
    users, groups = (others, {instance.pk}) if reverse else ({instance.pk}, others)
    if not users or not groups:
        return
    for group_id in sorted(groups):
        name = stream_names.group_stream(group_id)
        if action == "post_add":
            _join(users, name, using)
        else:
            subscriptions.leave(users, name)
    rights.changed(users, using)


@receiver(post_save, sender=Group)
def group_saved(instance: Group, created: bool, raw: bool, **kwargs: Any) -> None:
    """A new group's stream is there before its first member."""
    if created and not raw:
        stream_rows.make([stream_names.group_stream(instance.pk)])


@receiver(pre_delete, sender=Group)
def group_is_deleted(instance: Group, using: str, **kwargs: Any) -> None:
    """Its members are told; afterwards nobody knows them."""
    rights.changed(_members(instance), using)


@receiver(post_delete, sender=Group)
def group_deleted(instance: Group, using: str, **kwargs: Any) -> None:
    _remove(stream_names.group_stream(instance.pk), using)


@receiver(post_migrate)
def migrated(sender: Any, using: str, apps: Apps = global_apps, **kwargs: Any) -> None:
    """The streams that everybody and all staff read exist from the start.

    Also after a flush. The registry is that of the migration that was reached, which may be an old
    one.
    """
    if sender.label != "notifications":
        return
    try:
        model = apps.get_model("notifications", "Stream")
    except LookupError:
        return
    if router.allow_migrate_model(using, model):
        rows = [model(name=name) for name in (stream_names.BROADCAST, stream_names.STAFF)]
        model._default_manager.using(using).bulk_create(rows, ignore_conflicts=True)


@receiver(user_logged_in)
def logged_in(request: Any, **kwargs: Any) -> None:
    """Whoever logs in gets a new session: the connections of the one before in the same browser,
    perhaps another user's, end.
    """
    before = getattr(request, "COOKIES", {}).get(settings.SESSION_COOKIE_NAME)
    key = getattr(getattr(request, "session", None), "session_key", None)
    if before and before != key:
        send_session_ended(session_digest(before))


@receiver(user_logged_out)
def logged_out(request: Any, user: Any, **kwargs: Any) -> None:
    """The connections of this session end. The session itself is flushed only after this signal,
    so it is named by its digest and need not be looked up."""
    if user is None or user.pk is None:
        return
    key = getattr(getattr(request, "session", None), "session_key", None)
    rights.changed([user.pk], session=session_digest(key) if key else "")


@receiver(signals.push)
def push_sent(to: Any, title: str, **options: Any) -> Any:
    """See :mod:`notifications.signals`."""
    options = _without_dispatch(options)
    if isinstance(to, str | Promise | Group):
        return publishing.broadcast(title, to=to, **options)
    return publishing.notify(to, title, **options)


@receiver(signals.notify)
def notify_sent(
    sender: Any,
    recipient: Any,
    verb: str,
    target: Any = None,
    action_object: Any = None,
    description: str | None = None,
    level: str = "info",
    timestamp: Any = None,
    public: bool = True,
    **data: Any,
) -> Any:
    """See :mod:`notifications.signals`."""
    named = {"target": _described(target), "action_object": _described(action_object)}
    extra = {"verb": str(verb), **named, "timestamp": timestamp, **_without_dispatch(data)}
    options: Options = {
        "body": description or "",
        "level": level,
        "url": _link(target) or _link(action_object),
        "data": {name: value for name, value in extra.items() if value is not None},
        "actor": sender if _is_saved_user(sender) else None,
    }
    title = _sentence(sender, verb, action_object, target)
    if isinstance(recipient, Group):
        return publishing.broadcast(title, to=recipient, **options)
    return publishing.notify(recipient, title, **options)


def _join(user_ids: Iterable[Any], name: str, using: str) -> None:
    """Subscribe users in this transaction, if the stream exists; else once it has committed.

    To make it here would let everybody wait who needs it before this transaction ends.
    """
    members = list(user_ids)
    if not subscriptions.join_existing(members, name):
        after_commit(using, subscriptions.join, members, name, from_start=True)


def _remove(name: str, using: str) -> None:
    """What was in a stream goes in this transaction, the stream itself once it has committed."""
    stream_rows.clear(name)
    after_commit(using, stream_rows.remove, name)


def _without_dispatch(arguments: dict[str, Any]) -> dict[str, Any]:
    """Without what the dispatcher adds for every receiver."""
    return {key: value for key, value in arguments.items() if key not in {"signal", "sender"}}


def _is_saved_user(value: Any) -> TypeGuard[Model]:
    return isinstance(value, get_user_model()) and value.pk is not None


def _sentence(actor: Any, verb: str, action_object: Any, target: Any) -> str:
    """In the words of django-notifications, cut to what a title holds."""
    words = f"{actor} {verb}"
    if action_object is not None:
        words += f" {action_object}"
    if target is not None:
        words += f" on {target}"
    return words if len(words) <= TITLE_LENGTH else words[: TITLE_LENGTH - 1] + "…"


def _described(thing: Any) -> dict[str, str] | None:
    if thing is None:
        return None
    if not isinstance(thing, Model):
        return {"name": str(thing)}
    return {"type": thing._meta.label_lower, "id": str(thing.pk), "name": str(thing)}


def _link(thing: Any) -> str:
    if not hasattr(thing, "get_absolute_url"):
        return ""
    url = str(thing.get_absolute_url() or "")
    try:
        validate_url(url)
    except ValidationError:
        return ""
    return url if len(url) <= URL_LENGTH else ""


def _is_membership(sender: Any) -> bool:
    groups = getattr(get_user_model(), "groups", None)
    return groups is not None and sender is groups.through


def _members(group: Any) -> set[Any]:
    groups = getattr(get_user_model(), "groups", None)
    if groups is None:
        return set()
    return set(get_user_model()._base_manager.filter(groups=group).values_list("pk", flat=True))


def _groups(user: Any) -> set[int]:
    return set(user.groups.values_list("pk", flat=True))
