"""The methods of the server API: what each takes, does, and costs."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from django.db import Error as DatabaseError
from msgspec import Struct

from ...host.questions import Undecided
from ...metrics import DATABASE_ERRORS
from ...models import APIKey
from ...protocol import codes
from ...protocol.codes import ClientError
from ...protocol.commands import (
    HistoryRequest,
    PresenceRequest,
    PresenceStatsRequest,
    RPCRequest,
)
from . import history, overview, presence, publishing, users
from .decoding import decode_object
from .requests import (
    Answer,
    BroadcastRequest,
    ChannelsRequest,
    DisconnectRequest,
    ErrorBody,
    NoArguments,
    PublishRequest,
    RefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)

logger = logging.getLogger(__name__)

#: What the commands of one HTTP request may cost together. Most cost 1.
MAX_WORK = 1000

#: What listing channels, workers or clients costs.
LISTING = 100

#: Publications of history that cost as much as publishing one.
PUBLICATIONS_PER_READ = 10


class Method(NamedTuple):
    """``perform(key, request)`` returns a result or raises ``ClientError``; None: not available."""

    request: type[Struct]
    perform: Callable[[APIKey, Any], Struct] | None
    cost: Callable[[Any], int] = lambda request: 1


class Budget:
    """What is left of the work of one HTTP request."""

    def __init__(self) -> None:
        self._left = MAX_WORK

    def take(self, cost: int) -> None:
        """Take this much.

        Raises:
            ClientError: less is left. Then nothing is taken, so that cheaper commands still run.
        """
        if cost > self._left:
            raise ClientError(codes.LIMIT_EXCEEDED, f"{MAX_WORK} commands or channels")
        self._left -= cost


METHODS: dict[str, Method] = {
    "publish": Method(PublishRequest, publishing.publish),
    "broadcast": Method(
        BroadcastRequest, publishing.broadcast, lambda request: len(request.channels)
    ),
    "history": Method(
        HistoryRequest,
        history.read_history,
        lambda request: 1 + history.page_size(request) // PUBLICATIONS_PER_READ,
    ),
    "presence": Method(PresenceRequest, presence.list_presence, lambda request: LISTING),
    "presence_stats": Method(PresenceStatsRequest, presence.count_presence),
    "subscribe": Method(SubscribeRequest, users.subscribe),
    "unsubscribe": Method(UnsubscribeRequest, users.unsubscribe),
    "disconnect": Method(DisconnectRequest, users.disconnect),
    "refresh": Method(RefreshRequest, users.refresh),
    "channels": Method(ChannelsRequest, overview.list_channels, lambda request: LISTING),
    "info": Method(NoArguments, overview.describe_nodes, lambda request: LISTING),
    # Notifications are pruned by their age only.
    "history_remove": Method(NoArguments, None),
    "rpc": Method(RPCRequest, None),
}

#: The methods that a key can have in its scope.
GRANTABLE = tuple(name for name, method in METHODS.items() if method.perform is not None)


def read(name: str, data: bytes) -> Struct:
    """Decode the request of a method.

    Args:
        name: the name of the method.
        data: the request as JSON.

    Raises:
        ClientError: there is no such method, or the request has another shape.
    """
    if name not in METHODS:
        raise ClientError(codes.METHOD_NOT_FOUND)
    return decode_object(data, METHODS[name].request)


def call(key: APIKey, name: str, request: Struct, budget: Budget) -> Answer:
    """Carry out a request that :func:`read` has decoded; errors become answers."""
    try:
        return Answer(result=_perform(key, name, request, budget))
    except ClientError as error:
        return refusal(error)
    except Undecided:  # the host's code is too slow: temporary
        return refusal(ClientError(codes.INTERNAL))
    except DatabaseError as error:
        DATABASE_ERRORS.inc()
        logger.warning("The API method %s failed (%s).", name, type(error).__name__)
    except Exception:  # one command of a batch must not undo the others
        logger.exception("The API method %s failed.", name)
    return refusal(ClientError(codes.INTERNAL))


def refusal(error: ClientError) -> Answer:
    return Answer(error=ErrorBody(error.error.code, error.error.message))


def _perform(key: APIKey, name: str, request: Struct, budget: Budget) -> Struct:
    method = METHODS[name]
    if method.perform is None:
        raise ClientError(codes.NOT_AVAILABLE)
    if not key.may_call(name):
        raise ClientError(codes.PERMISSION_DENIED)
    budget.take(method.cost(request))
    return method.perform(key, request)
