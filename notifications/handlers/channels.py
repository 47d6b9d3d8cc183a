"""`subscribe`, `unsubscribe`, `publish` and `sub_refresh` for channels of namespaces."""

import time
from functools import partial
from typing import Any, NamedTuple

import msgspec

from ..conf import app_settings
from ..connect.channels import NEW_CHANNEL_WORK, claims_of, may_begin, open_channel
from ..connect.tokens import SubscriptionClaims
from ..group_names import group_name
from ..hub import Connection, Hub, LocalStream
from ..hub.sockets.connection import Reader
from ..hub.sockets.grants import Grant
from ..layer import ephemeral_message, group_send
from ..namespaces import find_namespace
from ..protocol import codes, commands, messages
from ..protocol.codes import ClientError
from ..publishing import channels as publishing
from ..streams import names as stream_names
from ..streams.channel_rights import may, subscribing_takes_data
from ..streams.members import add_name
from ..streams.positions import ORIGIN, Position
from ..streams.recovery import Recovered, recover
from .host_data import check_data
from .outcome import Outcome
from .presence import Introduced, enter, introduce
from .subscribing import attach_requested, subscribe_result
from .users import current_user

#: Characters of the reason that a ``schema`` gives, in an error reply.
MAX_REASON = 200


class _Granted(NamedTuple):
    """A right to subscribe: from a token, or (None) from the namespace."""

    claims: SubscriptionClaims | None
    #: What the client has sent to the function that decides; see ``Grant``.
    data: bytes = b""

    @property
    def info(self) -> bytes:
        """What others are told of the client, as JSON; b"" for nothing."""
        return b"" if self.claims is None else self.claims.info

    @property
    def expires(self) -> float | None:
        return None if self.claims is None else self.claims.expires

    @property
    def ttl(self) -> int:
        """Whole seconds until it expires; 0 for never."""
        return messages.time_to_live(self.expires, time.time())


async def subscribe(
    hub: Hub, connection: Connection, request: commands.SubscribeRequest
) -> Outcome:
    """Read a channel on this connection, by the right of its namespace or by a token."""
    name = request.channel
    if name in connection.readers:
        raise ClientError(codes.ALREADY_SUBSCRIBED)
    mine = sum(reader.grant is not None for reader in connection.readers.values())
    if mine >= app_settings.MAX_CHANNELS_PER_CONNECTION:
        raise ClientError(codes.LIMIT_EXCEEDED)
    # Rights may change between here and the reply, which is noticed by this count.
    rights_changes = connection.rights_changes
    user_id = connection.user_id
    granted, introduced = await hub.turns.run(
        user_id, _may_subscribe, user_id, request, connection.client
    )
    grant = Grant(
        by_token=granted.claims is not None,
        info=granted.info,
        data=granted.data,
        asks_joins=request.join_leave and find_namespace(name).tells_joins,
    )
    stream = await hub.streams.join(name)
    try:
        item = await _recover(hub, connection, request)
    except BaseException:
        stream.unpin()
        raise
    attach = partial(_attach, hub, connection, stream, item, grant, granted, rights_changes)

    def then() -> None:
        attach()
        enter(hub, connection, name, grant, introduced)

    return Outcome(_result(request, item, granted), then)


async def unsubscribe(
    hub: Hub, connection: Connection, request: commands.UnsubscribeRequest
) -> Outcome:
    """Stop reading a channel on this connection."""
    reader = connection.readers.get(request.channel)
    if reader is not None:
        reader.detach()
    return Outcome(messages.UnsubscribeResult())


async def publish(hub: Hub, connection: Connection, request: commands.PublishRequest) -> Outcome:
    """Publish to a channel, if its namespace lets this client."""
    name, info = request.channel, connection.info_in(request.channel)
    content = await hub.turns.run(
        connection.user_id,
        _publish,
        connection.user_id,
        request,
        info,
        is_subscribed=name in connection.readers,
    )
    if not find_namespace(name).durable:
        await _send_ephemeral(hub, name, content)
    return Outcome(messages.PublishResult())


async def sub_refresh(
    hub: Hub, connection: Connection, request: commands.SubRefreshRequest
) -> Outcome:
    """Extend a subscription with a new token of the same user for the same channel."""
    if not request.token:
        raise ClientError(codes.BAD_REQUEST, "token is missing")
    reader = connection.readers.get(request.channel)
    if reader is None or reader.grant is None or not reader.grant.by_token:
        raise ClientError(codes.PERMISSION_DENIED, "no subscription with a token")
    granted = _Granted(claims_of(request.token, connection.user_id, request.channel))
    _limit(hub, reader, granted)
    return Outcome(messages.SubRefreshResult(expires=granted.expires is not None, ttl=granted.ttl))


async def refuse_refresh(
    hub: Hub, connection: Connection, request: commands.SubRefreshRequest
) -> Outcome:
    """Refuse to refresh a subscription that has no token: one to any other stream."""
    try:
        stream_names.parse(request.channel)
    except stream_names.UnknownStream:
        raise ClientError(codes.UNKNOWN_CHANNEL) from None
    raise ClientError(codes.NOT_AVAILABLE, "only channels of namespaces have tokens")


