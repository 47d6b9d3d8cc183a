"""Signal receivers that keep subscriptions and rights current, and that publish by signal.

They are connected when the app is ready; nothing else imports this module. Rows are written in the
transaction of the change, and workers are notified after its commit.
"""

from collections.abc import Iterable
from typing import Any, TypeGuard

from django.apps import apps as global_apps
from django.apps.registry import Apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_in, user_logged_out
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
from .connect.sessions import session_digest
from .database.transactions import after_commit
from .layer import send_session_ended
from .options import Level, LevelName, Options
from .publishing import notify as publishing
from .publishing import sentences
from .streams import names as stream_names
from .streams import rights, subscriptions
from .streams import rows as stream_rows

#: Fields of a user that determine what the user may read, and whether sessions stay valid.
RIGHTS_FIELDS = {"is_active", "is_staff", "password"}


@receiver(pre_save)
def before_save(instance: Model, raw: bool, using: str, **kwargs: Any) -> None:
    """Prepare a row of a fixture; see :mod:`notifications.loading`."""
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
    """Subscribe a new user; have the rights of a changed user checked again.

    A login saves ``last_login`` only, and has no cost here.
    """
    if raw or not isinstance(instance, get_user_model()):
        return
    if update_fields is not None and RIGHTS_FIELDS.isdisjoint(update_fields):
        return
    if created:
        own = stream_names.user_stream(instance.pk)
        # Creating the row here blocks nobody: no one needs it before this transaction commits.
        stream_rows.create([own])
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
    """Delete the private stream of a deleted user."""
    if not isinstance(instance, get_user_model()):
        return
    _remove(stream_names.user_stream(instance.pk), using)
    rights.changed([instance.pk], using)


@receiver(m2m_changed)
def membership_changed(
    sender: Any, instance: Model, action: str, reverse: bool, pk_set: Any, using: str, **kwargs: Any
) -> None:
    """Follow a change of ``user.groups``, or of ``group.user_set`` if ``reverse`` is true."""
    if not _is_membership(sender) or loading.is_loaded(instance):
        return
    if action in {"post_add", "post_remove"}:
        others = set(pk_set or ())
    elif action == "pre_clear":
        # After the clear, the members are unknown. If it fails, these changes are rolled back
        # with it: they are in the same transaction.
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
    """Create the stream of a new group, before the group has members."""
    if created and not raw:
        stream_rows.create([stream_names.group_stream(instance.pk)])


@receiver(pre_delete, sender=Group)
def before_group_deleted(instance: Group, using: str, **kwargs: Any) -> None:
    """Have the members' rights checked again; once the group is deleted, they are unknown."""
    rights.changed(_members(instance), using)


@receiver(post_delete, sender=Group)
def group_deleted(instance: Group, using: str, **kwargs: Any) -> None:
    _remove(stream_names.group_stream(instance.pk), using)


@receiver(post_migrate)
def migrated(sender: Any, using: str, apps: Apps = global_apps, **kwargs: Any) -> None:
    """Create the streams ``broadcast`` and ``staff``, also after a flush.

    Args:
        sender: the app configuration that was migrated.
        using: alias of the migrated database.
        apps: the registry at the migration that was reached, which may be an old one.
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
    """End the connections of the session that the same browser had before the login.

    The login starts a new session, and the one before may have been another user's.
    """
    before = getattr(request, "COOKIES", {}).get(settings.SESSION_COOKIE_NAME)
    key = getattr(getattr(request, "session", None), "session_key", None)
    if before and before != key:
        send_session_ended(session_digest(before))


@receiver(user_logged_out)
def logged_out(request: Any, user: Any, **kwargs: Any) -> None:
    """End the connections of the session that is logged out.

    It is identified by its digest, because Django flushes the session after this signal.
    """
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
    level: LevelName | Level = "info",
    timestamp: Any = None,
    public: bool = True,
    **data: Any,
) -> Any:
    """See :mod:`notifications.signals`."""
    is_user = _is_saved_user(sender)
    # A user is the notification's own actor; anything else would only be in the title.
    objects = {"actor": None if is_user else sender, "target": target}
    extra = {
        "verb": str(verb),
        **sentences.details({**objects, "action_object": action_object}),
        "timestamp": timestamp,
        **_without_dispatch(data),
    }
    title, body = sentences.word(sender, verb, action_object, target, description or "")
    options: Options = {
        "body": body,
        "level": level,
        "url": sentences.link(target, action_object),
        "data": {name: value for name, value in extra.items() if value is not None},
        "actor": sender if is_user else None,
    }
    if isinstance(recipient, Group):
        return publishing.broadcast(title, to=recipient, **options)
    return publishing.notify(recipient, title, **options)


def _join(user_ids: Iterable[Any], name: str, using: str) -> None:
    """Subscribe users in this transaction if the stream exists, else after its commit.

    Creating the stream here would block everyone who needs it until this transaction ends.
    """
    members = list(user_ids)
    if not subscriptions.join_existing(members, name):
        after_commit(using, subscriptions.join, members, name, from_start=True)


def _remove(name: str, using: str) -> None:
    """Delete the contents of a stream in this transaction, and the stream after its commit."""
    stream_rows.clear(name)
    after_commit(using, stream_rows.remove, name)


def _without_dispatch(arguments: dict[str, Any]) -> dict[str, Any]:
    """Remove the arguments that the dispatcher adds for every receiver."""
    return {key: value for key, value in arguments.items() if key not in {"signal", "sender"}}


def _is_saved_user(value: Any) -> TypeGuard[AbstractBaseUser]:
    return isinstance(value, get_user_model()) and value.pk is not None


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
