"""Methods about one user: closing connections, and the topics that the user follows.

A key needs the channel ``user:<id>`` in its scope to close a user's connections, and the topic to
let a user follow it.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction

from ... import inbox
from ...connect.authentication import active_users, parse_key
from ...connect.tokens import MAX_EXPIRY
from ...models import APIKey, Connection, database_alias
from ...namespaces import namespace_of
from ...protocol import codes
from ...protocol.codes import ClientError
from ...streams import names as stream_names
from ...streams import rights
from ...texts import is_storable
from .channels import check_channel
from .decoding import refuse
from .requests import (
    Disconnect,
    DisconnectRequest,
    NoResult,
    OfUser,
    RefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)

#: Clients that a whitelist may name.
MAX_WHITELIST = 1000

#: Close codes that a backend may choose, and the longest reason in bytes (RFC 6455 section 5.5).
CLOSE_CODES = range(3000, 5000)
MAX_REASON = 123

#: Fields that concern a connection; following a topic concerns the user.
OF_A_CONNECTION = ("client", "session")

#: What a followed topic does not have.
OF_A_SUBSCRIPTION = ("info", "b64info", "data", "b64data", "recover_since", "override", "expire_at")


def disconnect(key: APIKey, request: DisconnectRequest) -> NoResult:
    """Close the connections of a user, on all workers.

    Raises:
        ClientError: the user is out of scope, or the request asks for what cannot be done.
    """
    if len(request.whitelist) > MAX_WHITELIST:
        raise ClientError(codes.LIMIT_EXCEEDED, "whitelist")
    how = request.disconnect or Disconnect()
    if how.code and how.code not in CLOSE_CODES:
        raise ClientError(codes.BAD_REQUEST, "a close code must be from 3000 to 4999")
    if not is_storable(how.reason) or len(how.reason.encode()) > MAX_REASON:
        raise ClientError(codes.BAD_REQUEST, f"a reason has at most {MAX_REASON} bytes, no NUL")
    _close(key, request, how, spared=_client_ids(request.whitelist))
    return NoResult()


def refresh(key: APIKey, request: RefreshRequest) -> NoResult:
    """Let the connections of a user expire: now, or at ``expire_at`` instead of with their tokens.

    Clients are told by the push ``refresh``; the connection of one that sends no new token until
    then is closed.

    Raises:
        ClientError: the user is out of scope, or the request asks for something else.
    """
    refuse(request, ("info",))
    if request.expire_at < 0:
        raise ClientError(codes.BAD_REQUEST, "expire_at is a Unix time in seconds")
    if request.expired or 0 < request.expire_at <= time.time():
        _close(key, request, Disconnect(codes.EXPIRED.code, codes.EXPIRED.reason))
    elif request.expire_at:
        _limit(key, request, min(request.expire_at, int(MAX_EXPIRY)))
    else:
        raise ClientError(codes.NOT_AVAILABLE, "a refresh without expired or expire_at")
    return NoResult()


def subscribe(key: APIKey, request: SubscribeRequest) -> NoResult:
    """Let a user follow a topic, on all devices; nothing changes if the user follows it already.

    Raises:
        ClientError: the channel is no topic, or the user may not follow it.
    """
    name = _topic(key, request.channel)
    refuse(request, (*OF_A_CONNECTION, *OF_A_SUBSCRIPTION))
    try:
        inbox.join(_user(request), name)
    except PermissionDenied:
        raise ClientError(codes.PERMISSION_DENIED, "the user may not read it") from None
    except inbox.TooManyTopics as error:
        raise ClientError(codes.LIMIT_EXCEEDED, str(error)) from None
    return NoResult()


def unsubscribe(key: APIKey, request: UnsubscribeRequest) -> NoResult:
    """Let a user follow a topic no longer; nothing changes if the user does not follow it.

    Raises:
        ClientError: the channel is no topic, or the user does not exist.
    """
    name = _topic(key, request.channel)
    refuse(request, OF_A_CONNECTION)
    inbox.leave(_user(request), name)
    return NoResult()


def _topic(key: APIKey, name: str) -> str:
    check_channel(key, name)
    if namespace_of(name) is not None:
        raise ClientError(codes.NOT_AVAILABLE, "clients subscribe to channels of namespaces")
    if not stream_names.is_topic(name):
        # Rights alone decide who reads all other streams.
        raise ClientError(codes.PERMISSION_DENIED, "users can follow topics only")
    return name


def _user(request: OfUser) -> Any:
    key = parse_key(request.user)
    user = None if key is None else active_users([key]).get(key)
    if user is None:
        raise ClientError(codes.BAD_REQUEST, "there is no such user")
    return user


def _close(key: APIKey, request: OfUser, how: Disconnect, spared: Sequence[uuid.UUID] = ()) -> None:
    """Close the connections that a request is about."""
    mark = {"closing": True, "close_code": how.code, "close_reason": how.reason}
    why = codes.Disconnect(how.code, how.reason) if how.code else codes.FORCE_NO_RECONNECT
    hint = partial(rights.close, why=why, spared=[str(client) for client in spared])
    _mark(key, request, mark, hint, spared)


def _limit(key: APIKey, request: OfUser, expire_at: int) -> None:
    """Let the connections that a request is about expire at this Unix time."""
    mark = {"expires_at": datetime.fromtimestamp(expire_at, UTC)}
    _mark(key, request, mark, partial(rights.expire, expire_at=expire_at))


def _mark(
    key: APIKey,
    request: OfUser,
    mark: dict[str, Any],
    hint: Callable[..., None],
    spared: Sequence[uuid.UUID] = (),
) -> None:
    """Mark the rows of connections, which every worker notices, and send a hint besides.

    Nothing happens to a user or client without a connection. A row is written up to
    ``FLUSH_INTERVAL`` after its connection began; without one, the hint reaches the connection.
    """
    user_id = _user_key(key, request)
    clients = _client_ids([request.client])
    if user_id is None or (request.client and not clients):
        return
    rows = Connection.objects.using(database_alias()).filter(user=user_id).exclude(pk__in=spared)
    if clients:
        rows = rows.filter(pk__in=clients)
    with transaction.atomic(using=database_alias()):
        if rows.update(**mark):
            rights.changed([user_id])
        hint(user_id, only=str(clients[0]) if clients else "")


def _user_key(key: APIKey, request: OfUser) -> Any:
    """The primary key of the user that a request is about; None if it cannot be one."""
    if not request.user:
        raise ClientError(codes.BAD_REQUEST, "user required")
    if not key.may_use(stream_names.user_stream(request.user)):
        raise ClientError(codes.PERMISSION_DENIED)
    refuse(request, ("session",))
    return parse_key(request.user)


def _client_ids(clients: Iterable[str]) -> list[uuid.UUID]:
    """The ids that are those of clients; others name no connection."""
    found = []
    for client in clients:
        try:
            found.append(uuid.UUID(client))
        except ValueError:
            continue
    return found
