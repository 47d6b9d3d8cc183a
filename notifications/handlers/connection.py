"""`connect` and `refresh`: authentication, and recovery of what the client has missed."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec

from ..conf import app_settings
from ..connect import authentication
from ..connect.admission import Admitted, Resumed, Returning
from ..connect.authentication import Claimed, Credentials, Identity, key_of
from ..hub import Connection, Hub, LocalStream
from ..hub.presence import Said
from ..models import Connection as Row
from ..protocol import codes, commands, messages
from ..protocol.codes import ClientError, Disconnected
from ..signals import connected
from ..streams import encoding
from ..streams.names import BROADCAST, user_stream
from ..streams.positions import Position
from .host_data import check_data, check_headers
from .outcome import Outcome
from .subscribing import acknowledge_claims, attach, subscribe_result

VERSION = "pushsite 1"

#: CPU seconds that a connect is charged to its user's budget.
CONNECT_WORK = 0.01

#: Reads per connect at most, as long as they find streams that are not joined yet.
ATTEMPTS = 3

#: Seconds that a connect waits for ``TOPIC_PERMISSION`` before it goes on without the undecided
#: topics, and seconds before it asks again for the first time.
PERMISSION_TIMEOUT = 4.0
PERMISSION_RETRY = 0.1


async def connect(hub: Hub, connection: Connection, request: commands.ConnectRequest) -> Outcome:
    """Authenticate, join the user's streams, then read what was missed."""
    said = Said()
    if connected.has_listeners(Row):
        said = Said(check_data(request.data), check_headers(request.headers))
    who, names = await _recognise(hub, connection, request.token)
    if connection.closing is not None:
        raise Disconnected(connection.closing)
    hub.turns.charge(key_of(who), CONNECT_WORK)
    connection.user_id = key_of(who)
    if isinstance(who, Identity):
        connection.credentials, connection.session_digest = who.credentials, who.session
    # Register the connection before reading, so that later changes of rights find it.
    hub.connections.admit(connection)
    joined: dict[str, LocalStream] = {}
    try:
        resumed = await _resume(hub, connection, who, request, names, joined)
    except BaseException:
        for stream in joined.values():
            stream.unpin()
        hub.connections.dismiss(connection, codes.SERVER_ERROR.code)
        raise
    identity = resumed.identity
    connection.credentials = identity.credentials
    connection.session.share(hub.turns.commands_of(connection.user_id))
    connection.unread = resumed.unread
    connection.counted = None if resumed.undecided else resumed.counted
    connection.session.renew(_deadline(identity))
    result = messages.ConnectResult(
        client=connection.client,
        version=VERSION,
        expires=identity.expires is not None,
        ttl=_ttl(identity),
        data=_raw(_greeting(identity.user, resumed.unread, resumed.topics)),
        subs={item.feed.name: subscribe_result(item) for item in resumed.recovered},
        ping=max(1, round(app_settings.PING_INTERVAL)),
        pong=not connection.codec.is_one_way,
        session=connection.emulated_as,
        node=hub.emulation.node if connection.emulated_as else "",
        time=time.time_ns() // 1_000_000,
    )
    claims = request.subs if connection.codec.is_one_way else {}
    return Outcome(result, partial(_attach_all, hub, connection, joined, resumed, claims, said))


def _greeting(user: Any, unread: int, followed: list[str]) -> dict[str, Any]:
    greeting = {"unread": unread, "user": encoding.describe_user(user)}
    return {**greeting, "topics": followed} if followed else greeting


async def _recognise(
    hub: Hub, connection: Connection, token: str
) -> tuple[Identity | Claimed, list[str]]:
    """Return who connects, and the names of the streams to join before anything is read.

    A token says for itself whose it is, so its user is read together with everything else. The
    streams of that user's groups are not known then; see :func:`_resume`.
    """
    claimed = authentication.claimed(token) if token else None
    if claimed is None:
        return await _admit(hub, connection, token)
    return claimed, [user_stream(claimed.user_id), BROADCAST]


async def _admit(hub: Hub, connection: Connection, token: str) -> Admitted:
    with _told():
        caller = Credentials(connection.session_key, token)
        return await hub.admit_callers(caller, connection.session.deadline)


@contextmanager
def _told() -> Iterator[None]:
    """Tell the client why it is not authenticated."""
    try:
        yield
    except authentication.Anonymous:
        raise ClientError(codes.UNAUTHORIZED) from None
    except authentication.ExpiredToken:
        raise ClientError(codes.TOKEN_EXPIRED) from None
    except authentication.InvalidToken:
        raise Disconnected(codes.INVALID_TOKEN) from None
    except authentication.Revoked:
        # When it reconnects, the client gets the specific error.
        raise Disconnected(codes.FORCE_RECONNECT) from None


