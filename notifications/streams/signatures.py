"""Signatures of streams: the database finds which rows have changed since they were read.

The position check compares all streams of a process each second, and nearly all of them are as they
were. So the database compares, and Python sees only the others.
"""

import json
from collections.abc import Iterable
from functools import lru_cache

from django.db import connections
from django.db.models import TextField
from django.db.models.expressions import RawSQL

from ..models import Stream, database_alias
from .instants import EPOCH, MICROSECOND
from .rows import chunks

TABLE = f'"{Stream._meta.db_table}"'

#: The signature of a row: the text of all that identifies the state of a stream.
SIGNATURES = {
    "sqlite": (
        f"{TABLE}.id || '/' || {TABLE}.epoch || '/' || {TABLE}.top || '/' || {TABLE}.revision"
        f" || '/' || COALESCE({TABLE}.published_at, '')"
    ),
    "postgresql": (
        f"CONCAT_WS('/', {TABLE}.id, {TABLE}.epoch, {TABLE}.top, {TABLE}.revision,"
        f" {TABLE}.published_at)"
    ),
}

#: The rows of a JSON array of signatures, and the id in one of them.
KNOWN = {
    "sqlite": ("json_each(%s) AS known", "CAST(known.value AS INTEGER)"),
    "postgresql": (
        "json_array_elements_text(%s::json) AS known(value)",
        "SPLIT_PART(known.value, '/', 1)::bigint",
    ),
}

#: Signatures per statement.
PER_QUERY = 1000


def signature() -> RawSQL:
    """The signature of a stream, for a query of streams.

    It must be read in one row with what it stands for: a later one would hide a change between.
    """
    sql = SIGNATURES[connections[database_alias()].vendor]
    return RawSQL(f"({sql})", [], output_field=TextField())  # noqa: S611 - a constant


def expected(stream_id: int, epoch: str, top: int, revision: int, at: int) -> str:
    """The signature that a row has if it says this and nothing else.

    It may turn out wrong for a database that writes times in another way; then the stream is read.

    Args:
        stream_id: primary key of the row.
        epoch: epoch of the stream.
        top: its highest offset.
        revision: its revision.
        at: when the entry at ``top`` was published, in microseconds since 1970.
    """
    return f"{stream_id}/{epoch}/{top}/{revision}/{_time(at)}"


@lru_cache(maxsize=1024)
def _time(at: int) -> str:
    """A time as the database writes it in a signature."""
    text = (EPOCH + at * MICROSECOND).replace(tzinfo=None).isoformat(" ")
    if connections[database_alias()].vendor != "postgresql":
        return text
    return f"{text.rstrip('0') if '.' in text else text}+00"


def changed(signatures: Iterable[str]) -> set[int]:
    """Find the streams whose rows have changed, or are gone, with one query per 1000 streams.

    Args:
        signatures: the signatures of the streams as they were read before.

    Returns:
        The primary keys of these streams.
    """
    connection = connections[database_alias()]
    source, stream_id = KNOWN[connection.vendor]
    sql = (
        f"SELECT {stream_id} FROM {source} LEFT JOIN {TABLE} ON {TABLE}.id = {stream_id}"  # noqa: S608 - constants
        f" WHERE {TABLE}.id IS NULL OR known.value <> ({SIGNATURES[connection.vendor]})"
    )
    found: set[int] = set()
    with connection.cursor() as cursor:
        for chunk in chunks(list(signatures), PER_QUERY):
            cursor.execute(sql, [json.dumps(chunk)])
            found.update(stream_id for (stream_id,) in cursor.fetchall())
    return found
