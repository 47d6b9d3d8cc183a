"""What publishing to streams and to channels of namespaces have in common."""

import base64
import binascii
from collections.abc import Sequence

from ...models import Notification, database_alias
from ...protocol import codes
from ...protocol.codes import ClientError
from ...publishing.notify import originals
from ...publishing.sequencing import sequence_after_commit
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
        ClientError: ``b64data`` is not base64.
    """
    if not request.b64data:
        return bytes(request.data)
    try:
        return base64.b64decode(request.b64data, validate=True)
    except (binascii.Error, ValueError):
        raise ClientError(codes.BAD_REQUEST, "b64data is not base64") from None


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
        The results by name. A publication that still has no offset has an empty one.
    """
    kept = originals(ids) if has_key else ids
    known = _positions(kept)
    if is_due and len(known) < len(kept):
        sequence_after_commit([], names, NOTHING_WRITTEN)
        kept = originals(ids) if has_key else ids
        known = _positions(kept)
    return {name: known.get(pk, PublishResult()) for name, pk in zip(names, kept, strict=True)}


def _positions(ids: Sequence[int]) -> dict[int, PublishResult]:
    found: dict[int, PublishResult] = {}
    for chunk in chunks(ids):
        rows = Notification.objects.using(database_alias()).published().filter(pk__in=chunk)
        for pk, offset, epoch in rows.values_list("pk", "offset", "stream__epoch"):
            found[pk] = PublishResult(offset or 0, epoch or "")
    return found
