"""Publishing to channels of namespaces: any JSON, stored or not as the namespace says."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ...namespaces import find_namespace
from ...protocol import codes
from ...protocol.codes import ClientError
from ...publishing import channels as publishing
from .decoding import MAX_DETAIL, decode, refuse
from .requests import Publishing, PublishResult
from .sending import UNAVAILABLE, Outcomes, find_positions, read_data

logger = logging.getLogger(__name__)


def publish_to_channels(names: Sequence[str], request: Publishing) -> Outcomes:
    """Publish the same to each of these channels.

    Args:
        names: names of channels of declared namespaces, each of them once.
        request: what to publish.

    Returns:
        The outcomes by name. A result has a position in a durable namespace only.
    """
    try:
        refuse(request, UNAVAILABLE)
        data = decode(read_data(request), object)
    except ClientError as error:
        return dict.fromkeys(names, error)
    outcomes: Outcomes = {}
    # All namespaces encode alike, so there is one content.
    stored: defaultdict[bytes, list[str]] = defaultdict(list)
    for name in names:
        try:
            content = _compose(name, data, request)
        except ClientError as error:
            outcomes[name] = error
            continue
        if content is None:
            outcomes[name] = PublishResult()
        else:
            stored[content].append(name)
    for content, channels in stored.items():
        key = request.idempotency_key or None  # _compose has checked it
        ids = publishing.store_in_each(channels, content, key)
        outcomes |= find_positions(channels, ids, has_key=key is not None)
    return outcomes


def _compose(name: str, data: Any, request: Publishing) -> bytes | None:
    """Encode a publication of a durable namespace; publish one of an ephemeral namespace at once.

    Raises:
        ClientError: the data or an option is refused.
    """
    is_durable = find_namespace(name).durable
    refuse(request, ("skip_history",) if is_durable else ("idempotency_key",))
    try:
        publishing.check_key(name, request.idempotency_key)
        if is_durable:
            return publishing.compose(name, data, request.tags)
        publishing.publish(name, data, tags=request.tags)
    except ValueError as error:
        raise ClientError(codes.BAD_REQUEST, str(error)[:MAX_DETAIL]) from None
    except Exception as error:  # the host's schema may raise anything
        logger.warning("The schema of a namespace raised %s.", type(error).__name__)
        raise ClientError(codes.INTERNAL) from None
    return None
