"""The settings of the app: one dict ``NOTIFICATIONS``, typed, with defaults, read lazily.

>>> from notifications.conf import app_settings
>>> app_settings.PING_INTERVAL
25.0

The object is rebuilt when Django announces a changed setting, so ``override_settings`` works.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, cast

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

#: A float that may be 0.
Delay = float

#: Pattern of the slug of a topic.
TOPIC_SLUG = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}\Z")

IN_MEMORY_LAYER = "channels.layers.InMemoryChannelLayer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its default. Times are in seconds, sizes in bytes, unless noted."""

    #: HS256 key of connection tokens; without it, only session cookies authenticate.
    TOKEN_SECRET: str = ""
    #: Required ``aud`` claim of connection tokens; "": tokens must not have that claim.
    TOKEN_AUDIENCE: str = ""
    #: Alias of the channel layer that carries hints between processes.
    CHANNEL_LAYER: str = "default"
    #: Time limit for sending a message to the channel layer, after which it is dropped.
    LAYER_TIMEOUT: float = 2.0

    #: Interval of the server's pings on each connection (Centrifuge protocol: ``ping``).
    PING_INTERVAL: float = 25.0
    #: A connection that does not answer a ping within this time is closed with 3012.
    PONG_TIMEOUT: float = 10.0
    #: A socket that accepts no data for this time, although there is some, is closed with 3008.
    SLOW_TIMEOUT: float = 20.0
    #: A connection with an expired token is closed with 3005 this long after ``exp``: SDKs refresh
    #: exactly at ``exp``, and need time to get an answer.
    EXPIRED_CLOSE_DELAY: Delay = 25.0
    #: A socket that has not sent ``connect`` within this time is closed with 3502.
    CONNECT_TIMEOUT: float = 10.0

    #: Interval at which workers compare their streams with the database; None: 1 s with the
    #: in-memory layer, 5 s with any other.
    CHECK_INTERVAL: float | None = None
    #: The longest such interval while the channel layer delivers nothing to the process.
    CHECK_INTERVAL_DOWN: float = 1.0
    #: Interval at which each worker looks for waiting notifications that are due.
    TICK_INTERVAL: float = 1.0
    #: Interval at which acknowledged positions and connection rows are written.
    FLUSH_INTERVAL: float = 1.0
    #: The connection rows of a dead worker are deleted within this time.
    WORKER_TIMEOUT: float = 30.0
    #: Interval at which each worker checks the rights of its connected users, even if no change
    #: was announced.
    RIGHTS_INTERVAL: float = 30.0

    #: A stopping worker closes its sockets spread over at most this time; 0: at once.
    DRAIN_SECONDS: Delay = 5.0

    #: Publications per page of history, and at most in one connect or subscribe reply.
    PAGE_SIZE: int = 300
    #: Largest frame accepted from a client.
    MAX_FRAME_SIZE: int = 64 * 1024
    #: Commands that all connections of a user in one process may send per second, on average.
    #: Requests of the user to the REST API have the same limits, and are counted apart.
    COMMAND_RATE: float = 50.0
    #: Commands that they may send in a burst.
    COMMAND_BURST: int = 200
    #: Connections of one user in one process; one more is closed with 3504.
    MAX_CONNECTIONS_PER_USER: int = 100
    #: Sockets of one client address in one process, authenticated or not; one more is closed
    #: with 3504. All IPv6 addresses of a /64 count as one.
    MAX_CONNECTIONS_PER_ADDRESS: int = 5000
    #: Topics one user may be subscribed to.
    MAX_TOPICS: int = 100
    #: Channels of namespaces that one connection may be subscribed to.
    MAX_CHANNELS_PER_CONNECTION: int = 128
    #: Largest JSON of a notification's ``data``, and of a publication of a namespace.
    MAX_DATA_SIZE: int = 16 * 1024
    #: Unread notifications are counted up to this number.
    MAX_UNREAD_COUNT: int = 1000

    #: Slugs of the topics that every active user may read, unless ``TOPIC_PERMISSION`` is set.
    TOPICS: tuple[str, ...] = ()
    #: Dotted path of a function ``f(user, slug) -> bool``, which alone decides whether the user may
    #: read the topic.
    TOPIC_PERMISSION: str = ""
    #: Families of channels beside the built-in streams; see :mod:`notifications.namespaces`.
    NAMESPACES: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Paths of the transports below the site's prefix, for those that get another path than the
    #: default one; None switches one off. See :mod:`notifications.paths`.
    TRANSPORTS: dict[str, str | None] = field(default_factory=dict)
    #: Other origins whose pages may open a socket or a stream, or use the REST API, as
    #: ``https://a.example`` or ``https://*.a.example``, besides the requested host and
    #: ``CSRF_TRUSTED_ORIGINS``.
    ALLOWED_ORIGINS: tuple[str, ...] = ()
    #: Threads, and so database connections, of a worker for its clients' commands. Its own work
    #: takes up to 12 more, receivers of its signals 1, and ``TOPIC_PERMISSION`` up to 4.
    DATABASE_THREADS: int = 4
    #: How long a statement of a worker waits for a lock.
    LOCK_TIMEOUT: float = 5.0
    #: How long a statement of a worker may take.
    STATEMENT_TIMEOUT: float = 20.0
    #: CPU seconds per second that one user's commands may take in one process, on average; further
    #: commands have to wait.
    USER_WORK: float = 0.25
    #: CPU seconds that they may take in a burst.
    USER_WORK_BURST: float = 2.0
    #: New objects after which the garbage collector of a server process runs. Python's default of
    #: 700 takes a third of the work of a process with many connections.
    GC_THRESHOLD: int = 50_000
    #: Server processes of the site on all hosts together; None: unknown. It starts no processes,
    #: only ``check --deploy`` uses it.
    WORKERS: int | None = None
    #: Days for which ``prune_notifications`` keeps notifications.
    KEEP_DAYS: int = 90

    @property
    def check_interval(self) -> float:
        """Seconds between two position checks, while the channel layer works."""
        if self.CHECK_INTERVAL is not None:
            return self.CHECK_INTERVAL
        return 1.0 if layer_is_in_memory(self.CHANNEL_LAYER) else 5.0

    def topic_permission(self) -> Callable[[Any, str], bool] | None:
        """The function that ``TOPIC_PERMISSION`` names; None if that is not set.

        Raises:
            ImportError: it cannot be imported.
        """
        if not self.TOPIC_PERMISSION:
            return None
        return cast(Callable[[Any, str], bool], import_string(self.TOPIC_PERMISSION))

    @property
    def declared_topics(self) -> tuple[str, ...]:
        """The slugs in ``TOPICS``, without values that the checks E003 and E008 report."""
        if not isinstance(self.TOPICS, tuple):
            return ()
        return tuple(slug for slug in self.TOPICS if is_slug(slug))


