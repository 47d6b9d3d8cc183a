"""Whether anything at all has been committed to the database since the last look."""

from typing import Any, NamedTuple

from django.db import connections


class Version(NamedTuple):
    """A state of the database: equal versions, read one after the other, are the same state.

    Only versions that one database connection has read can be equal.

    Args:
        connection: the connection of the database's library.
        of_others: changes with every commit of another connection.
        own: changes with everything that this connection writes.
    """

    connection: Any
    of_others: int
    own: int


def read_version(using: str) -> Version | None:
    """Read the version of a database, as this thread's connection to it sees it.

    SQLite counts commits (https://www.sqlite.org/pragma.html#pragma_data_version). Read the version
    before the data that it stands for.

    Args:
        using: alias of the database.

    Returns:
        None where there is no such counter, and in a transaction.
    """
    connection = connections[using]
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return None
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA data_version")
        (of_others,) = cursor.fetchone()
    return Version(connection.connection, of_others, connection.connection.total_changes)
