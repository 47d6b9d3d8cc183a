"""What each command of a client does: rights first, then the database, then the hub."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import msgspec
from django.core.exceptions import PermissionDenied, ValidationError

from .. import inbox
from ..conf import app_settings
from ..connect import authentication
from ..connect.admission import Admitted, Resumed, Returning
from ..connect.authentication import Credentials, Identity
from ..host.questions import Undecided
from ..hub import Connection, Hub, LocalStream
from ..protocol import codes, messages
from ..protocol.codes import ClientError, Disconnected
from ..publishing import notify as publishing
from ..streams import history, subscriptions, topics
from ..streams import names as stream_names
from ..streams.positions import Position
from ..streams.recovery import Recovered, cut, recover
from .options import refuse_unavailable
from .procedures import call, call_unanswered, decode

VERSION = "pushsite 1"

#: Seconds; a client refreshes sooner than it would have to.
MAX_TTL = 2**31 - 1

#: What a connect takes of its user's budget, in CPU seconds.
CONNECT_WORK = 0.01

#: How often a connect reads, if it finds streams that it has not joined.
ATTEMPTS = 3

#: How long a connect waits for what ``TOPIC_PERMISSION`` says of its user before it goes on
#: without these topics, and before it asks again the first time; seconds.
PATIENCE = 4.0
AGAIN = 0.1


def _nothing() -> None:
    return None


class Outcome(NamedTuple):
    """The result of a command, and what has to follow once it has been written (or cannot be)."""

    result: messages.Result
    then: Callable[[], None] = _nothing


class PublishData(msgspec.Struct, forbid_unknown_fields=True):
    """The ``data`` of a client's ``publish``."""

    title: str
    body: str = ""
    url: str = ""
    kind: str = "message"
    level: str = "info"
    data: dict[str, Any] = {}
    key: str | None = None


async def perform(hub: Hub, connection: Connection, request: messages.Request) -> Outcome:
    """Carry out one request.

    Raises:
        ClientError: the client gets its error.
        Disconnected: the connection has to end.
    """
    handler = HANDLERS.get(type(request))
    if handler is None:
        raise ClientError(codes.NOT_AVAILABLE)
    refuse_unavailable(request)
    try:
        return await handler(hub, connection, request)
    except Undecided:  # temporary
        raise ClientError(codes.INTERNAL) from None


# Connecting


async def connect(hub: Hub, connection: Connection, request: messages.ConnectRequest) -> Outcome:
    """Authenticate, join the user's streams, then read what was missed."""
    identity, names = await _admit(hub, connection, request.token)
    if connection.closing is not None:
        raise Disconnected(connection.closing)
    hub.turns.charge(identity.user.pk, CONNECT_WORK)
    connection.user_id = identity.user.pk
    connection.credentials = identity.credentials
    connection.session_digest = identity.session
    # Before anything is read, so that a change of rights from now on finds the connection.
    hub.admit(connection)
    connection.session.share(hub.turns.commands_of(connection.user_id))
    joined: dict[str, LocalStream] = {}
    try:
        resumed = await _resume(hub, connection, identity, request, names, joined)
    except BaseException:
        for stream in joined.values():
            hub.unpin(stream)
        hub.dismiss(connection, codes.SERVER_ERROR.code)
        raise
    connection.unread = resumed.unread
    connection.counted = None if resumed.undecided else resumed.counted
    connection.session.renew(_deadline(identity))
    result = messages.ConnectResult(
        client=connection.client,
        version=VERSION,
        expires=identity.expires is not None,
        ttl=_ttl(identity),
        data=_raw(_greeting(identity.user, resumed.unread, resumed.topics)),
        subs={item.feed.name: _subscribe_result(item) for item in resumed.recovered},
        ping=max(1, round(app_settings.PING_INTERVAL)),
        pong=True,
    )
    return Outcome(result, partial(_attach_all, hub, connection, joined, resumed))


def _greeting(user: Any, unread: int, followed: list[str]) -> dict[str, Any]:
    greeting = {"unread": unread, "user": history.describe_user(user)}
    return {**greeting, "topics": followed} if followed else greeting


async def _admit(hub: Hub, connection: Connection, token: str) -> Admitted:
    try:
        return await hub.admit_callers(Credentials(connection.session_key, token))
    except authentication.Anonymous:
        raise ClientError(codes.UNAUTHORIZED) from None
    except authentication.ExpiredToken:
        raise ClientError(codes.TOKEN_EXPIRED) from None
    except authentication.InvalidToken:
        raise Disconnected(codes.INVALID_TOKEN) from None


