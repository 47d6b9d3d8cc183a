"""What ``manage.py check --deploy`` says of a site in production.

Whether the settings can be read at all is checked always, by :mod:`notifications.conf`; so is, with
``--database``, whether it is the database that the epochs belong to. A warning
that a site has decided to live with goes into Django's ``SILENCED_SYSTEM_CHECKS``.
"""

import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import router
from django.db.models import Exists, OuterRef
from django.db.utils import load_backend

from .conf import app_settings, layer_is_in_memory
from .database.clock import read_clock
from .models import Notification, Stream, Subscription
from .streams import incarnation
from .streams.names import TOPIC_PREFIX, topic_stream

#: The databases whose SQL the app writes, and none at all, of which Django says enough.
SUPPORTED = ("postgresql", "sqlite", "unknown")

#: The first version with ``RETURNING``.
SQLITE = (3, 35)

#: An origin whose page runs on the visitor's own machine.
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - nothing is bound to it

#: What ``createdemo`` makes; their passwords are their names.
DEMO_ACCOUNTS = ("admin", "writer", "reader")

#: How many topics a message names.
MOST_NAMED = 5

#: How far ``prune_notifications`` may be behind before it is missing.
PRUNE_GRACE = timedelta(days=7)


@register(Tags.compatibility)
def check_database(**kwargs: Any) -> list[CheckMessage]:
    """``E007`` and ``E009``, always: a database whose SQL is another one.

    It looks at settings only, so that ``check`` tells without ``--database``, and ``migrate``
    before it writes anything. How old PostgreSQL may be, Django says itself when it connects.
    """
    vendor = _vendor()
    if vendor == "sqlite" and sqlite3.sqlite_version_info < SQLITE:
        return [
            Error(
                f"SQLite 3.35 or later is needed, and Python has {sqlite3.sqlite_version}.",
                hint="Another Python build brings a newer one; or use PostgreSQL.",
                id="notifications.E007",
            )
        ]
    if vendor in SUPPORTED:
        return []
    return [
        Error(
            f"Notifications are stored in PostgreSQL or SQLite, and the database is {vendor}.",
            hint="Give the app a database of its own by a database router, or use another one.",
            id="notifications.E009",
        )
    ]


@register(Tags.compatibility)
def check_time_zones(**kwargs: Any) -> list[CheckMessage]:
    """``E010``, always: times without a zone, of which an hour comes twice a year."""
    zone = settings.DATABASES.get(router.db_for_write(Notification), {}).get("TIME_ZONE")
    if settings.USE_TZ and (zone in (None, "UTC") or _vendor() == "postgresql"):
        return []
    return [
        Error(
            "Notifications need USE_TZ = True, and no TIME_ZONE of the database: local times go "
            "back an hour when summer ends, and time decides what is due, expired and in order.",
            hint="Django's documentation on time zones says how to change over.",
            id="notifications.E010",
        )
    ]


@register(Tags.security, deploy=True)
def check_workers(**kwargs: Any) -> list[CheckMessage]:
    """``W002`` and ``W003``: what only serves a single process, with several or nobody knows."""
    workers = app_settings.WORKERS
    if not isinstance(workers, int) and workers is not None:
        return []  # E003 has said so
    if workers == 1:
        return []
    count = "an unknown number of" if workers is None else str(workers)
    hint = "Say NOTIFICATIONS['WORKERS'] = 1 if there is only one server process; else use {}."
    messages: list[CheckMessage] = []
    if layer_is_in_memory(app_settings.CHANNEL_LAYER):
        messages.append(
            Warning(
                f"The in-memory channel layer does not reach the others of {count} workers: what "
                "one publishes, the others find only at their next position check.",
                hint=hint.format("channels_redis.pubsub.RedisPubSubChannelLayer"),
                id="notifications.W002",
            )
        )
    if _vendor() == "sqlite":
        messages.append(
            Warning(
                f"SQLite lets one of {count} workers write at a time, and serves one host only.",
                hint=hint.format("PostgreSQL"),
                id="notifications.W003",
            )
        )
    return messages


