"""Handlers of client commands. Each checks rights, then uses the database, then the hub."""

from collections.abc import Awaitable, Callable

from ..host.questions import Undecided
from ..hub import Connection, Hub
from ..protocol import codes, messages
from ..protocol.codes import ClientError
from . import connection, history, procedures, publish, topics
from .options import refuse_unavailable
from .outcome import Outcome

__all__ = ["Outcome", "perform"]

HANDLERS: dict[type, Callable[..., Awaitable[Outcome]]] = {
    messages.ConnectRequest: connection.connect,
    messages.RefreshRequest: connection.refresh,
    messages.SubscribeRequest: topics.subscribe,
    messages.UnsubscribeRequest: topics.unsubscribe,
    messages.PublishRequest: publish.publish,
    messages.HistoryRequest: history.read_history,
    messages.RPCRequest: procedures.rpc,
    messages.SendRequest: procedures.send,
}


async def perform(hub: Hub, client: Connection, request: messages.Request) -> Outcome:
    """Carry out one request.

    Raises:
        ClientError: the command fails; the client gets the error as the reply.
        Disconnected: the connection must be closed.
    """
    handler = HANDLERS.get(type(request))
    if handler is None:
        raise ClientError(codes.NOT_AVAILABLE)
    refuse_unavailable(request)
    try:
        return await handler(hub, client, request)
    except Undecided:  # temporary
        raise ClientError(codes.INTERNAL) from None
