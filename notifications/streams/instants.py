"""Times as whole microseconds since 1970, which both databases and the wire compare exactly.

Within a stream ``published_at`` ascends strictly with the offset. So it distinguishes an entry from
another one that got the same offset in another history.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import BigIntegerField, Func

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def instant(moment: datetime | None) -> int:
    """Convert a time to microseconds since 1970; None to 0. A naive time is taken as UTC."""
    if moment is None:
        return 0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // MICROSECOND


def moment(instant: int) -> datetime | None:
    """Convert an instant back to a time; 0 to None."""
    return EPOCH + instant * MICROSECOND if instant else None


class Instant(Func):
    """:func:`instant` of a column, computed by the database.

    The position check reads it for every stream, and making datetimes took half of its time.
    """

    output_field = BigIntegerField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "COALESCE(ROUND(EXTRACT(EPOCH FROM %(expressions)s) * 1000000)::bigint, 0)"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = (
            "COALESCE(CAST(strftime('%%%%s', substr(%(expressions)s, 1, 19)) AS INTEGER) * 1000000"
            " + CAST(substr(%(expressions)s || '.000000', 21, 6) AS INTEGER), 0)"
        )
        return self.as_sql(compiler, connection, template=template, **context)