@register(Tags.security, deploy=True)
def check_secret(**kwargs: Any) -> list[CheckMessage]:
    """``W004`` and ``W005``: the key of connection tokens. Too short a one is ``W001``, always."""
    secret = app_settings.TOKEN_SECRET
    if not secret:
        return [
            Warning(
                "NOTIFICATIONS['TOKEN_SECRET'] is missing: clients without a session cookie, such "
                "as phones, cannot connect.",
                hint="python -c 'import secrets; print(secrets.token_urlsafe(48))' makes one.",
                id="notifications.W004",
            )
        ]
    if secret == settings.SECRET_KEY:
        return [
            Warning(
                "NOTIFICATIONS['TOKEN_SECRET'] is the SECRET_KEY: whoever is given it to make "
                "tokens can forge sessions too.",
                hint="Use a key of its own.",
                id="notifications.W005",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def check_origins(**kwargs: Any) -> list[CheckMessage]:
    """``W006`` to ``W008``: whose pages may open a socket with the visitor's cookies."""
    origins = app_settings.ALLOWED_ORIGINS
    if not isinstance(origins, tuple) or not all(isinstance(origin, str) for origin in origins):
        return []  # E003 has said so
    messages = [message for origin in origins for message in _judge(origin)]
    if "*" in settings.ALLOWED_HOSTS:
        messages.append(
            Warning(
                "ALLOWED_HOSTS contains '*', so this site answers to, and opens sockets for pages "
                "of, every name that somebody points at it.",
                hint="Name the hosts of this site.",
                id="notifications.W008",
            )
        )
    return messages


def _vendor() -> str:
    """Whose database the app's models are in; "unknown" where there is none, or no driver."""
    engine = settings.DATABASES.get(router.db_for_write(Notification), {}).get("ENGINE", "")
    try:
        return str(load_backend(engine or "django.db.backends.dummy").DatabaseWrapper.vendor)
    except ImproperlyConfigured:
        return "unknown"


def _judge(origin: str) -> list[CheckMessage]:
    try:
        parts = urlsplit(origin)
        host, scheme = parts.hostname or "", parts.scheme
    except ValueError:
        host = scheme = ""
    if not scheme or (not host and "*" not in origin):
        return [
            Warning(
                f"NOTIFICATIONS['ALLOWED_ORIGINS']: {origin!r} allows nothing.",
                hint="An origin is written with its scheme, as in 'https://a.example'.",
                id="notifications.W007",
            )
        ]
    if scheme == "http" or "*" in origin or host in LOCAL_HOSTS or host.endswith(".localhost"):
        return [
            Warning(
                f"NOTIFICATIONS['ALLOWED_ORIGINS']: {origin!r} is an origin for development: its "
                "pages may come from anybody on the way, or on the visitor's machine.",
                hint="Allow https origins, each by its whole name.",
                id="notifications.W006",
            )
        ]
    return []


@register(Tags.database, deploy=True)
def check_demo_accounts(
    databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """``W009``: an account of ``createdemo``. Needs ``check --deploy --database default``."""
    user_model = get_user_model()
    if router.db_for_read(user_model) not in (databases or ()):
        return []
    named = {f"{user_model.USERNAME_FIELD}__in": DEMO_ACCOUNTS}
    try:
        users = list(user_model._default_manager.filter(**named, is_active=True))
    except (DatabaseError, FieldError):
        return []  # not migrated, or a user model without such names
    names = [user.get_username() for user in users if user.check_password(user.get_username())]
    if not names:
        return []
    return [
        Warning(
            f"The password of {', '.join(sorted(names))} is the name of the account.",
            hint="manage.py createdemo made them for trying out: delete them.",
            id="notifications.W009",
        )
    ]


@register(Tags.database, deploy=True)
def check_pruning(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """``W010``: ``prune_notifications`` does not run. Needs ``--database`` too."""
    if router.db_for_read(Notification) not in (databases or ()):
        return []
    if not isinstance(app_settings.KEEP_DAYS, int):
        return []  # E003 has said so
    try:
        # The lowest id and not the earliest time: that has an index over all streams.
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
    """``W012``: topics that have followers, and that nobody may read. Needs ``--database`` too."""
    if router.db_for_read(Stream) not in (databases or ()):
        return []
    if app_settings.TOPIC_PERMISSION:
        return []  # it alone knows
    declared = [topic_stream(slug) for slug in app_settings.declared_topics]
    followed = Exists(Subscription.objects.filter(stream=OuterRef("pk")))
    rows = Stream.objects.filter(followed, name__startswith=TOPIC_PREFIX).exclude(name__in=declared)
    try:
        names = list(rows.order_by("name").values_list("name", flat=True)[: MOST_NAMED + 1])
    except DatabaseError:
        return []  # not migrated
    if not names:
        return []
    slugs = [name.removeprefix(TOPIC_PREFIX) for name in names[:MOST_NAMED]]
    more = " and more" if len(names) > MOST_NAMED else ""
    return [
        Warning(
            f"Topics have followers, but nobody may read them: {', '.join(slugs)}{more}.",
            hint="List them in NOTIFICATIONS['TOPICS'], or let TOPIC_PERMISSION decide.",
            id="notifications.W012",
        )
    ]


@register(Tags.database)
def check_incarnation(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """``W011``: not the database that the epochs belong to. Needs ``--database`` too."""
    if router.db_for_write(Stream) not in (databases or ()):
        return []
    try:
        suspicion = incarnation.known()
    except DatabaseError:
        return []  # not migrated
    if suspicion is None:
        return []
    return [
        Warning(
            f"Clients may miss notifications without learning it: {suspicion}.",
            hint=incarnation.COMMAND,
            id="notifications.W011",
        )
    ]