FIELDS = {field.name: field for field in fields(Settings)}


class _LazySettings:
    """A proxy for the current :class:`Settings`, which are built at the first access."""

    _current: Settings | None = None

    def __getattr__(self, name: str) -> Any:
        if self._current is None:
            self._current = Settings(**_known(_raw()))
            # Found from now on without a call of this method: a connect reads a dozen of them.
            vars(self).update({name: getattr(self._current, name) for name in FIELDS})
        return getattr(self._current, name)

    def forget(self) -> None:
        vars(self).clear()


app_settings: Settings = cast(Settings, _LazySettings())


@receiver(setting_changed)
def _forget_settings(*, setting: str, **kwargs: Any) -> None:
    if setting in {"NOTIFICATIONS", "CHANNEL_LAYERS"}:
        cast(_LazySettings, app_settings).forget()


def layer_is_in_memory(alias: str) -> bool:
    layers = getattr(django_settings, "CHANNEL_LAYERS", {})
    return bool(layers.get(alias, {}).get("BACKEND") == IN_MEMORY_LAYER)


def _raw() -> dict[str, Any]:
    value = getattr(django_settings, "NOTIFICATIONS", {})
    return value if isinstance(value, dict) else {}


def _known(raw: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in raw.items()
        if name in FIELDS
    }


def is_slug(value: Any) -> bool:
    """Return whether this can be the slug of a topic."""
    return isinstance(value, str) and TOPIC_SLUG.match(value) is not None
