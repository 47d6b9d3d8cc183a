"""The clock that decides for everybody: the database's, where it has one.

The clocks of workers and callers differ. What is due and what has expired must not depend on which
of them asks. SQLite has no clock but that of the process that asks.
"""

from datetime import datetime
from typing import cast

from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone

#: The present moment in SQL that is written out, for PostgreSQL.
SQL_NOW = "STATEMENT_TIMESTAMP()"


def has_clock(using: str) -> bool:
    """Does this database have a clock of its own?"""
    return connections[using].vendor == "postgresql"


def present(using: str) -> Now | datetime:
    """The present moment, as a query compares it or stores it.

    Args:
        using: alias of the database that the query is for.
    """
    # SQLite's Now() is a text with milliseconds: it compares wrongly with stored microseconds.
    return Now() if has_clock(using) else timezone.now()


def read_clock(using: str) -> datetime:
    """What the database's clock says now, asked with a statement of its own.

    Args:
        using: alias of the database.
    """
    if not has_clock(using):
        return timezone.now()
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {SQL_NOW}")
        return cast("datetime", cursor.fetchone()[0])
