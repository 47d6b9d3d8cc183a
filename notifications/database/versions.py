"""Whether anything at all has been committed to the database since the last look."""

from typing import Any, NamedTuple

from django.db import connections

#: The state of an SQLite database, without what the asking connection writes. See
#: https://www.sqlite.org/pragma.html#pragma_data_version
SQLITE = "PRAGMA data_version"

#: The transactions that a statement of PostgreSQL sees. While none with a write begins or ends, it
#: is the same: https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
#: A standby leaves transactions out of it. A server that starts again may have lost some.
POSTGRESQL = """
    SELECT CASE WHEN NOT pg_is_in_recovery()
    THEN CONCAT(pg_current_snapshot(), '/', pg_postmaster_start_time()) END
"""


class Version(NamedTuple):
    """A state of the database: equal versions, read one after the other, are the same state.

    Only versions that one database connection has read can be equal.

    Args:
        connection: the connection of the database's library.
        state: changes with every commit, on SQLite with every commit of another connection.
        own: changes with everything that this connection writes; 0 on PostgreSQL.
    """

    connection: Any
    state: int | str
    own: int


def read_version(using: str) -> Version | None:
    """Read the version of a database, as this thread's connection to it sees it.

    Read the version before the data that it stands for.

    Args:
        using: alias of the database.

    Returns:
        None where nothing shows all commits: on a standby, and in a transaction.
    """
    connection = connections[using]
    if connection.in_atomic_block:
        return None
    is_sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        cursor.execute(SQLITE if is_sqlite else POSTGRESQL)
        (state,) = cursor.fetchone()
    if state is None:
        return None
    database = connection.connection
    return Version(database, state, database.total_changes if is_sqlite else 0)