async def _resume(
    hub: Hub,
    connection: Connection,
    identity: Identity,
    request: messages.ConnectRequest,
    names: Iterable[str],
    joined: dict[str, LocalStream],
) -> Resumed:
    """Join, then read; once more if that has found streams which were not joined.

    Args:
        names: of the streams to join.
        joined: gets them; whoever calls unpins them.
    """
    is_begun = False
    # For all of them together: a layer that is slow must not keep anybody out.
    until = hub.loop.time() + app_settings.LAYER_TIMEOUT
    patience = hub.loop.time() + PATIENCE
    pause = AGAIN
    left = ATTEMPTS
    while left:
        for name in names:
            if name not in joined:
                joined[name] = await hub.join(name, until)
        positions = {
            name: Position(sub.epoch, sub.offset)
            for name, sub in request.subs.items()
            if sub.recover and name in joined
        }
        try:
            resumed = await hub.resume(
                Returning(identity, connection.session_key if identity.session else "", positions)
            )
        except authentication.Revoked:
            # Whoever comes back learns what it is.
            raise Disconnected(codes.FORCE_RECONNECT) from None
        if resumed.undecided and hub.loop.time() < patience:
            await asyncio.sleep(pause)
            pause *= 2
            continue
        left -= 1
        if resumed.missing and not is_begun:
            is_begun = True
            if await hub.beginnings.make(resumed.missing):
                continue
        names = [item.feed.name for item in resumed.recovered]
        if joined.keys() >= set(names):
            return resumed
    recovered = [item for item in resumed.recovered if item.feed.name in joined]
    return resumed._replace(recovered=recovered)


def _attach_all(
    hub: Hub, connection: Connection, joined: dict[str, LocalStream], resumed: Resumed
) -> None:
    own = stream_names.user_stream(connection.user_id)
    if connection in hub.connections:
        for item in resumed.recovered:
            _attach(hub, connection, joined[item.feed.name], item, topic=False)
        mine = connection.own = joined.pop(own)
        if hub.streams.get(own) is not mine:  # it was reset meanwhile
            connection.close(codes.INSUFFICIENT_STATE)
        connection.is_ready = True
        # Not before: one that is refused may connect again under the same id.
        hub.presence.add(connection)
        if resumed.own is not None:
            # Also while it is muted: its revision tells of changes.
            feed = resumed.own
            mine.learn(feed.stream_id, feed.epoch, feed.top, feed.revision, feed.at)
            if mine.revision != feed.revision:  # rights have changed since they were read
                hub.rights.suspect(own)
        if resumed.undecided:  # the unread count is without these topics
            hub.rights.look_again(connection.user_id)
    for stream in joined.values():
        hub.unpin(stream)


def _attach(
    hub: Hub, connection: Connection, stream: LocalStream, item: Recovered, *, topic: bool
) -> None:
    feed = item.feed
    # What could not be recovered was not delivered, but the client knows and asks the inbox.
    acked = feed.delivered if item.recovered else item.page.offset
    hub.attach(connection, stream, feed, item.page, acked, topic=topic)


def _subscribe_result(item: Recovered) -> messages.SubscribeResult:
    return messages.SubscribeResult(
        recoverable=True,
        positioned=True,
        epoch=item.feed.epoch,
        offset=item.page.offset,
        publications=_publications(item.page.publications),
        recovered=item.recovered,
        was_recovering=item.asked,
    )


async def refresh(hub: Hub, connection: Connection, request: messages.RefreshRequest) -> Outcome:
    """Prolong a connection with a new token of the same user."""
    if not request.token:
        raise ClientError(codes.BAD_REQUEST, "token")
    try:
        identity, _ = await _admit(hub, connection, request.token)
    except ClientError as error:
        if error.error != codes.TOKEN_EXPIRED:
            raise
        # SDKs give up for good on an error. After a close they come back with a newer token.
        raise Disconnected(codes.EXPIRED) from None
    if identity.user.pk != connection.user_id:
        raise Disconnected(codes.INVALID_TOKEN)
    connection.session.renew(_deadline(identity))
    hub.watch(connection)
    return Outcome(
        messages.RefreshResult(
            client=connection.client,
            version=VERSION,
            expires=identity.expires is not None,
            ttl=_ttl(identity),
        )
    )


def _ttl(identity: Identity) -> int:
    if identity.expires is None:
        return 0
    # uint32 on the wire, and a number of milliseconds for some SDK.
    return min(MAX_TTL, max(1, round(identity.expires - time.time())))


