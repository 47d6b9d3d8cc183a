"""The settings of the app: one dict ``NOTIFICATIONS``, typed, with defaults, read lazily.

>>> from notifications.conf import app_settings
>>> app_settings.PING_INTERVAL
25.0

The object is rebuilt when Django announces a changed setting, so ``override_settings`` works.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, cast

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

#: A float that may be 0.
Delay = float

#: What a topic may be called.
TOPIC_SLUG = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}\Z")

IN_MEMORY_LAYER = "channels.layers.InMemoryChannelLayer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its default. Times are seconds, sizes bytes, unless said otherwise."""

    #: HS256 key of connection tokens; without one only session cookies authenticate.
    TOKEN_SECRET: str = ""
    #: What ``aud`` of connection tokens has to name; "": tokens must not have that claim.
    TOKEN_AUDIENCE: str = ""
    #: Alias of the channel layer that carries hints between processes.
    CHANNEL_LAYER: str = "default"
    #: How long one message may take to enter the channel layer before it is given up.
    LAYER_TIMEOUT: float = 2.0

    #: The server pings each connection this often (Centrifuge protocol: ``ping``).
    PING_INTERVAL: float = 25.0
    #: No answer to a ping within this time disconnects with 3012.
    PONG_TIMEOUT: float = 10.0
    #: A socket that has taken nothing for so long, although there is something, is closed (3008).
    SLOW_TIMEOUT: float = 20.0
    #: A connection whose token has expired is closed (3005) so long after ``exp``: SDKs refresh at
    #: that very moment, and the answer takes its time.
    EXPIRED_CLOSE_DELAY: Delay = 25.0
    #: A socket that has not sent ``connect`` within this time is closed with 3502.
    CONNECT_TIMEOUT: float = 10.0

    #: Workers compare their streams with the database this often; None: 1 s with the
    #: in-memory layer, 5 s with any other.
    CHECK_INTERVAL: float | None = None
    #: How often at least while the channel layer brings nothing to the process.
    CHECK_INTERVAL_DOWN: float = 1.0
    #: Each worker looks this often for waiting notifications that are due.
    TICK_INTERVAL: float = 1.0
    #: Acknowledged positions and connection rows are written this often.
    FLUSH_INTERVAL: float = 1.0
    #: The connection rows of a worker that has died are gone after this time at most.
    WORKER_TIMEOUT: float = 30.0
    #: Each worker checks again this often that its users may still see what they see, even when
    #: nothing was announced.
    RIGHTS_INTERVAL: float = 30.0

    #: A worker that is told to stop closes its sockets spread over this time at most; 0: at once.
    DRAIN_SECONDS: Delay = 5.0

    #: Publications per page of history, and at most in one connect or subscribe reply.
    PAGE_SIZE: int = 300
    #: Largest frame taken from a client.
    MAX_FRAME_SIZE: int = 64 * 1024
    #: Commands that all connections of a user in one process may send per second on average, and
    #: at once.
    COMMAND_RATE: float = 50.0
    COMMAND_BURST: int = 200
    #: Connections of one user in one process; one more is closed with 3504.
    MAX_CONNECTIONS_PER_USER: int = 100
    #: Sockets of one client address in one process, authenticated or not; one more is closed
    #: with 3504. An IPv6 address counts with its whole /64.
    MAX_CONNECTIONS_PER_ADDRESS: int = 5000
    #: Topics one user may be subscribed to.
    MAX_TOPICS: int = 100
    #: Largest JSON of a notification's ``data``.
    MAX_DATA_SIZE: int = 16 * 1024
    #: Unread notifications are counted up to this number.
    MAX_UNREAD_COUNT: int = 1000

    #: Slugs of the topics that every active user may read, unless ``TOPIC_PERMISSION`` decides.
    TOPICS: tuple[str, ...] = ()
    #: Dotted path of ``f(user, slug) -> bool``: may this user read this topic? It alone decides.
    TOPIC_PERMISSION: str = ""
    #: Other sites whose pages may open a socket, as "https://a.example" or "https://*.a.example";
    #: besides those of the host that is asked, and of ``CSRF_TRUSTED_ORIGINS``.
    ALLOWED_ORIGINS: tuple[str, ...] = ()
    #: Threads (and so database connections) a worker uses for the commands of its clients; its
    #: own work has twelve more at most, and ``TOPIC_PERMISSION`` four.
    DATABASE_THREADS: int = 4
    #: How long a statement of a worker waits for a lock that somebody else holds.
    LOCK_TIMEOUT: float = 5.0
    #: How long a statement of a worker may take.
    STATEMENT_TIMEOUT: float = 20.0
    #: CPU seconds that one user's commands may take for each second, on average and at once, in
    #: one process; more has to wait.
    USER_WORK: float = 0.25
    USER_WORK_BURST: float = 2.0
    #: New objects after which the garbage collector of a server process looks at them; Python's
    #: own is 700, which in a process of many connections is a third of its work.
    GC_THRESHOLD: int = 50_000
    #: Server processes of the site, on all hosts together; None: not said. Starts none: only
    #: ``check --deploy`` judges by it.
    WORKERS: int | None = None
    #: Days that ``prune_notifications`` keeps.
    KEEP_DAYS: int = 90

    @property
    def check_interval(self) -> float:
        """Seconds between two position checks."""
        if self.CHECK_INTERVAL is not None:
            return self.CHECK_INTERVAL
        return 1.0 if layer_is_in_memory(self.CHANNEL_LAYER) else 5.0

    def topic_permission(self) -> Callable[[Any, str], bool] | None:
        """The callable behind ``TOPIC_PERMISSION``, None when ``TOPICS`` decides."""
        if not self.TOPIC_PERMISSION:
            return None
        return cast(Callable[[Any, str], bool], import_string(self.TOPIC_PERMISSION))

    @property
    def declared_topics(self) -> tuple[str, ...]:
        """The slugs in ``TOPICS``, without what E003 and E008 complain of."""
        if not isinstance(self.TOPICS, tuple):
            return ()
        return tuple(slug for slug in self.TOPICS if is_slug(slug))


FIELDS = {field.name: field for field in fields(Settings)}


class _LazySettings:
    """Stands for the current :class:`Settings`; builds it at the first access."""

    _current: Settings | None = None

    def __getattr__(self, name: str) -> Any:
        if self._current is None:
            self._current = Settings(**_known(_raw()))
        return getattr(self._current, name)

    def forget(self) -> None:
        self._current = None


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
    """May a topic be called so?"""
    return isinstance(value, str) and TOPIC_SLUG.match(value) is not None
