"""The clock that decides what is due and what has expired: the database's, if it has one.

The clocks of workers and callers differ, and the decision must not depend on who makes it. SQLite
has no clock other than that of the process that uses it.
"""

from datetime import datetime
from typing import cast

from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone

#: The present moment in raw SQL, for PostgreSQL.
SQL_NOW = "STATEMENT_TIMESTAMP()"


def has_clock(using: str) -> bool:
    """Return whether this database has a clock of its own."""
    return connections[using].vendor == "postgresql"


def present(using: str) -> Now | datetime:
    """The present moment, as an expression or value for a query.

    Args:
        using: alias of the database that the query is for.
    """
    # SQLite's Now() is a text with milliseconds, which compares wrongly with stored microseconds.
    return Now() if has_clock(using) else timezone.now()


def read_clock(using: str) -> datetime:
    """The present moment by the database's clock, read with a statement of its own.

    Args:
        using: alias of the database.
    """
    if not has_clock(using):
        return timezone.now()
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {SQL_NOW}")
        return cast("datetime", cursor.fetchone()[0])