async def _resume(
    hub: Hub,
    connection: Connection,
    who: Identity | Claimed,
    request: commands.ConnectRequest,
    names: Iterable[str],
    joined: dict[str, LocalStream],
) -> Resumed:
    """Join the streams, then read; repeat if streams were found that are not joined.

    A stream that this process had joined before the reading for others counts as joined.

    Args:
        who: who connects.
        names: names of the streams to join.
        joined: filled with the joined streams, which the caller unpins.
    """
    is_begun = False
    # One deadline for all joins: a slow layer must not keep clients from connecting.
    until = hub.loop.time() + app_settings.LAYER_TIMEOUT
    permission_deadline = hub.loop.time() + PERMISSION_TIMEOUT
    pause = PERMISSION_RETRY
    left = ATTEMPTS
    positions = {
        name: Position(sub.epoch, sub.offset) for name, sub in request.subs.items() if sub.recover
    }
    key = connection.session_key if connection.session_digest else ""
    while left:
        for name in names:
            if name not in joined:
                joined[name] = await hub.streams.join(name, until)
        with _told():
            resumed, began = await hub.resume(
                Returning(who, key, positions), connection.session.deadline
            )
        if resumed.undecided and hub.loop.time() < permission_deadline:
            await asyncio.sleep(pause)
            pause *= 2
            continue
        left -= 1
        if resumed.missing and not is_begun:
            is_begun = True
            if await hub.beginnings.make(resumed.missing):
                continue
        names = [item.feed.name for item in resumed.recovered]
        for name in names:
            if name not in joined and (stream := hub.streams.pin_joined(name, began)) is not None:
                joined[name] = stream
        if joined.keys() >= set(names):
            return resumed
    recovered = [item for item in resumed.recovered if item.feed.name in joined]
    return resumed._replace(recovered=recovered)


def _attach_all(
    hub: Hub,
    connection: Connection,
    joined: dict[str, LocalStream],
    resumed: Resumed,
    claims: Mapping[str, commands.SubscribeRequest],
    said: Said,
) -> None:
    own = user_stream(connection.user_id)
    if connection in hub.connections.all:
        for item in resumed.recovered:
            attach(hub, connection, joined[item.feed.name], item, topic=False)
        acknowledge_claims(hub, connection, claims)
        mine = connection.private_stream = joined.pop(own)
        if hub.streams.by_name.get(own) is not mine:  # it was reset meanwhile
            connection.close(codes.INSUFFICIENT_STATE)
        connection.is_ready = True
        # Not earlier: a connection that is refused may connect again under the same id.
        hub.presence.add(connection, said)
        if resumed.own is not None:
            # Even if the stream is muted, its revision signals changes of rights.
            feed = resumed.own
            mine.learn(feed.stream_id, feed.epoch, feed.top, feed.revision, feed.at)
            if mine.revision != feed.revision:  # rights have changed since they were read
                hub.rights.suspect(own)
        if resumed.undecided:  # the unread count leaves these topics out
            hub.rights.check_user(connection.user_id)
    for stream in joined.values():
        stream.unpin()


async def refresh(hub: Hub, connection: Connection, request: commands.RefreshRequest) -> Outcome:
    """Extend a connection with a new token of the same user."""
    if not request.token:
        raise ClientError(codes.BAD_REQUEST, "token is missing")
    try:
        identity, _ = await _admit(hub, connection, request.token)
    except ClientError as error:
        if error.error != codes.TOKEN_EXPIRED:
            raise
        # SDKs give up for good on an error. After a close they reconnect with a newer token.
        raise Disconnected(codes.EXPIRED) from None
    if identity.user.pk != connection.user_id:
        raise Disconnected(codes.INVALID_TOKEN)
    connection.session.renew(_deadline(identity))
    hub.connections.watch(connection)
    return Outcome(
        messages.RefreshResult(
            client=connection.client,
            version=VERSION,
            expires=identity.expires is not None,
            ttl=_ttl(identity),
        )
    )


def _ttl(identity: Identity) -> int:
    return messages.time_to_live(identity.expires, time.time())


def _deadline(identity: Identity) -> float | None:
    """Convert the expiry to the session's monotonic clock."""
    if identity.expires is None:
        return None
    return time.monotonic() + identity.expires - time.time()


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
