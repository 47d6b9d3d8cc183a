"""What publishing to streams and to channels of namespaces have in common."""

import base64
import binascii
from collections.abc import Sequence

from django.db import Error as DatabaseError

from ...metrics import DATABASE_ERRORS
from ...models import Notification, database_alias
from ...protocol import codes
from ...protocol.codes import ClientError
from ...publishing.committed import sequence_streams
from ...publishing.notify import originals
from ...publishing.writing import Written
from ...streams.rows import chunks
from .requests import Publishing, PublishResult

#: Where a publication is, or why there is none, by channel.
Outcomes = dict[str, PublishResult | ClientError]

#: Options that are stored with nothing.
UNAVAILABLE = ("version", "version_epoch")

NOTHING_WRITTEN = Written(frozenset(), b"", None)


def read_data(request: Publishing) -> bytes:
    """The data of a publication as JSON.

    Raises:
        ClientError: there is none, or ``b64data`` is not base64.
    """
    data = bytes(request.data)
    if request.b64data:
        try:
            data = base64.b64decode(request.b64data, validate=True)
        except (binascii.Error, ValueError):
            raise ClientError(codes.BAD_REQUEST, "b64data is not base64") from None
    if not data:
        raise ClientError(codes.BAD_REQUEST, "data is missing")
    return data


def find_positions(
    names: Sequence[str], ids: Sequence[int], *, has_key: bool, is_due: bool = True
) -> Outcomes:
    """Find where publications are that have just been committed.

    Args:
        names: the names of their streams.
        ids: their primary keys in the same order.
        has_key: whether they may be duplicates of others with their key.
        is_due: whether to wait briefly while another process numbers one of the streams, or the
            first call with the same key ends.

    Returns:
        The results by name. A publication that still has no offset has an empty one. So has every
        one if the database fails now: after an error, a caller would send them again.
    """
    try:
        kept, known = _find(names, ids, has_key, is_due)
    except DatabaseError:
        DATABASE_ERRORS.inc()
        return {name: PublishResult() for name in names}
    return {name: known.get(pk, PublishResult()) for name, pk in zip(names, kept, strict=True)}


def _find(
    names: Sequence[str], ids: Sequence[int], has_key: bool, is_due: bool
) -> tuple[Sequence[int], dict[int, PublishResult]]:
    """The primary keys of those that were kept, and the positions that are known of them."""
    kept = originals(ids) if has_key else ids
    known = _positions(kept)
    if is_due and len(known) < len(kept):
        sequence_streams([], names, NOTHING_WRITTEN)
        kept = originals(ids) if has_key else ids
        known = _positions(kept)
    return kept, known


def _positions(ids: Sequence[int]) -> dict[int, PublishResult]:
    found: dict[int, PublishResult] = {}
    for chunk in chunks(ids):
        rows = Notification.objects.using(database_alias()).published().filter(pk__in=chunk)
        for pk, offset, epoch in rows.values_list("pk", "offset", "stream__epoch"):
            found[pk] = PublishResult(offset or 0, epoch or "")
    return found