def _deadline(identity: Identity) -> float | None:
    """The expiry on the session's monotonic clock."""
    if identity.expires is None:
        return None
    return time.monotonic() + identity.expires - time.time()


# Topics


async def subscribe(
    hub: Hub, connection: Connection, request: messages.SubscribeRequest
) -> Outcome:
    """Subscribe the user, through this connection, to a topic."""
    name = request.channel
    if name in connection.readers:
        raise ClientError(codes.ALREADY_SUBSCRIBED)
    # What is read from now on may be old when the reply has been written.
    doubts = connection.doubts
    await hub.turns.run(connection.user_id, _check_topic, connection.user_id, name)
    stream = await hub.join(name)
    try:
        item = await hub.turns.run(
            connection.user_id, _follow, connection.user_id, request, connection.client
        )
    except BaseException:
        hub.unpin(stream)
        raise
    attach = partial(_attach_topic, hub, connection, stream, item, doubts)
    return Outcome(_subscribe_result(item), attach)


def _check_topic(user_id: Any, name: str) -> None:
    user = _user(user_id)
    try:
        kind = stream_names.parse(name).kind
        allowed = stream_names.may_read(user, name)
    except stream_names.UnknownStream:
        raise ClientError(codes.UNKNOWN_CHANNEL) from None
    if not allowed:
        raise ClientError(codes.PERMISSION_DENIED)
    if kind != "topic":
        # The server subscribes to these by itself; a muted one is not subscribed.
        raise ClientError(codes.BAD_REQUEST, "only topics are subscribed to by clients")


def _follow(user_id: Any, request: messages.SubscribeRequest, origin: str) -> Recovered:
    """The feed of a topic from a position on; the user joins it for good if need be."""
    name = request.channel
    feed = subscriptions.load_topic(user_id, name)
    if feed is None:
        _join_topic(user_id, name, origin)
        feed = subscriptions.load_topic(user_id, name)
    if feed is None:  # another connection of the user has left it again: temporary
        raise ClientError(codes.INTERNAL)
    if feed.muted:
        raise ClientError(codes.PERMISSION_DENIED, "muted")
    positions = {name: Position(request.epoch, request.offset)} if request.recover else {}
    item = recover([feed], positions, app_settings.PAGE_SIZE)[0]
    if item.asked and not item.recovered and request.flag & messages.REJECT_UNRECOVERED:
        raise ClientError(codes.UNRECOVERABLE_POSITION)
    return item


def _join_topic(user_id: Any, name: str, origin: str) -> None:
    try:
        inbox.join(_user(user_id), name, origin)
    except PermissionDenied:  # since it was looked at
        raise ClientError(codes.PERMISSION_DENIED) from None
    except inbox.TooManyTopics:
        raise ClientError(codes.LIMIT_EXCEEDED) from None


def _attach_topic(
    hub: Hub, connection: Connection, stream: LocalStream, item: Recovered, doubts: int
) -> None:
    if connection in hub.connections and stream.name not in connection.readers:
        current = hub.for_row(stream, item.feed.stream_id)
        if current is not stream:
            # What was announced of this row meanwhile counted for nothing.
            item = item._replace(page=item.page._replace(more=True))
        _attach(hub, connection, current, item, topic=True)
        if connection.doubts != doubts:  # muted, left or forbidden meanwhile
            hub.rights.look_again(connection.user_id)
    hub.unpin(stream)


async def unsubscribe(
    hub: Hub, connection: Connection, request: messages.UnsubscribeRequest
) -> Outcome:
    """Stop reading a topic on this connection. The user goes on following it: see ``leave``.

    Server-side subscriptions stay.
    """
    try:
        stream_names.parse(request.channel)
    except stream_names.UnknownStream:
        raise ClientError(codes.UNKNOWN_CHANNEL) from None
    reader = connection.readers.get(request.channel)
    if reader is not None and not reader.topic:
        raise ClientError(codes.PERMISSION_DENIED)
    if reader is not None:
        hub.detach(reader)
    return Outcome(messages.UnsubscribeResult())


# Publishing and reading


async def publish(hub: Hub, connection: Connection, request: messages.PublishRequest) -> Outcome:
    """Send a private message or a broadcast, by permission, on the same durable way as all."""
    data = decode(bytes(request.data), PublishData)
    await hub.turns.run(connection.user_id, _publish, connection.user_id, request.channel, data)
    return Outcome(messages.PublishResult())


