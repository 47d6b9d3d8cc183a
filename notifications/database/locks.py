"""Waiting for locks: not without bound, and not at all where that is possible.

SQLite has one lock, for the whole database, and a timeout for it in its settings.
"""

from django.db import Error as DatabaseError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

#: PostgreSQL's code of a lock that was not given in time.
LOCK_NOT_AVAILABLE = "55P03"

#: PostgreSQL's code of a transaction that was ended because each of two waited for the other.
DEADLOCK_DETECTED = "40P01"

#: Under these an old snapshot makes locking a row fail that has changed since.
SNAPSHOTS = ("REPEATABLE_READ", "SERIALIZABLE")


def has_row_locks(using: str) -> bool:
    """Is it rows that are locked, and not the whole database?"""
    return connections[using].vendor == "postgresql"


def limit_waiting(using: str, seconds: float) -> None:
    """Let the rest of the current transaction wait no longer than this for each lock.

    Args:
        using: alias of the database.
        seconds: more than 0; afterwards the statement fails, see :func:`was_locked`.
    """
    if has_row_locks(using):
        with connections[using].cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {max(1, round(seconds * 1000))}")


def was_locked(error: BaseException, *, or_deadlock: bool = False) -> bool:
    """Is this the error of a statement that has waited too long for a lock?

    Args:
        or_deadlock: one that was ended because of a deadlock counts too.
    """
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    codes = {LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED} if or_deadlock else {LOCK_NOT_AVAILABLE}
    return isinstance(error, DatabaseError) and code in codes


def hold_clause(connection: BaseDatabaseWrapper, *, wait: bool = False) -> str:
    """What ends a SELECT of rows that must not be deleted before the transaction ends.

    It is the lock that a foreign key takes at the commit anyway. Only a deletion stands in its way:
    a row that somebody is deleting is left out, unless it is to be waited for.
    """
    if connection.vendor != "postgresql":
        return ""
    level = getattr(getattr(connection, "isolation_level", None), "name", "")
    if level in SNAPSHOTS:
        return ""
    return "FOR KEY SHARE" if wait else "FOR KEY SHARE SKIP LOCKED"
