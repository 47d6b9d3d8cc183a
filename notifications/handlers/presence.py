"""`presence` and `presence_stats`: who is in a channel, for those who may see it."""

from functools import partial
from typing import Any, NamedTuple

from ..hub import Connection, Hub
from ..hub.sockets.grants import Grant
from ..namespaces import find_namespace, namespace_of
from ..protocol import codes, commands, messages
from ..protocol.codes import ClientError
from ..protocol.messages import ClientInfo
from ..streams import channel_rights, members
from ..streams import names as stream_names
from .outcome import Outcome
from .users import current_user


class Introduced(NamedTuple):
    """What others in a channel are told of a client, and whether it is told who joins."""

    info: ClientInfo
    is_told: bool


def introduce(
    user: Any, client: str, request: commands.SubscribeRequest, chan_info: bytes
) -> Introduced:
    """Prepare :func:`enter`, in a thread with a database.

    Args:
        user: the user of the client.
        client: id of the client.
        request: a ``subscribe`` that is granted.
        chan_info: JSON of its token; b"" for none.
    """
    namespace = find_namespace(request.channel)
    is_told = (
        request.join_leave
        and namespace.tells_joins
        and channel_rights.may(user, "presence", request.channel, is_subscribed=True)
    )
    return Introduced(members.describe_client(namespace, user, client, chan_info), is_told)


def enter(
    hub: Hub, connection: Connection, channel: str, grant: Grant, introduced: Introduced
) -> None:
    """Make a connection a member of a channel for as long as its subscription lasts.

    Args:
        grant: the grant of the subscription, which may have failed meanwhile.
    """
    reader = connection.readers.get(channel)
    if reader is None or reader.grant is not grant:
        return
    hub.members.join(connection, channel, introduced.info, is_told=introduced.is_told)
    grant.when_left(partial(hub.members.leave, connection, channel))


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