def _publish(user_id: Any, name: str, data: PublishData) -> None:
    user = _user(user_id)
    try:
        allowed = stream_names.may_publish(user, name) and _can_be_read(name)
    except stream_names.UnknownStream:
        raise ClientError(codes.UNKNOWN_CHANNEL) from None
    if not allowed:
        raise ClientError(codes.PERMISSION_DENIED)
    if not stream_names.has_audience(name):
        raise ClientError(codes.UNKNOWN_CHANNEL)
    try:
        publishing.publish(name, actor=user, **msgspec.structs.asdict(data))
    except ValidationError as error:
        raise ClientError(codes.BAD_REQUEST, ", ".join(error.message_dict)) from None


def _can_be_read(name: str) -> bool:
    """Only the server's own code may write to a topic that nobody may read."""
    kind, key = stream_names.parse(name)
    return kind != "topic" or topics.has_readers(key)


async def read_history(
    hub: Hub, connection: Connection, request: messages.HistoryRequest
) -> Outcome:
    """A page of a stream's history, forward or backward; ``limit`` 0 gives the position only."""
    return Outcome(
        await hub.turns.run(connection.user_id, _read_history, connection.user_id, request)
    )


def _read_history(user_id: Any, request: messages.HistoryRequest) -> messages.HistoryResult:
    feed = _readable_feed(_user(user_id), request.channel)
    since = request.since
    last = feed.top + 1 if request.reverse else feed.top  # before what comes next, or after this
    if since is not None and (
        since.epoch not in ("", feed.epoch) or not feed.floor <= since.offset <= last
    ):
        raise ClientError(codes.UNRECOVERABLE_POSITION)
    limit = min(request.limit, app_settings.PAGE_SIZE)
    if limit < 0:
        limit = app_settings.PAGE_SIZE
    publications = cut(_history_page(feed, since, limit, request.reverse)) if limit else []
    return messages.HistoryResult(
        publications=_publications(publications), epoch=feed.epoch, offset=feed.top
    )


def _history_page(
    feed: subscriptions.Feed,
    since: messages.StreamPosition | None,
    limit: int,
    reverse: bool,
) -> list[history.Publication]:
    if reverse:
        before = feed.top + 1 if since is None else since.offset
        return history.read_back(feed.stream_id, before, feed.since, limit)
    after = feed.since if since is None else max(feed.since, since.offset)
    return history.read_page(feed.stream_id, after, limit).publications


def _readable_feed(user: Any, name: str) -> subscriptions.Feed:
    """The user's feed of this name, or the error that tells why there is none."""
    try:
        allowed = stream_names.may_read(user, name)
    except stream_names.UnknownStream:
        raise ClientError(codes.UNKNOWN_CHANNEL) from None
    if not allowed:
        raise ClientError(codes.PERMISSION_DENIED)
    for feed in subscriptions.load_inbox(user):
        if feed.name == name:
            return feed
    raise ClientError(codes.PERMISSION_DENIED, "not subscribed")


# Remote procedures


async def rpc(hub: Hub, connection: Connection, request: messages.RPCRequest) -> Outcome:
    """Call a procedure by name."""
    data = await call(hub, connection, request.method, bytes(request.data))
    return Outcome(messages.RPCResult(data=msgspec.Raw(data)))


async def send(hub: Hub, connection: Connection, request: messages.SendRequest) -> Outcome:
    """Call a procedure without an answer. Any other message is for nobody, and is ignored."""
    await call_unanswered(hub, connection, bytes(request.data))
    return Outcome(messages.PingResult())


HANDLERS: dict[type, Callable[..., Awaitable[Outcome]]] = {
    messages.ConnectRequest: connect,
    messages.RefreshRequest: refresh,
    messages.SubscribeRequest: subscribe,
    messages.UnsubscribeRequest: unsubscribe,
    messages.PublishRequest: publish,
    messages.HistoryRequest: read_history,
    messages.RPCRequest: rpc,
    messages.SendRequest: send,
}


def _user(user_id: Any) -> Any:
    """The user as he is now.

    Raises:
        Disconnected: gone or deactivated since the connection was made.
    """
    user = authentication.active_users([user_id]).get(user_id)
    if user is None:
        raise Disconnected(codes.FORCE_NO_RECONNECT)
    return user


def _publications(publications: list[history.Publication]) -> list[messages.Publication]:
    return [
        messages.Publication(data=msgspec.Raw(publication.data), offset=publication.offset)
        for publication in publications
    ]


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
