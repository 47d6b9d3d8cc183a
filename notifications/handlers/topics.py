"""`subscribe` and `unsubscribe`: connections read topics, users follow them."""

from functools import partial
from typing import Any

from django.core.exceptions import PermissionDenied

from .. import inbox
from ..conf import app_settings
from ..hub import Connection, Hub
from ..protocol import codes, commands, messages
from ..protocol.codes import ClientError
from ..streams import access
from ..streams import feeds as stream_feeds
from ..streams import names as stream_names
from ..streams.positions import Position
from ..streams.recovery import Recovered, recover
from .outcome import Outcome
from .subscribing import attach_requested, subscribe_result
from .users import current_user


async def subscribe(
    hub: Hub, connection: Connection, request: commands.SubscribeRequest
) -> Outcome:
    """Read a topic on this connection; the user follows it from now on."""
    name = request.channel
    if name in connection.readers:
        raise ClientError(codes.ALREADY_SUBSCRIBED)
    # Rights may change between here and the reply, which is noticed by this count.
    rights_changes = connection.rights_changes
    await hub.turns.run(connection.user_id, _check_topic, connection.user_id, name)
    stream = await hub.streams.join(name)
    try:
        item = await hub.turns.run(
            connection.user_id, _follow, connection.user_id, request, connection.client
        )
    except BaseException:
        stream.unpin()
        raise
    attach = partial(attach_requested, hub, connection, stream, item, rights_changes)
    return Outcome(subscribe_result(item), attach)


def _check_topic(user_id: Any, name: str) -> None:
    user = current_user(user_id)
    try:
        kind = stream_names.parse(name).kind
        allowed = access.may_read(user, name)
    except stream_names.UnknownStream:
        raise ClientError(codes.UNKNOWN_CHANNEL) from None
    if not allowed:
        raise ClientError(codes.PERMISSION_DENIED)
    if kind != "topic":
        # The server subscribes to all other streams by itself, unless they are muted.
        raise ClientError(codes.BAD_REQUEST, "clients can subscribe to topics only")


def _follow(user_id: Any, request: commands.SubscribeRequest, origin: str) -> Recovered:
    """Recover a topic from the client's position; first let the user follow it if needed."""
    name = request.channel
    feed = stream_feeds.load_topic(user_id, name)
    if feed is None:
        _join_topic(user_id, name, origin)
        feed = stream_feeds.load_topic(user_id, name)
    if feed is None:  # another connection has left it again: temporary
        raise ClientError(codes.INTERNAL)
    if feed.muted:
        raise ClientError(codes.PERMISSION_DENIED, "muted")
    positions = {name: Position(request.epoch, request.offset)} if request.recover else {}
    item = recover([feed], positions, app_settings.PAGE_SIZE)[0]
    if item.asked and not item.recovered and request.flag & commands.REJECT_UNRECOVERED:
        raise ClientError(codes.UNRECOVERABLE_POSITION)
    return item


def _join_topic(user_id: Any, name: str, origin: str) -> None:
    try:
        inbox.join(current_user(user_id), name, origin)
    except PermissionDenied:  # since ``_check_topic``
        raise ClientError(codes.PERMISSION_DENIED) from None
    except inbox.TooManyTopics:
        raise ClientError(codes.LIMIT_EXCEEDED) from None


async def unsubscribe(
    hub: Hub, connection: Connection, request: commands.UnsubscribeRequest
) -> Outcome:
    """Stop reading a topic on this connection. The user still follows it; see ``leave``.

    Server-side subscriptions cannot be ended this way.
    """
    try:
        stream_names.parse(request.channel)
    except stream_names.UnknownStream:
        raise ClientError(codes.UNKNOWN_CHANNEL) from None
    reader = connection.readers.get(request.channel)
    if reader is not None and not reader.topic:
        raise ClientError(codes.PERMISSION_DENIED)
    if reader is not None:
        reader.detach()
    return Outcome(messages.UnsubscribeResult())
