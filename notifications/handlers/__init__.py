"""Handlers of client commands. Each checks rights, then uses the database, then the hub."""

from collections.abc import Awaitable, Callable

from ..host.questions import Undecided
from ..hub import Connection, Hub
from ..namespaces import namespace_of
from ..protocol import codes, commands
from ..protocol.codes import ClientError
from . import channels, connection, history, presence, procedures, publish, topics
from .options import refuse_unavailable
from .outcome import Outcome

__all__ = ["Outcome", "perform"]

HANDLERS: dict[type, Callable[..., Awaitable[Outcome]]] = {
    commands.ConnectRequest: connection.connect,
    commands.RefreshRequest: connection.refresh,
    commands.SubscribeRequest: topics.subscribe,
    commands.UnsubscribeRequest: topics.unsubscribe,
    commands.PublishRequest: publish.publish,
    commands.HistoryRequest: history.read_history,
    commands.PresenceRequest: presence.presence,
    commands.PresenceStatsRequest: presence.presence_stats,
    commands.RPCRequest: procedures.rpc,
    commands.SendRequest: procedures.send,
    commands.SubRefreshRequest: channels.refuse_refresh,
}

#: Handlers of requests for channels of namespaces.
IN_NAMESPACES: dict[type, Callable[..., Awaitable[Outcome]]] = {
    commands.SubscribeRequest: channels.subscribe,
    commands.UnsubscribeRequest: channels.unsubscribe,
    commands.PublishRequest: channels.publish,
    commands.HistoryRequest: history.read_history,
    commands.SubRefreshRequest: channels.sub_refresh,
    commands.PresenceRequest: presence.presence,
    commands.PresenceStatsRequest: presence.presence_stats,
}


async def perform(hub: Hub, client: Connection, request: commands.Request) -> Outcome:
    """Carry out one request.

    Raises:
        ClientError: the command fails; the client gets the error as the reply.
        Disconnected: the connection must be closed.
    """
    is_in_namespace = namespace_of(getattr(request, "channel", "")) is not None
    handler = (IN_NAMESPACES if is_in_namespace else HANDLERS).get(type(request))
    if handler is None:
        raise ClientError(codes.NOT_AVAILABLE)
    refuse_unavailable(request, is_in_namespace=is_in_namespace)
    try:
        return await handler(hub, client, request)
    except Undecided:  # temporary
        raise ClientError(codes.INTERNAL) from None