def _may_subscribe(
    user_id: Any, request: commands.SubscribeRequest, client: str
) -> tuple[_Granted, Introduced]:
    user = current_user(user_id)
    if request.token:
        granted = _Granted(claims_of(request.token, user_id, request.channel))
    else:
        takes_data = subscribing_takes_data(request.channel)
        granted = _Granted(None, check_data(request.data) if takes_data else b"")
        if not may(user, "subscribe", request.channel, data=granted.data):
            raise ClientError(codes.PERMISSION_DENIED)
    asks_for_all = request.recover and _position(request) == ORIGIN
    is_durable = find_namespace(request.channel).durable
    if asks_for_all and is_durable and not may_begin(user, request.channel):
        raise ClientError(codes.PERMISSION_DENIED, "you may read its future only, without recover")
    return granted, introduce(user, client, request, granted.info)


async def _recover(
    hub: Hub, connection: Connection, request: commands.SubscribeRequest
) -> Recovered | None:
    """Recover a durable channel from the client's position; None for an ephemeral one."""
    wants_error = request.recover and request.flag & commands.REJECT_UNRECOVERED
    if not find_namespace(request.channel).durable:
        if wants_error:
            raise ClientError(codes.UNRECOVERABLE_POSITION)
        return None
    item, is_new = await hub.turns.run(connection.user_id, _read, request)
    if is_new:
        hub.turns.charge(connection.user_id, NEW_CHANNEL_WORK)
    if wants_error and not item.recovered:
        raise ClientError(codes.UNRECOVERABLE_POSITION)
    return item


def _read(request: commands.SubscribeRequest) -> tuple[Recovered, bool]:
    """Recover a channel; say whether it had to be created first."""
    name = request.channel
    feed, is_new = open_channel(name)
    positions = {name: _position(request)} if request.recover else {}
    return recover([feed], positions, app_settings.PAGE_SIZE)[0], is_new


def _position(request: commands.SubscribeRequest) -> Position:
    return Position(request.epoch, request.offset)


def _result(
    request: commands.SubscribeRequest, item: Recovered | None, granted: _Granted
) -> messages.SubscribeResult:
    if item is None:
        result = messages.SubscribeResult(was_recovering=request.recover)
    else:
        result = subscribe_result(item)
        result.recovered = item.asked and item.recovered
    result.expires, result.ttl = granted.expires is not None, granted.ttl
    return result


def _attach(
    hub: Hub,
    connection: Connection,
    stream: LocalStream,
    item: Recovered | None,
    grant: Grant,
    granted: _Granted,
    rights_changes: int,
) -> None:
    if item is not None:
        attach_requested(hub, connection, stream, item, rights_changes, grant=grant)
    else:
        if connection in hub.connections.all and connection.closing is None:
            hub.streams.attach_ephemeral(connection, stream, grant)
            if connection.rights_changes != rights_changes:
                hub.rights.check_user(connection.user_id)
        stream.unpin()
    reader = connection.readers.get(stream.name)
    if reader is not None and reader.grant is grant:
        _limit(hub, reader, granted)


def _limit(hub: Hub, reader: Reader, granted: _Granted) -> None:
    """Unsubscribe the client when its token has expired, unless it brings a new one before."""
    assert reader.grant is not None
    expire = partial(hub.rights.subscriptions.unsubscribe, reader, codes.SUBSCRIPTION_EXPIRED)
    left = None
    if granted.expires is not None:
        # SDKs refresh at the expiry, and the new token takes time to arrive.
        left = granted.expires - time.time() + app_settings.EXPIRED_CLOSE_DELAY
    reader.grant.limit(left, expire)


def _publish(
    user_id: Any,
    request: commands.PublishRequest,
    info: messages.ClientInfo,
    *,
    is_subscribed: bool,
) -> bytes:
    """Check a publication; store it if the namespace is durable."""
    name = request.channel
    user = current_user(user_id)
    if not may(user, "publish", name, is_subscribed=is_subscribed):
        raise ClientError(codes.PERMISSION_DENIED)
    add_name(find_namespace(name), info, user)
    if not bytes(request.data):
        raise ClientError(codes.BAD_REQUEST, "data is missing")
    try:
        data = msgspec.json.decode(request.data)
        content = publishing.compose(name, data, info=info)
    except (ValueError, RecursionError) as error:
        raise ClientError(codes.BAD_REQUEST, str(error)[:MAX_REASON]) from None
    if find_namespace(name).durable:
        publishing.store(name, content)
    return content


async def _send_ephemeral(hub: Hub, name: str, content: bytes) -> None:
    """Send what is not stored; if the layer cannot take it, the client learns it."""
    message = ephemeral_message(name, content, publishing.now())
    try:
        if hub.streams.groups.is_up:
            await group_send(group_name(name), message)
            return
    except Exception as error:  # whatever the layer's client library raises
        hub.streams.groups.went_down(error)
    raise ClientError(codes.INTERNAL)
