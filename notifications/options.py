"""The options that every function and signal that publishes takes as keyword arguments."""

from datetime import datetime
from typing import Any, TypedDict


class Options(TypedDict, total=False):
    """What a notification may have besides its title.

    This is the one list of these names; :func:`notifications.notify` explains each of them.
    """

    body: str
    url: str
    kind: str
    level: str
    data: dict[str, Any] | None
    actor: Any
    key: str | None
    publish_at: datetime | None
    expires_at: datetime | None
