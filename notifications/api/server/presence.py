"""``presence`` and ``presence_stats``: who is in a channel of a namespace."""

from ...models import APIKey
from ...namespaces import Namespace, namespace_of
from ...protocol import codes
from ...protocol.codes import ClientError
from ...protocol.commands import PresenceRequest, PresenceStatsRequest
from ...streams import members
from .channels import check_channel
from .requests import PresenceResult, PresenceStatsResult


def list_presence(key: APIKey, request: PresenceRequest) -> PresenceResult:
    """List clients in a channel; see :func:`notifications.streams.members.presence`.

    Raises:
        ClientError: the channel is refused, or keeps no presence.
    """
    namespace = _namespace(key, request.channel)
    return PresenceResult(members.list_clients(namespace, request.channel))


def count_presence(key: APIKey, request: PresenceStatsRequest) -> PresenceStatsResult:
    """Count the clients and users in a channel.

    Raises:
        ClientError: as :func:`list_presence`.
    """
    _namespace(key, request.channel)
    clients, users = members.count_clients(request.channel)
    return PresenceStatsResult(clients, users)


def _namespace(key: APIKey, channel: str) -> Namespace:
    check_channel(key, channel)
    namespace = namespace_of(channel)
    if namespace is None or not namespace.keeps_presence:
        raise ClientError(codes.NOT_AVAILABLE, "no presence is kept")
    return namespace
