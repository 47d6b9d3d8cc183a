"""Whether anything at all has been committed to the database since the last look."""

from typing import Any, NamedTuple

from django.db import connections

from ..models import database_alias


class Version(NamedTuple):
    """A state of the database: equal versions, read one after the other, are the same state.

    Only versions that one database connection has read can be equal.
    """

    connection: Any
    number: int


def read_version() -> Version | None:
    """Read the version of the app's database, as this thread's connection sees it.

    It is a counter of SQLite (https://www.sqlite.org/pragma.html#pragma_data_version), which every
    commit of another connection changes. Read it before the data that it stands for.

    Returns:
        None where there is no such counter, and on a connection that has itself written anything,
        because it does not count its own commits.
    """
    connection = connections[database_alias()]
    if connection.vendor != "sqlite":
        return None
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA data_version")
        (number,) = cursor.fetchone()
    raw = connection.connection
    return None if raw.total_changes or raw.in_transaction else Version(raw, number)
