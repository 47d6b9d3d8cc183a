"""`rpc` and `send`: procedures that acknowledge, or that read and change the inbox."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from .. import inbox
from ..hub import Connection, Hub
from ..protocol import codes, commands, messages
from ..protocol.codes import ClientError
from ..streams import names as stream_names
from ..streams.recovery import ReplyBudget
from .outcome import Outcome
from .users import current_user

T = TypeVar("T")

Ids = Annotated[list[int], msgspec.Meta(max_length=inbox.MAX_IDS)]


class NoArguments(msgspec.Struct):
    pass


class Ack(msgspec.Struct):
    channel: str
    offset: int


class Change(msgspec.Struct):
    ids: Ids


class OptionalChange(msgspec.Struct):
    ids: Ids | None = None


class Listing(msgspec.Struct):
    folder: inbox.Folder = "all"
    before: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=inbox.MAX_PAGE)] = 20


class Mute(msgspec.Struct):
    channel: str
    muted: bool = True


class Leave(msgspec.Struct):
    channel: str


class UnansweredCall(msgspec.Struct):
    """The ``data`` of a ``send`` that calls a procedure; its result is not sent back."""

    method: str
    data: msgspec.Raw = msgspec.Raw(b"{}")


def _do_nothing(hub: Hub, connection: Connection, arguments: Any) -> None:
    return None


class Procedure(NamedTuple):
    """``function(user, arguments, origin)`` runs in a database thread.

    ``then(hub, connection, arguments)`` runs in the hub's event loop afterwards, before the result
    is written.
    """

    arguments: type[msgspec.Struct]
    function: Callable[[Any, Any, str], dict[str, Any]]
    then: Callable[[Hub, Connection, Any], None] = _do_nothing


async def rpc(hub: Hub, connection: Connection, request: commands.RPCRequest) -> Outcome:
    """Call a procedure by name."""
    data = await call(hub, connection, request.method, bytes(request.data))
    return Outcome(messages.RPCResult(data=msgspec.Raw(data)))


async def send(hub: Hub, connection: Connection, request: commands.SendRequest) -> Outcome:
    """Call a procedure without a reply. The shell ignores messages that call none."""
    await call_unanswered(hub, connection, bytes(request.data))
    return Outcome(messages.PingResult())


async def call(
    hub: Hub, connection: Connection, method: str, data: bytes, *, is_answered: bool = True
) -> bytes:
    """Call a procedure.

    Args:
        hub: the hub of this process.
        connection: the connection of the calling client.
        method: the name of the procedure: ``ack`` or one of :data:`PROCEDURES`.
        data: the arguments as a JSON object; empty for none.
        is_answered: the client gets the result. If not, changes are pushed to it as to the user's
            other connections.

    Returns:
        The result as JSON.

    Raises:
        ClientError: there is no such procedure, its arguments are bad, or it is not permitted.
        Disconnected: the user was deleted or deactivated.
    """
    if method == "ack":
        return _acknowledge(hub, connection, decode(data, Ack))
    procedure = PROCEDURES.get(method)
    if procedure is None:
        raise ClientError(codes.METHOD_NOT_FOUND)
    arguments = decode(data, procedure.arguments)
    origin = connection.client if is_answered else ""
    result = await hub.turns.run(
        connection.user_id, _run, procedure, connection.user_id, arguments, origin
    )
    if is_answered:
        connection.unread = result.get("unread", connection.unread)
    procedure.then(hub, connection, arguments)
    return msgspec.json.encode(result)


async def call_unanswered(hub: Hub, connection: Connection, data: bytes) -> None:
    """Call the procedure that ``data`` names, without a result for the client.

    Raises:
        ClientError: ``data`` names no procedure, or as in :func:`call`.
        Disconnected: the user was deleted or deactivated.
    """
    message = decode(data, UnansweredCall)
    await call(hub, connection, message.method, bytes(message.data), is_answered=False)


def _acknowledge(hub: Hub, connection: Connection, ack: Ack) -> bytes:
    reader = connection.readers.get(ack.channel)
    if reader is None:
        raise ClientError(codes.BAD_REQUEST, "not subscribed")
    if not 0 <= ack.offset <= reader.sent:
        raise ClientError(codes.BAD_REQUEST, "offset has not been sent to this client")
    hub.connections.arrived(connection, {ack.channel: ack.offset})
    return b"{}"


def _run(procedure: Procedure, user_id: Any, arguments: Any, origin: str) -> dict[str, Any]:
    try:
        return procedure.function(current_user(user_id), arguments, origin)
    except ValueError as error:
        raise ClientError(codes.BAD_REQUEST, str(error)) from None


def _read(user: Any, change: Change, origin: str) -> dict[str, Any]:
    return _changed(user, inbox.mark_read(user, change.ids, origin))


def _unread(user: Any, change: OptionalChange, origin: str) -> dict[str, Any]:
    if change.ids is None:
        return {"unread": inbox.unread_count(user)}
    return _changed(user, inbox.mark_unread(user, change.ids, origin))


def _archive(user: Any, change: Change, origin: str) -> dict[str, Any]:
    return _changed(user, inbox.archive(user, change.ids, origin))


def _read_all(user: Any, _: NoArguments, origin: str) -> dict[str, Any]:
    inbox.read_all(user, origin)
    return {"unread": inbox.unread_count(user)}


def _archive_all(user: Any, _: NoArguments, origin: str) -> dict[str, Any]:
    inbox.archive_all(user, origin)
    return {"unread": inbox.unread_count(user)}


def _inbox(user: Any, listing: Listing, origin: str) -> dict[str, Any]:
    page = inbox.list_entries(user, listing.folder, listing.before, listing.limit)
    found = [
        msgspec.Raw(msgspec.json.encode(inbox.describe_entry(entry))) for entry in page.entries
    ]
    count = ReplyBudget().take(map(len, found))
    following = page.next if count == len(found) else inbox.cursor(page.entries[count - 1])
    result = {"entries": found[:count], "unread": inbox.unread_count(user)}
    return {**result, "next": following} if following else result


def _mute(user: Any, mute: Mute, origin: str) -> dict[str, Any]:
    try:
        stream_names.parse(mute.channel)
    except stream_names.UnknownStream:
        raise ClientError(codes.UNKNOWN_CHANNEL) from None
    if not inbox.mute(user, mute.channel, mute.muted):
        raise ClientError(codes.UNKNOWN_CHANNEL)
    return {"unread": inbox.unread_count(user)}


def _topics(user: Any, _: NoArguments, origin: str) -> dict[str, Any]:
    followed = [topic for topic in inbox.topics(user) if topic.is_followed and topic.is_readable]
    return {
        "topics": [{"channel": topic.channel, "muted": topic.is_muted} for topic in followed],
    }


def _leave(user: Any, leave: Leave, origin: str) -> dict[str, Any]:
    try:
        inbox.leave(user, leave.channel, origin)
    except stream_names.UnknownStream:
        raise ClientError(codes.UNKNOWN_CHANNEL) from None
    except ValueError:  # a server-side subscription cannot be left
        raise ClientError(codes.PERMISSION_DENIED) from None
    return {"unread": inbox.unread_count(user)}


def _after_leave(hub: Hub, connection: Connection, leave: Leave) -> None:
    hub.rights.subscriptions.unsubscribe_left_topic(connection, leave.channel)


def _changed(user: Any, ids: list[int]) -> dict[str, Any]:
    return {"ids": ids, "unread": inbox.unread_count(user)}


#: Procedures that ``rpc`` and ``send`` can call, besides ``ack``.
PROCEDURES = {
    "read": Procedure(Change, _read),
    "unread": Procedure(OptionalChange, _unread),
    "archive": Procedure(Change, _archive),
    "read_all": Procedure(NoArguments, _read_all),
    "archive_all": Procedure(NoArguments, _archive_all),
    "inbox": Procedure(Listing, _inbox),
    "mute": Procedure(Mute, _mute),
    "topics": Procedure(NoArguments, _topics),
    "leave": Procedure(Leave, _leave, _after_leave),
}


def decode(data: bytes, kind: type[T]) -> T:
    """Decode JSON from a client; no bytes stand for an empty object.

    Raises:
        ClientError: the bytes are not JSON, or do not match ``kind``.
    """
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ClientError(codes.BAD_REQUEST, str(error)) from None
