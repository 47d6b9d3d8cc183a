"""Times as whole microseconds since 1970, which both databases and the wire compare exactly.

Within a stream ``published_at`` ascends strictly with the offset. So it distinguishes an entry from
another one that got the same offset in another history.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BigIntegerField, Func

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

#: The instant of a time as Django stores it in SQLite: without a fraction if that is 0.
_SQLITE_INSTANT = (
    "COALESCE(CAST(strftime('%s', substr({0}, 1, 19)) AS INTEGER) * 1000000"
    " + CAST(substr({0} || '.000000', 21, 6) AS INTEGER), 0)"
)

#: The same on PostgreSQL, which rounds it when it makes it a whole number.
_POSTGRES_INSTANT = "COALESCE((EXTRACT(EPOCH FROM {0}) * 1000000)::bigint, 0)"


def instant(moment: datetime | None) -> int:
    """Convert a time to microseconds since 1970; None to 0. A naive time is taken as UTC."""
    if moment is None:
        return 0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // MICROSECOND


def moment(instant: int) -> datetime | None:
    """Convert an instant back to a time; 0 to None."""
    return EPOCH + instant * MICROSECOND if instant else None


def sqlite_instant(column: str) -> str:
    """:func:`instant` of a column as SQL for SQLite, for a statement with parameters."""
    return _SQLITE_INSTANT.replace("%", "%%").format(column)


def instant_of(connection: BaseDatabaseWrapper, column: str) -> str:
    """:func:`instant` of a column as SQL, for a statement with parameters."""
    sqlite = connection.vendor == "sqlite"
    return sqlite_instant(column) if sqlite else _POSTGRES_INSTANT.format(column)


def sqlite_moment(column: str) -> str:
    """A time as Django stores it in SQLite, made by SQL from a column with its instant."""
    return (
        f"strftime('%%Y-%%m-%%d %%H:%%M:%%S', {column} / 1000000, 'unixepoch') || "
        f"CASE {column} %% 1000000 WHEN 0 THEN '' ELSE printf('.%%06d', {column} %% 1000000) END"
    )


class Instant(Func):
    """:func:`instant` of a column, computed by the database.

    The position check reads it for every stream, and making datetimes took half of its time.
    """

    output_field = BigIntegerField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = _POSTGRES_INSTANT.format("%(expressions)s")
        return self.as_sql(compiler, connection, template=template, **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = _SQLITE_INSTANT.replace("%", "%%%%").format("%(expressions)s")
        return self.as_sql(compiler, connection, template=template, **context)
