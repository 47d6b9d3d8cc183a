"""The requests of the server API, and their results, by the field names of Centrifugo.

Those that are the same for clients are in :mod:`notifications.protocol.commands`.

Source: https://centrifugal.dev/docs/server/server_api, and Centrifugo's ``api.proto``. Unknown
fields are ignored, as Centrifugo ignores them.
"""

from msgspec import Raw, Struct

from ...protocol.commands import StreamPosition
from ...protocol.messages import ClientInfo, Publication

NOTHING = Raw(b"")


class Publishing(Struct):
    """What ``publish`` and ``broadcast`` have in common."""

    data: Raw = NOTHING
    #: The data in base64, in place of ``data``.
    b64data: str = ""
    skip_history: bool = False
    tags: dict[str, str] = {}
    idempotency_key: str = ""
    #: A hint to save bandwidth, which has no effect here.
    delta: bool = False
    version: int = 0
    version_epoch: str = ""


class PublishRequest(Publishing):
    channel: str = ""


class BroadcastRequest(Publishing):
    channels: list[str] = []


class Disconnect(Struct):
    code: int = 0
    reason: str = ""


class OfUser(Struct):
    """The connections of a user: all of them, unless ``client`` names one."""

    user: str = ""
    client: str = ""
    session: str = ""


class DisconnectRequest(OfUser):
    disconnect: Disconnect | None = None
    #: Ids of clients that stay connected.
    whitelist: list[str] = []


class RefreshRequest(OfUser):
    expired: bool = False
    expire_at: int = 0
    info: Raw = NOTHING


class SubscribeRequest(OfUser):
    channel: str = ""
    info: Raw = NOTHING
    b64info: str = ""
    data: Raw = NOTHING
    b64data: str = ""
    recover_since: StreamPosition | None = None
    override: Raw = NOTHING
    expire_at: int = 0


class UnsubscribeRequest(OfUser):
    channel: str = ""


class ChannelsRequest(Struct):
    pattern: str = ""


class NoArguments(Struct):
    pass


class Command(Struct):
    """A command of the old route, which names its method itself."""

    id: int = 0
    method: str | int = ""
    params: Raw = NOTHING


class BatchRequest(Struct):
    #: Each of them is an object: its first member with the name of a method has the request.
    commands: list[Raw] = []
    #: Whether the caller minds no order. The commands are carried out in order in any case.
    parallel: bool = False


class PublishResult(Struct, omit_defaults=True):
    """Where the publication is. Both are left out while that is not known."""

    offset: int = 0
    epoch: str = ""


class NoResult(Struct):
    pass


class HistoryResult(Struct):
    publications: list[Publication] = []
    epoch: str = ""
    offset: int = 0


class PresenceResult(Struct):
    #: By client id.
    presence: dict[str, ClientInfo]


class PresenceStatsResult(Struct):
    num_clients: int
    num_users: int


class ChannelInfo(Struct):
    num_clients: int


class ChannelsResult(Struct):
    channels: dict[str, ChannelInfo]


class Node(Struct):
    uid: str
    name: str
    version: str
    num_clients: int
    num_users: int
    #: Seconds.
    uptime: int


class InfoResult(Struct):
    nodes: list[Node]


class ErrorBody(Struct):
    code: int
    message: str


class Answer(Struct, omit_defaults=True):
    """A result or an error; the old route gives it the id of its command."""

    id: int = 0
    error: ErrorBody | None = None
    result: Struct | None = None


class BroadcastResult(Struct):
    responses: list[Answer]
