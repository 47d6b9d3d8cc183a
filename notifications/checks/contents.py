"""Checks of the database's contents, run by ``manage.py check --database default``."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Tags, Warning, register
from django.core.exceptions import FieldError
from django.db import Error as DatabaseError
from django.db import router
from django.db.models import Exists, OuterRef

from ..conf import app_settings
from ..database.clock import read_clock
from ..models import Notification, Stream, Subscription
from ..streams import incarnation
from ..streams.names import TOPIC_PREFIX, topic_stream

#: The accounts that ``createdemo`` creates. Their passwords are their names.
DEMO_ACCOUNTS = ("admin", "writer", "reader")

#: How many topics a message lists at most.
MAX_NAMED = 5

#: How late ``prune_notifications`` may be before the check warns.
PRUNE_GRACE = timedelta(days=7)


@register(Tags.database, deploy=True)
def check_demo_accounts(
    databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """``W009``: a demo account exists. Runs with ``check --deploy --database default``."""
    user_model = get_user_model()
    if router.db_for_read(user_model) not in (databases or ()):
        return []
    named = {f"{user_model.USERNAME_FIELD}__in": DEMO_ACCOUNTS}
    try:
        users = list(user_model._default_manager.filter(**named, is_active=True))
    except (DatabaseError, FieldError):
        return []  # not migrated, or the user model lacks these fields
    names = [user.get_username() for user in users if user.check_password(user.get_username())]
    if not names:
        return []
    return [
        Warning(
            f"The password of {', '.join(sorted(names))} is the name of the account.",
            hint="These are the names of demo accounts. Delete them, or give them other passwords.",
            id="notifications.W009",
        )
    ]


@register(Tags.database, deploy=True)
def check_pruning(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """``W010``: ``prune_notifications`` does not run. Runs with ``--deploy --database default``."""
    if router.db_for_read(Notification) not in (databases or ()):
        return []
    if not isinstance(app_settings.KEEP_DAYS, int):
        return []  # E003 reports it
    try:
        # By id, because only ids have an index over all streams; times do not.
        oldest = Notification.objects.order_by("pk").filter(published_at__isnull=False).first()
        now = read_clock(router.db_for_read(Notification))
    except DatabaseError:
        return []  # not migrated
    limit = now - timedelta(days=app_settings.KEEP_DAYS) - PRUNE_GRACE
    if oldest is None or oldest.published_at is None or oldest.published_at > limit:
        return []
    return [
        Warning(
            "Notifications are kept that are more than a week older than "
            f"NOTIFICATIONS['KEEP_DAYS'] ({app_settings.KEEP_DAYS}).",
            hint="Run manage.py prune_notifications daily.",
            id="notifications.W010",
        )
    ]


@register(Tags.database, deploy=True)
def check_topics(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """``W012``: followed topics that nobody may read. Runs with ``--deploy --database default``."""
    if router.db_for_read(Stream) not in (databases or ()):
        return []
    if app_settings.TOPIC_PERMISSION:
        return []  # only that function knows who may read a topic
    declared = [topic_stream(slug) for slug in app_settings.declared_topics]
    followed = Exists(Subscription.objects.filter(stream=OuterRef("pk")))
    rows = Stream.objects.filter(followed, name__startswith=TOPIC_PREFIX).exclude(name__in=declared)
    try:
        names = list(rows.order_by("name").values_list("name", flat=True)[: MAX_NAMED + 1])
    except DatabaseError:
        return []  # not migrated
    if not names:
        return []
    slugs = [name.removeprefix(TOPIC_PREFIX) for name in names[:MAX_NAMED]]
    more = " and more" if len(names) > MAX_NAMED else ""
    return [
        Warning(
            f"Topics have followers, but nobody may read them: {', '.join(slugs)}{more}.",
            hint="List them in NOTIFICATIONS['TOPICS'], or let TOPIC_PERMISSION decide.",
            id="notifications.W012",
        )
    ]


@register(Tags.database)
def check_incarnation(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """``W011``: the epochs belong to another database, or a history has gone back.

    Runs with ``--database default``.
    """
    if router.db_for_write(Stream) not in (databases or ()):
        return []
    try:
        suspicion = incarnation.check()
    except DatabaseError:
        return []  # not migrated
    if suspicion is None:
        return []
    return [
        Warning(
            f"Clients may silently miss notifications: {suspicion}.",
            hint=incarnation.COMMAND,
            id="notifications.W011",
        )
    ]
