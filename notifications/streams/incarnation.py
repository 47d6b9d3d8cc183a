"""Detection of a changed physical database: a restored backup, or a replica that took over.

Such a database has the same epochs as the one that it replaces, but may lack the last transactions.
Offsets are then given a second time under an epoch that clients know, and the streams do not show
it. So a *fingerprint* of the physical database is kept in a row of its own, and compared with what
the server reports about itself.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from django.db import (
    InternalError,
    NotSupportedError,
    ProgrammingError,
    connections,
    transaction,
)
from django.db.models import QuerySet
from django.utils import timezone

from ..models import Incarnation, Stream, database_alias

#: The primary key of the only row.
ROW = 1

#: Queries that identify a PostgreSQL database. Restoring a dump creates new OIDs, often in another
#: cluster; point-in-time recovery and failover begin a new timeline.
POSTGRESQL = {
    "cluster": "SELECT system_identifier FROM pg_control_system()",
    "timeline": (
        "SELECT CASE WHEN NOT pg_is_in_recovery() "
        "THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END"
    ),
    "database": "SELECT oid FROM pg_database WHERE datname = current_database()",
    "table": f"SELECT to_regclass('{Stream._meta.db_table}')::oid",
}

#: How an operator ends a suspicion, for logs and checks.
COMMAND = (
    "Run manage.py renew_epochs if transactions may be missing, "
    "or manage.py renew_epochs --nothing-lost if none can be."
)


class Suspicion(NamedTuple):
    """Why the epochs may not belong to this history.

    Args:
        moved: this is another physical database than before.
        went_back: the history of a stream has gone back.
    """

    moved: bool
    went_back: bool

    def __str__(self) -> str:
        reasons = []
        if self.moved:
            reasons.append(
                "this is another database than the one in which notifications were published "
                "before, such as a restored backup or a replica that took over"
            )
        if self.went_back:
            reasons.append("the history of a stream has gone back")
        return ", and ".join(reasons)


def check_and_store() -> Suspicion | None:
    """Compare the fingerprint with the stored one, and store it if there is none.

    Returns:
        The suspicion, or None if there is none.
    """
    present = fingerprint()
    row = _rows().filter(pk=ROW).first()
    if row is None:
        # Several workers may start at once: the first one's row stays.
        Incarnation.objects.using(database_alias()).bulk_create(
            [Incarnation(pk=ROW, fingerprint=present)], ignore_conflicts=True
        )
        return None
    return _compare(row, present)


def check() -> Suspicion | None:
    """Like :func:`check_and_store`, but without writing anything; for system checks."""
    row = _rows().filter(pk=ROW).first()
    return None if row is None else _compare(row, fingerprint())


def suspect() -> None:
    """Record that the history of a stream has gone back, until :func:`accept` is called."""
    check_and_store()  # creates the row
    _rows().filter(pk=ROW, suspected_at=None).update(suspected_at=timezone.now())


def accept() -> None:
    """Accept that the epochs belong to this database, and end any suspicion."""
    Incarnation.objects.using(database_alias()).update_or_create(
        pk=ROW, defaults={"fingerprint": fingerprint(), "suspected_at": None}
    )


def fingerprint() -> str:
    """What distinguishes this physical database from its copies, as ``name=value`` pairs.

    Values that the server does not report, or not to this role, are left out; see :func:`differ`.
    """
    connection = connections[database_alias()]
    parts: dict[str, Any] = {}
    if connection.vendor == "postgresql":
        parts = _query_all()
    elif connection.vendor == "sqlite":
        parts = {"file": _inode(str(connection.settings_dict["NAME"]))}
    return " ".join(f"{name}={value}" for name, value in parts.items() if value is not None)


def differ(one: str, other: str) -> bool:
    """Return whether two fingerprints disagree in a value that both of them have."""
    first, second = _parts(one), _parts(other)
    return any(first[name] != second[name] for name in first.keys() & second.keys())


def _compare(row: Incarnation, present: str) -> Suspicion | None:
    found = Suspicion(differ(row.fingerprint, present), row.suspected_at is not None)
    return found if any(found) else None


def _parts(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in text.split())}


def _query_all() -> dict[str, Any]:
    """Ask all in one query, or one by one if a function is forbidden or missing."""
    together = ", ".join(f"({statement})" for statement in POSTGRESQL.values())
    values = _query(f"SELECT {together}")
    if values is None:
        values = [(_query(statement) or [None])[0] for statement in POSTGRESQL.values()]
    return dict(zip(POSTGRESQL, values, strict=True))


def _query(statement: str) -> Sequence[Any] | None:
    """The row, or None if the statement is not allowed or not supported."""
    connection = connections[database_alias()]
    # A savepoint, because an error would abort the caller's transaction.
    guard = (
        transaction.atomic(using=database_alias()) if connection.in_atomic_block else nullcontext()
    )
    try:
        with guard, connection.cursor() as cursor:
            cursor.execute(statement)
            row: Sequence[Any] | None = cursor.fetchone()
    except (ProgrammingError, NotSupportedError, InternalError):
        return None
    return row


def _inode(name: str) -> int | None:
    # Not the device number, which may change at the next boot.
    try:
        return Path(name).stat().st_ino
    except (OSError, ValueError):  # a database in memory
        return None


def _rows() -> QuerySet[Incarnation]:
    # A replica may lack this row, or have an old one.
    return Incarnation.objects.using(database_alias())
