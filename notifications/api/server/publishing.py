"""``publish`` and ``broadcast``: other backends send notifications.

A publication goes the durable way of every notification: it is committed before the answer, and
delivered whatever happens then.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.core.exceptions import ValidationError
from django.utils import translation

from ...handlers.publish import PublishData
from ...models import APIKey, Notification, database_alias
from ...protocol import codes
from ...protocol.codes import ClientError
from ...publishing import notify as publishing
from ...publishing.sequencing import sequence_after_commit
from ...publishing.writing import Written
from ...streams.rows import chunks
from .channels import check_channel, without_audience
from .decoding import decode, refuse
from .requests import (
    Answer,
    BroadcastRequest,
    BroadcastResult,
    ErrorBody,
    Publishing,
    PublishRequest,
    PublishResult,
)

#: What Centrifugo has, and stored notifications cannot have.
UNAVAILABLE = ("skip_history", "tags", "version", "version_epoch")

NOTHING_WRITTEN = Written(frozenset(), b"", None)

Outcome = PublishResult | ClientError


class Content(PublishData):
    """The ``data`` of a publication: what a client may send, and the times."""

    publish_at: datetime | None = None
    expires_at: datetime | None = None


def publish(key: APIKey, request: PublishRequest) -> PublishResult:
    """Send one notification.

    Raises:
        ClientError: the channel or the data are refused; nothing is written then.
    """
    outcome = _publish(key, [request.channel], request)[request.channel]
    if isinstance(outcome, ClientError):
        raise outcome
    return outcome


def broadcast(key: APIKey, request: BroadcastRequest) -> BroadcastResult:
    """Send one notification to each of many channels, in one transaction.

    A channel that is refused has an error of its own. A channel that is named twice gets the
    notification once.

    Raises:
        ClientError: the data are refused; nothing is written then.
    """
    if not request.channels:
        raise ClientError(codes.BAD_REQUEST, "channels required")
    outcomes = _publish(key, request.channels, request)
    return BroadcastResult([_answer(outcomes[name]) for name in request.channels])


def _publish(key: APIKey, names: Sequence[str], request: Publishing) -> dict[str, Outcome]:
    """Publish to those of these channels that are not refused; the outcome by channel."""
    refused = {name: error for name in names if (error := _refusal(key, name)) is not None}
    allowed = [name for name in dict.fromkeys(names) if name not in refused]
    unknown = without_audience(allowed)
    wanted = [name for name in allowed if name not in unknown]
    outcomes: dict[str, Outcome] = {
        **refused,
        **dict.fromkeys(unknown, ClientError(codes.UNKNOWN_CHANNEL)),
    }
    if wanted:
        options = _options(request)
        ids = _write(wanted, options)
        known = _positions(ids)
        if len(known) < len(ids) and options["publish_at"] is None:
            ids = _wait_for_others(wanted, ids)
            known = _positions(ids)
        outcomes |= {n: known.get(pk, PublishResult()) for n, pk in zip(wanted, ids, strict=True)}
    return outcomes


def _refusal(key: APIKey, name: str) -> ClientError | None:
    try:
        check_channel(key, name)
    except ClientError as error:
        return error
    return None


def _options(request: Publishing) -> dict[str, Any]:
    """The arguments of ``notify`` that a request has.

    Raises:
        ClientError: the data are of another shape, or the request has what is not available.
    """
    refuse(request, UNAVAILABLE)
    content = decode(_data(request), Content)
    if request.idempotency_key and content.key not in (None, request.idempotency_key):
        raise ClientError(codes.BAD_REQUEST, "idempotency_key differs from the key in data")
    options = msgspec.structs.asdict(content)
    return {**options, "key": request.idempotency_key or content.key}


def _data(request: Publishing) -> bytes:
    if not request.b64data:
        return bytes(request.data)
    try:
        return base64.b64decode(request.b64data, validate=True)
    except (binascii.Error, ValueError):
        raise ClientError(codes.BAD_REQUEST, "b64data is not base64") from None


def _write(names: Sequence[str], options: dict[str, Any]) -> list[int]:
    # Errors are read by developers, whatever languages their program accepts.
    with translation.override("en"):
        try:
            return publishing.publish_to_each(names, **options)
        except ValidationError as error:
            reasons = [f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items()]
            raise ClientError(codes.BAD_REQUEST, "; ".join(reasons)) from None


def _wait_for_others(names: Sequence[str], ids: Sequence[int]) -> list[int]:
    """Wait briefly while other processes number these streams, or the first call with a key ends.

    Returns:
        The primary keys, with those of duplicates replaced.
    """
    sequence_after_commit([], names, NOTHING_WRITTEN)
    return publishing.originals(ids)


def _positions(ids: Sequence[int]) -> dict[int, PublishResult]:
    """Where these notifications are, without those that wait for an offset."""
    found: dict[int, PublishResult] = {}
    for chunk in chunks(ids):
        rows = Notification.objects.using(database_alias()).published().filter(pk__in=chunk)
        for pk, offset, epoch in rows.values_list("pk", "offset", "stream__epoch"):
            found[pk] = PublishResult(offset or 0, epoch or "")
    return found


def _answer(outcome: Outcome) -> Answer:
    if isinstance(outcome, ClientError):
        return Answer(error=ErrorBody(outcome.error.code, outcome.error.message))
    return Answer(result=outcome)
