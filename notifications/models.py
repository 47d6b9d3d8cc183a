"""The models of the app.

:mod:`notifications.publishing.sequencing` keeps these invariants: the offsets of a stream are
1, 2, 3 … without gaps, ``Stream.top`` is the highest offset given, and a notification without an
offset is *waiting*.
"""

from .options import Level
from .tables.database import database_alias
from .tables.keys import APIKey
from .tables.mailings import Mailing
from .tables.notifications import (
    Broadcast,
    Notification,
    NotificationQuerySet,
)
from .tables.processes import (
    Connection,
    Incarnation,
    Member,
    Worker,
)
from .tables.streams import (
    Receipt,
    Stream,
    Subscription,
    new_epoch,
)
from .tables.validators import (
    validate_kind,
    validate_text,
    validate_url,
)

__all__ = [
    "APIKey",
    "Broadcast",
    "Connection",
    "Incarnation",
    "Level",
    "Mailing",
    "Member",
    "Notification",
    "NotificationQuerySet",
    "Receipt",
    "Stream",
    "Subscription",
    "Worker",
    "database_alias",
    "new_epoch",
    "validate_kind",
    "validate_text",
    "validate_url",
]
