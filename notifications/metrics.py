"""Prometheus metrics of the app. They share one prefix, and no label grows with the users.

Counting needs ``prometheus-client``: ``pip install "pushsite[metrics]"``. Without it the same
names exist, and count nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge
else:
    try:
        from prometheus_client import Counter, Gauge
    except ImportError:

        class Uncounted:
            """Stands in for a counter or gauge where ``prometheus-client`` is not installed."""

            def __init__(self, *args: Any, **options: Any) -> None:
                pass

            def labels(self, *values: Any) -> "Uncounted":
                return self

            def inc(self, amount: float = 1) -> None:
                pass

            def dec(self, amount: float = 1) -> None:
                pass

            def set(self, value: float) -> None:
                pass

        Counter = Gauge = Uncounted

PUBLISHED = Counter("notifications_published", "Notifications that got an offset")
SET_ASIDE = Gauge(
    "notifications_streams_set_aside",
    "Streams that fail by themselves and are tried again after a pause",
    # Over several processes: the maximum, because each finds the same streams.
    multiprocess_mode="livemax",
)
WRITTEN = Counter("notifications_written", "Publications written to sockets")
EPHEMERAL_DROPPED = Counter(
    "notifications_ephemeral_dropped",
    "Publications that are not stored and that a blocked socket did not take",
)
REPAIRED = Counter("notifications_repaired", "Streams whose tail the position check repaired")
RENEWED = Counter(
    "notifications_streams_renewed", "Streams that got a new epoch because their history went back"
)
POSITIONS_AHEAD = Counter(
    "notifications_positions_ahead", "Positions beyond the top of their stream that clients showed"
)
HISTORY_SUSPECT = Gauge(
    "notifications_history_suspect",
    "Is the database another one than its epochs belong to? Then renew_epochs has to run.",
    # Over several processes: 1 if any of them sees it.
    multiprocess_mode="livemax",
)
LAYER_ERRORS = Counter("notifications_layer_errors", "Messages the channel layer did not take")
LAYER_UP = Gauge(
    "notifications_layer_up",
    "Does the channel layer bring messages to this process?",
    # Over several processes: the number of processes that it reaches. Not the minimum, because the
    # parent process, which starts the others, receives no messages.
    multiprocess_mode="livesum",
)
DATABASE_ERRORS = Counter("notifications_database_errors", "Background tasks the database failed")
PERMISSION_ERRORS = Counter(
    "notifications_permission_errors",
    "Times that TOPIC_PERMISSION or a right of a namespace raised, which means no",
)
ANNOUNCEMENTS_DROPPED = Counter(
    "notifications_announcements_dropped", "Signals that slow receivers left no room for"
)
JOINS_DROPPED = Counter(
    "notifications_joins_dropped",
    "Joins and leaves that were not told, because there were too many",
)
ERRORS = Counter("notifications_errors", "Error replies to clients", ["code"])
SENDS_IGNORED = Counter(
    "notifications_sends_ignored", "Messages of clients (send) that called no procedure, or in vain"
)
DISCONNECTS = Counter("notifications_disconnects", "Connections closed by the server", ["code"])
CONNECTIONS = Gauge(
    "notifications_connections",
    "Authenticated connections of this process",
    # Over several processes: the sum over those that are alive.
    multiprocess_mode="livesum",
)
