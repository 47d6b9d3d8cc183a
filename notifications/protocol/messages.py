"""What the server sends: replies and pushes. Field names are those of ``client.proto``."""

from __future__ import annotations

from msgspec import UNSET, Raw, Struct, UnsetType

#: Largest ``ttl`` in seconds. A client with a longer-lived token refreshes earlier than it must:
#: the field is a uint32, and some SDKs convert it to milliseconds.
MAX_TTL = 2**31 - 1


def time_to_live(expires: float | None, now: float) -> int:
    """Return the field ``ttl`` of what expires.

    Args:
        expires: Unix time in seconds; None for never.
        now: Unix time in seconds.

    Returns:
        Whole seconds, at least one; 0 for never.
    """
    if expires is None:
        return 0
    return min(MAX_TTL, max(1, round(expires - now)))


class ErrorReply(Struct, omit_defaults=True):
    code: int
    message: str
    temporary: bool = False


class ClientInfo(Struct, omit_defaults=True):
    """A client in a channel: the user's key, the client's id, and what the namespace tells."""

    user: str
    client: str
    conn_info: Raw | UnsetType = UNSET
    chan_info: Raw | UnsetType = UNSET


class Publication(Struct, omit_defaults=True):
    data: Raw
    offset: int = 0
    #: Who published it, if a client did.
    info: ClientInfo | None = None
    tags: dict[str, str] = {}
    #: When it was published: milliseconds since 1970.
    time: int = 0


class SubscribeResult(Struct, omit_defaults=True):
    recoverable: bool = False
    epoch: str = ""
    publications: list[Publication] = []
    recovered: bool = False
    offset: int = 0
    positioned: bool = False
    was_recovering: bool = False
    expires: bool = False
    #: Seconds until the subscription's token expires.
    ttl: int = 0
    data: Raw | UnsetType = UNSET


class ConnectResult(Struct, omit_defaults=True):
    client: str
    version: str = ""
    expires: bool = False
    ttl: int = 0
    data: Raw | UnsetType = UNSET
    subs: dict[str, SubscribeResult] = {}
    ping: int = 0
    pong: bool = False
    #: Names the session in requests of the transports that emulate a socket.
    session: str = ""
    node: str = ""
    #: The server's time: milliseconds since 1970.
    time: int = 0


class UnsubscribeResult(Struct):
    pass


class PublishResult(Struct):
    pass


# The fields of these two are always there: SDKs for JSON take them as they are.


class PresenceResult(Struct):
    #: By client id.
    presence: dict[str, ClientInfo] = {}


class PresenceStatsResult(Struct):
    num_clients: int = 0
    num_users: int = 0


class PingResult(Struct):
    pass


class HistoryResult(Struct, omit_defaults=True):
    publications: list[Publication] = []
    epoch: str = ""
    offset: int = 0


class RPCResult(Struct, omit_defaults=True):
    data: Raw | UnsetType = UNSET


class RefreshResult(Struct, omit_defaults=True):
    client: str
    version: str = ""
    expires: bool = False
    ttl: int = 0


class SubRefreshResult(Struct, omit_defaults=True):
    expires: bool = False
    ttl: int = 0


class Join(Struct):
    info: ClientInfo


class Leave(Struct):
    info: ClientInfo


class Subscribe(Struct, omit_defaults=True):
    recoverable: bool = False
    epoch: str = ""
    offset: int = 0
    positioned: bool = False
    data: Raw | UnsetType = UNSET


class Unsubscribe(Struct, omit_defaults=True):
    code: int = 0
    reason: str = ""


class Message(Struct):
    data: Raw


class Disconnect(Struct, omit_defaults=True):
    code: int
    reason: str = ""
    reconnect: bool = False


class Refresh(Struct, omit_defaults=True):
    expires: bool = False
    ttl: int = 0


class Push(Struct, omit_defaults=True):
    channel: str = ""
    pub: Publication | None = None
    unsubscribe: Unsubscribe | None = None
    message: Message | None = None
    subscribe: Subscribe | None = None
    join: Join | None = None
    leave: Leave | None = None
    connect: ConnectResult | None = None
    disconnect: Disconnect | None = None
    refresh: Refresh | None = None


Result = (
    ConnectResult
    | SubscribeResult
    | UnsubscribeResult
    | PublishResult
    | PresenceResult
    | PresenceStatsResult
    | HistoryResult
    | PingResult
    | RPCResult
    | RefreshResult
    | SubRefreshResult
)


class Reply(Struct, omit_defaults=True):
    """What the server sends: the reply to a command (with the command's id), or a push."""

    id: int = 0
    error: ErrorReply | None = None
    push: Push | None = None
    connect: ConnectResult | None = None
    subscribe: SubscribeResult | None = None
    unsubscribe: UnsubscribeResult | None = None
    publish: PublishResult | None = None
    presence: PresenceResult | None = None
    presence_stats: PresenceStatsResult | None = None
    history: HistoryResult | None = None
    ping: PingResult | None = None
    rpc: RPCResult | None = None
    refresh: RefreshResult | None = None
    sub_refresh: SubRefreshResult | None = None


#: The server's ping, which a client answers with an empty command.
PING = Reply()

FIELD_OF: dict[type[Result], str] = {
    ConnectResult: "connect",
    SubscribeResult: "subscribe",
    UnsubscribeResult: "unsubscribe",
    PublishResult: "publish",
    PresenceResult: "presence",
    PresenceStatsResult: "presence_stats",
    HistoryResult: "history",
    PingResult: "ping",
    RPCResult: "rpc",
    RefreshResult: "refresh",
    SubRefreshResult: "sub_refresh",
}


def reply(command_id: int, result: Result) -> Reply:
    """Build the reply that carries the result of a command."""
    answer = Reply(id=command_id)
    setattr(answer, FIELD_OF[type(result)], result)
    return answer
