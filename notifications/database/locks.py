"""Bounds on waiting for locks.

SQLite has one lock, for the whole database, and the timeout for it is a setting of the connection.
"""

from django.db import Error as DatabaseError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

#: PostgreSQL's error code when a lock was not available in time.
LOCK_NOT_AVAILABLE = "55P03"

#: PostgreSQL's error code when a transaction was aborted to end a deadlock.
DEADLOCK_DETECTED = "40P01"

#: Isolation levels in which locking a row fails if it has changed since the snapshot.
SNAPSHOT_LEVELS = ("REPEATABLE_READ", "SERIALIZABLE")


def has_row_locks(using: str) -> bool:
    """Return whether the database locks rows, and not the whole database."""
    return connections[using].vendor == "postgresql"


def reads_snapshot(connection: BaseDatabaseWrapper) -> bool:
    """Return whether locking a row may fail, because transactions read a snapshot of their own."""
    level = getattr(getattr(connection, "isolation_level", None), "name", "")
    return level in SNAPSHOT_LEVELS


def limit_waiting(using: str, seconds: float) -> None:
    """Limit how long the rest of the current transaction waits for each lock.

    A statement that waits longer fails; see :func:`was_locked`. It has no effect on SQLite.

    Args:
        using: alias of the database.
        seconds: more than 0.
    """
    if has_row_locks(using):
        with connections[using].cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {max(1, round(seconds * 1000))}")


def was_locked(error: BaseException, *, or_deadlock: bool = False) -> bool:
    """Return whether a statement failed because it waited too long for a lock.

    Args:
        error: the error of the statement.
        or_deadlock: count a statement that was aborted because of a deadlock, too.
    """
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    codes = {LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED} if or_deadlock else {LOCK_NOT_AVAILABLE}
    return isinstance(error, DatabaseError) and code in codes


def hold_clause(connection: BaseDatabaseWrapper, *, wait: bool = False) -> str:
    """The locking clause of a SELECT whose rows must not be deleted until the transaction ends.

    It takes the lock that a foreign key takes at the commit anyway, which conflicts only with a
    deletion. The clause is empty where locking rows is not possible or could fail.

    Args:
        connection: the connection that runs the SELECT.
        wait: wait for rows that others are deleting; by default these are left out.
    """
    if connection.vendor != "postgresql" or reads_snapshot(connection):
        return ""
    return "FOR KEY SHARE" if wait else "FOR KEY SHARE SKIP LOCKED"
