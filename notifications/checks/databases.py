"""Can the database hold what the app writes? Checked always."""

import sqlite3
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import load_backend

from ..models import database_alias

#: The databases whose SQL the app writes, and none at all, of which Django says enough.
SUPPORTED = ("postgresql", "sqlite", "unknown")

#: The first version with ``RETURNING``.
SQLITE = (3, 35)


@register(Tags.compatibility)
def check_database(**kwargs: Any) -> list[CheckMessage]:
    """``E007`` and ``E009``, always: a database whose SQL is another one.

    It looks at settings only, so that ``check`` tells without ``--database``, and ``migrate``
    before it writes anything. How old PostgreSQL may be, Django says itself when it connects.
    """
    found = vendor()
    if found == "sqlite" and sqlite3.sqlite_version_info < SQLITE:
        return [
            Error(
                f"SQLite 3.35 or later is needed, and Python has {sqlite3.sqlite_version}.",
                hint="Another Python build brings a newer one; or use PostgreSQL.",
                id="notifications.E007",
            )
        ]
    if found in SUPPORTED:
        return []
    return [
        Error(
            f"Notifications are stored in PostgreSQL or SQLite, and the database is {found}.",
            hint="Give the app a database of its own by a database router, or use another one.",
            id="notifications.E009",
        )
    ]


@register(Tags.compatibility)
def check_time_zones(**kwargs: Any) -> list[CheckMessage]:
    """``E010``, always: times without a zone, of which an hour comes twice a year."""
    zone = settings.DATABASES.get(database_alias(), {}).get("TIME_ZONE")
    if settings.USE_TZ and (zone in (None, "UTC") or vendor() == "postgresql"):
        return []
    return [
        Error(
            "Notifications need USE_TZ = True, and no TIME_ZONE of the database: local times go "
            "back an hour when summer ends, and time decides what is due, expired and in order.",
            hint="Django's documentation on time zones says how to change over.",
            id="notifications.E010",
        )
    ]


def vendor() -> str:
    """Whose database the app's models are in; "unknown" where there is none, or no driver."""
    engine = settings.DATABASES.get(database_alias(), {}).get("ENGINE", "")
    try:
        return str(load_backend(engine or "django.db.backends.dummy").DatabaseWrapper.vendor)
    except ImproperlyConfigured:
        return "unknown"
