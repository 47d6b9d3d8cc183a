"""``publish`` and ``broadcast``: other backends send notifications, and publish to channels.

What is stored is committed before the answer, and delivered whatever happens then.
"""

import logging
from collections.abc import Callable, Sequence

from django.db import Error as DatabaseError

from ...metrics import DATABASE_ERRORS
from ...models import APIKey
from ...namespaces import namespace_of
from ...protocol import codes
from ...protocol.codes import ClientError
from .channels import check_channel
from .namespaces import publish_to_channels
from .requests import (
    Answer,
    BroadcastRequest,
    BroadcastResult,
    ErrorBody,
    Publishing,
    PublishRequest,
    PublishResult,
)
from .sending import Outcomes
from .streams import publish_to_streams

logger = logging.getLogger(__name__)


def publish(key: APIKey, request: PublishRequest) -> PublishResult:
    """Publish to one channel.

    Raises:
        ClientError: the channel or the data are refused; nothing is written then.
    """
    outcome = _publish(key, [request.channel], request)[request.channel]
    if isinstance(outcome, ClientError):
        raise outcome
    return outcome


def broadcast(key: APIKey, request: BroadcastRequest) -> BroadcastResult:
    """Publish the same to many channels.

    A channel that is refused, or whose data are, has an error of its own. A channel that is named
    twice gets one publication.

    Raises:
        ClientError: there are no channels.
    """
    if not request.channels:
        raise ClientError(codes.BAD_REQUEST, "channels required")
    outcomes = _publish(key, request.channels, request)
    return BroadcastResult([_answer(outcomes[name]) for name in request.channels])


def _publish(key: APIKey, names: Sequence[str], request: Publishing) -> Outcomes:
    """Publish to those of these channels that are not refused; the outcome by channel."""
    outcomes: Outcomes = {}
    streams, channels = [], []
    for name in dict.fromkeys(names):
        refusal = _refusal(key, name)
        if refusal is not None:
            outcomes[name] = refusal
        elif namespace_of(name) is None:
            streams.append(name)
        else:
            channels.append(name)
    outcomes |= _attempt(publish_to_streams, streams, request)
    outcomes |= _attempt(publish_to_channels, channels, request)
    return outcomes


def _attempt(
    publish_to: Callable[[Sequence[str], Publishing], Outcomes],
    names: Sequence[str],
    request: Publishing,
) -> Outcomes:
    """Publish to these channels. An error of the database is one of these, and of no others.

    Others may be committed already: a caller who is told of an error would send them again.
    """
    if not names:
        return {}
    try:
        return publish_to(names, request)
    except DatabaseError as error:
        DATABASE_ERRORS.inc()
        logger.warning("Publishing over the server API failed (%s).", type(error).__name__)
        return dict.fromkeys(names, ClientError(codes.INTERNAL))


def _refusal(key: APIKey, name: str) -> ClientError | None:
    try:
        check_channel(key, name)
    except ClientError as error:
        return error
    return None


def _answer(outcome: PublishResult | ClientError) -> Answer:
    if isinstance(outcome, ClientError):
        return Answer(error=ErrorBody(outcome.error.code, outcome.error.message))
    return Answer(result=outcome)
