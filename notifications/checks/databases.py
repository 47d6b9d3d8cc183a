"""Checks that the database is one that the app supports. They always run."""

import sqlite3
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import load_backend

from ..models import database_alias

#: The supported vendors. "unknown" (no database or no driver) is left to Django's own errors.
SUPPORTED = ("postgresql", "sqlite", "unknown")

#: The first version with ``RETURNING``.
SQLITE = (3, 35)

#: Seconds that SQLite waits for a lock at least, which is also Python's own default.
LEAST_TIMEOUT = 5

SQLITE_HINT = """Give the database these OPTIONS:
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }"""


@register(Tags.compatibility)
def check_database(**kwargs: Any) -> list[CheckMessage]:
    """``E007`` and ``E009``: the SQLite version is too old, or the vendor is not supported.

    Only the settings are read, so it runs without ``--database``, and before ``migrate`` writes
    anything. Django itself rejects a PostgreSQL server that is too old when it connects.
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
def check_sqlite_options(**kwargs: Any) -> list[CheckMessage]:
    """``W013``, always: options of SQLite with which two processes cannot write.

    See "Database is locked errors" in Django's notes on SQLite. Databases in memory belong to one
    process.
    """
    entry = settings.DATABASES.get(database_alias(), {})
    name = str(entry.get("NAME") or "")
    if vendor() != "sqlite" or ":memory:" in name or "mode=memory" in name:
        return []
    options = entry.get("OPTIONS") or {}
    lacking = []
    if str(options.get("transaction_mode") or "").upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        lacking.append('no transaction_mode "IMMEDIATE"')
    if "journal_mode=wal" not in _squeezed(options.get("init_command")):
        lacking.append("no journal_mode=WAL in init_command")
    if float(options.get("timeout", LEAST_TIMEOUT)) < LEAST_TIMEOUT:
        lacking.append(f"a timeout below {LEAST_TIMEOUT} s")
    if not lacking:
        return []
    return [
        Warning(
            'A second process will meet "database is locked", because the database '
            f"{database_alias()!r} has {' and '.join(lacking)}.",
            hint=SQLITE_HINT,
            id="notifications.W013",
        )
    ]


def _squeezed(command: object) -> str:
    """An SQL command in lower case, without the spaces and quotes that SQLite allows."""
    return "".join(str(command or "").lower().translate(dict.fromkeys(map(ord, "'\"`"))).split())


@register(Tags.compatibility)
def check_time_zones(**kwargs: Any) -> list[CheckMessage]:
    """``E010``: local times are stored. They repeat an hour when daylight saving time ends."""
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
    """The vendor of the database of the app's models; "unknown" without a database or driver."""
    engine = settings.DATABASES.get(database_alias(), {}).get("ENGINE", "")
    try:
        return str(load_backend(engine or "django.db.backends.dummy").DatabaseWrapper.vendor)
    except ImproperlyConfigured:
        return "unknown"
