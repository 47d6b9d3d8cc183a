"""Publishing to built-in streams: each publication is a notification."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.core.exceptions import ValidationError
from django.utils import translation

from ...handlers.publish import PublishData
from ...protocol import codes
from ...protocol.codes import ClientError
from ...publishing.notify import publish_to_each
from .channels import without_audience
from .decoding import decode_object, refuse
from .requests import Publishing
from .sending import UNAVAILABLE, Outcomes, find_positions, read_data


class Content(PublishData):
    """The ``data`` of a publication: what a client may send, and the times."""

    publish_at: datetime | None = None
    expires_at: datetime | None = None


def publish_to_streams(names: Sequence[str], request: Publishing) -> Outcomes:
    """Send one notification to each of these streams, in one transaction.

    Args:
        names: names of built-in streams, each of them once.
        request: what to send.

    Returns:
        The outcomes by name. Invalid data are an error of each stream.
    """
    unknown = without_audience(names)
    outcomes: Outcomes = dict.fromkeys(unknown, ClientError(codes.UNKNOWN_CHANNEL))
    wanted = [name for name in names if name not in unknown]
    if not wanted:
        return outcomes
    try:
        options = _options(request)
        ids = _write(wanted, options)
    except ClientError as error:
        return {**outcomes, **dict.fromkeys(wanted, error)}
    has_key, is_due = options["key"] is not None, options["publish_at"] is None
    return outcomes | find_positions(wanted, ids, has_key=has_key, is_due=is_due)


def _options(request: Publishing) -> dict[str, Any]:
    """The arguments of ``notify`` that a request has.

    Raises:
        ClientError: the data are of another shape, or the request has what notifications lack.
    """
    refuse(request, (*UNAVAILABLE, "skip_history", "tags"))
    content = decode_object(read_data(request), Content)
    if request.idempotency_key and content.key not in (None, request.idempotency_key):
        raise ClientError(codes.BAD_REQUEST, "idempotency_key differs from the key in data")
    options = msgspec.structs.asdict(content)
    return {**options, "key": request.idempotency_key or content.key}


def _write(names: Sequence[str], options: dict[str, Any]) -> Sequence[int]:
    # Errors are read by developers, whatever languages their program accepts.
    with translation.override("en"):
        try:
            return publish_to_each(names, **options)
        except ValidationError as error:
            reasons = [f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items()]
            raise ClientError(codes.BAD_REQUEST, "; ".join(reasons)) from None
