"""What clients send: commands, each with one request. The names are those of ``client.proto``."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

Uint32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Offset = Annotated[int, Meta(ge=0, le=2**63 - 1)]  # uint64 on the wire, bigint in the database
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Channel = Annotated[str, Meta(max_length=255)]


#: Bit of ``flag``: the client wants an error instead of a subscription that was not recovered.
REJECT_UNRECOVERED = 2


class SubscribeRequest(Struct, frozen=True):
    channel: Channel = ""
    token: str = ""
    recover: bool = False
    epoch: str = ""
    offset: Offset = 0
    data: Raw = Raw()
    positioned: bool = False
    recoverable: bool = False
    join_leave: bool = False
    delta: str = ""
    flag: Int64 = 0
    tf: dict[str, Any] | None = None
    type: Int32 = 0
    phase: Int32 = 0
    cursor: str = ""
    limit: Int32 = 0
    asc: bool = False


class ConnectRequest(Struct, frozen=True):
    token: str = ""
    data: Raw = Raw()
    subs: dict[Channel, SubscribeRequest] = {}
    name: str = ""
    version: str = ""
    headers: dict[str, str] = {}
    flag: Int64 = 0


class UnsubscribeRequest(Struct, frozen=True):
    channel: Channel = ""


class PublishRequest(Struct, frozen=True):
    channel: Channel = ""
    data: Raw = Raw()
    type: Int32 = 0
    key: str = ""
    removed: bool = False


class PresenceRequest(Struct, frozen=True):
    channel: Channel = ""


class PresenceStatsRequest(Struct, frozen=True):
    channel: Channel = ""


class StreamPosition(Struct, frozen=True):
    offset: Offset = 0
    epoch: str = ""


class HistoryRequest(Struct, frozen=True):
    channel: Channel = ""
    limit: Int32 = 0
    since: StreamPosition | None = None
    reverse: bool = False


class PingRequest(Struct, frozen=True):
    pass


class SendRequest(Struct, frozen=True):
    data: Raw = Raw()


class RPCRequest(Struct, frozen=True):
    data: Raw = Raw()
    method: str = ""


class RefreshRequest(Struct, frozen=True):
    token: str = ""


class SubRefreshRequest(Struct, frozen=True):
    channel: Channel = ""
    token: str = ""
    type: Int32 = 0
    track: list[Any] = []
    untrack: list[str] = []


Request = (
    ConnectRequest
    | SubscribeRequest
    | UnsubscribeRequest
    | PublishRequest
    | PresenceRequest
    | PresenceStatsRequest
    | HistoryRequest
    | PingRequest
    | SendRequest
    | RPCRequest
    | RefreshRequest
    | SubRefreshRequest
)


class Command(Struct, frozen=True):
    """One command of a client: an id and one request. Without id and request it is a pong."""

    id: Uint32 = 0
    connect: ConnectRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: UnsubscribeRequest | None = None
    publish: PublishRequest | None = None
    presence: PresenceRequest | None = None
    presence_stats: PresenceStatsRequest | None = None
    history: HistoryRequest | None = None
    ping: PingRequest | None = None
    send: SendRequest | None = None
    rpc: RPCRequest | None = None
    refresh: RefreshRequest | None = None
    sub_refresh: SubRefreshRequest | None = None

    @property
    def requests(self) -> list[Request]:
        """The requests that are set; more than one is an error of the client."""
        return [request for name in REQUESTS if (request := getattr(self, name)) is not None]


REQUESTS = tuple(name for name in Command.__struct_fields__ if name != "id")


class Malformed(Struct, frozen=True):
    """A command whose id can be decoded, but not its request."""

    id: Uint32 = 0
