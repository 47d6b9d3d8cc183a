"""`presence` and `presence_stats`: who is in a channel, for those who may see it."""

from typing import Any

from ..hub import Connection, Hub
from ..namespaces import namespace_of
from ..protocol import codes, commands, messages
from ..protocol.codes import ClientError
from ..protocol.messages import ClientInfo
from ..streams import channel_rights, members
from ..streams import names as stream_names
from .outcome import Outcome
from .users import current_user


async def presence(hub: Hub, connection: Connection, request: commands.PresenceRequest) -> Outcome:
    """List the clients in a channel."""
    channel = request.channel
    own = hub.members.find(connection, channel)
    await hub.members.settle(channel)
    found = await hub.turns.run(
        connection.user_id, _presence, connection.user_id, channel, own is not None
    )
    if own is not None:  # it may be beyond the page, and its row may be locked
        found.setdefault(own.client, own)
    return Outcome(messages.PresenceResult(found))


async def presence_stats(
    hub: Hub, connection: Connection, request: commands.PresenceStatsRequest
) -> Outcome:
    """Count the clients and the users in a channel."""
    channel = request.channel
    is_member = hub.members.find(connection, channel) is not None
    await hub.members.settle(channel)
    clients, users = await hub.turns.run(
        connection.user_id, _presence_stats, connection.user_id, channel, is_member
    )
    return Outcome(messages.PresenceStatsResult(clients, users))


def _presence(user_id: Any, channel: str, is_member: bool) -> dict[str, ClientInfo]:
    _check(user_id, channel, is_member)
    namespace = namespace_of(channel)
    return {} if namespace is None else members.list_clients(namespace, channel)


def _presence_stats(user_id: Any, channel: str, is_member: bool) -> members.Counts:
    _check(user_id, channel, is_member)
    return members.count_clients(channel)


def _check(user_id: Any, channel: str, is_member: bool) -> None:
    """Refuse a user who may not see who is in a channel.

    Raises:
        ClientError: UNKNOWN_CHANNEL, NOT_AVAILABLE where no presence is kept (as in all built-in
            streams), or PERMISSION_DENIED.
    """
    namespace = namespace_of(channel)
    if namespace is None:
        raise ClientError(_without_namespace(channel))
    if not namespace.keeps_presence:
        raise ClientError(codes.NOT_AVAILABLE)
    user = current_user(user_id)
    if not channel_rights.may(user, "presence", channel, is_subscribed=is_member):
        raise ClientError(codes.PERMISSION_DENIED)


def _without_namespace(channel: str) -> codes.Error:
    try:
        stream_names.parse(channel)
    except stream_names.UnknownStream:
        return codes.UNKNOWN_CHANNEL
    return codes.NOT_AVAILABLE
