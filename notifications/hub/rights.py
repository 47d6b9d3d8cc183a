"""What the hub does when a user's rights or read state may have changed (P6).

A hint, a changed revision or the clock makes users *suspect*; they are looked up together, and
what they may no longer have is closed or unsubscribed, what is new is subscribed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import msgspec
from django.db import InterfaceError, OperationalError

from ..authentication import active_users, credentials_of, valid_sessions
from ..conf import app_settings
from ..database import in_database
from ..history import Page
from ..models import Connection as Row
from ..protocol import codes, messages
from ..protocol.frames import Prepared
from ..protocol.json import encode_reply
from ..streams import is_topic
from ..subscriptions import Feed, load_inboxes
from ..unread import unread_counts
from .connection import Connection, Reader
from .stream import LocalStream


class Process(Protocol):
    """What is asked of the hub."""

    loop: asyncio.AbstractEventLoop
    connections: set[Connection]
    by_user: dict[Any, set[Connection]]
    users: dict[str, Any]

    async def join(self, name: str, until: float | None = None) -> LocalStream: ...
    def unpin(self, stream: LocalStream) -> None: ...
    def attach(
        self, connection: Connection, stream: LocalStream, page: Page, acked: int, *, topic: bool
    ) -> None: ...
    def detach(self, reader: Reader) -> None: ...
    def report(self, name: str, error: Exception) -> None: ...
    def works(self, name: str) -> None: ...


class Verdict(NamedTuple):
    """What the database says of one user now."""

    credentials: str
    feeds: dict[str, Feed]
    topics: set[str]
    unread: int | None


class Findings(NamedTuple):
    verdicts: dict[Any, Verdict]
    sessions: set[str]
    closing: set[str]


class Rights:
    """Looks again at users of this process: soon after a hint, and all of them by the clock."""

    def __init__(self, hub: Process) -> None:
        self._hub = hub
        self._suspects: set[Any] = set()
        self._task: asyncio.Task[None] | None = None
        # One look at a time: an older one must not undo what a newer one has found.
        self._looking = asyncio.Lock()

    def suspect(self, name: str, session: str = "") -> None:
        """Something about the user of this stream has changed.

        Args:
            name: the user's own stream.
            session: digest of a session key that has just been logged out, "" for none.
        """
        for user_id in self._users_of(name):
            if session:
                self.end_session(session, self._hub.by_user.get(user_id, ()))
            self._look_at(user_id)
            # The change may become visible after its announcement: a session is flushed after
            # ``user_logged_out`` is sent, and replicas lag.
            self._look_later(user_id)

    def end_session(self, digest: str, connections: Iterable[Connection] | None = None) -> None:
        """Close the connections of a session.

        Args:
            digest: what stands for its key.
            connections: where to look, if the user is known; else among all.
        """
        among = self._hub.connections if connections is None else connections
        for connection in list(among):
            if connection.session_digest == digest:
                connection.close(codes.FORCE_RECONNECT)

    def tell(self, name: str, data: bytes, origin: str) -> None:
        """Push a change of read state to the user's connections, except the one that made it."""
        reply = messages.Reply(push=messages.Push(message=messages.Message(msgspec.Raw(data))))
        message = Prepared(encode_reply(reply))
        for user_id in self._users_of(name):
            for connection in list(self._hub.by_user.get(user_id, ())):
                if connection.is_ready and connection.client != origin:
                    connection.socket.offer(message)

    async def check_all(self) -> None:
        """Look at everybody, whatever was announced or not."""
        await self._examine(list(self._hub.by_user), count=False)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _users_of(self, name: str) -> list[Any]:
        return [self._hub.users[name]] if name in self._hub.users else []

    def _look_at(self, user_id: Any) -> None:
        if user_id not in self._hub.by_user:
            return
        self._suspects.add(user_id)
        if self._task is None or self._task.done():
            self._task = self._hub.loop.create_task(self._drain())

    def _look_later(self, user_id: Any) -> None:
        self._hub.loop.call_later(app_settings.check_interval, self._look_at, user_id)

    async def _drain(self) -> None:
        while self._suspects:
            suspects, self._suspects = self._suspects, set()
            try:
                await self._examine(list(suspects), count=True)
                self._hub.works("checking rights")
            except Exception as error:
                self._suspects |= suspects
                self._hub.report("checking rights", error)
                await asyncio.sleep(1.0)

    async def _examine(self, user_ids: list[Any], *, count: bool) -> None:
        """Look these users up together, 200 at a time; ``count`` their unread ones too."""
        async with self._looking:
            for start in range(0, len(user_ids), 200):
                await self._examine_apart(user_ids[start : start + 200], count)

    async def _examine_apart(self, user_ids: list[Any], count: bool) -> None:
        """Look these up together; if one of them breaks that, each by himself."""
        try:
            await self._examine_some(user_ids, count)
        except (OperationalError, InterfaceError):
            raise  # the database is away, for all of them
        except Exception as error:
            if len(user_ids) > 1:
                for user_id in user_ids:
                    await self._examine_apart([user_id], count)
                return
            self._hub.report("checking rights", error)
            self._look_later(user_ids[0])

    async def _examine_some(self, user_ids: list[Any], count: bool) -> None:
        # What a connection subscribes to from now on is newer than what is found.
        readers = {
            connection: list(connection.readers.values())
            for user_id in user_ids
            for connection in self._hub.by_user.get(user_id, ())
        }
        keys = {connection.session_key for connection in readers if connection.session_digest}
        clients = [connection.client for connection in readers]
        findings = await in_database(_find, user_ids, keys, clients, count)
        # For all that is joined by this look: what others lose does not wait for a slow layer.
        until = self._hub.loop.time() + app_settings.LAYER_TIMEOUT
        for connection, known in readers.items():
            if connection.closing is None and connection in self._hub.connections:
                await self._judge(connection, known, findings, until)

    async def _judge(
        self, connection: Connection, known: Iterable[Reader], findings: Findings, until: float
    ) -> None:
        verdict = findings.verdicts.get(connection.user_id)
        if verdict is None or connection.client in findings.closing:
            connection.close(codes.FORCE_NO_RECONNECT)
            return
        if connection.session_digest and connection.session_key not in findings.sessions:
            # Logged out, or the password was changed: coming back shows which.
            connection.close(codes.FORCE_RECONNECT)
            return
        if connection.credentials != verdict.credentials:
            # A session goes on with a password changed from within; a token was given before.
            again = codes.FORCE_RECONNECT if connection.session_digest else codes.INVALID_TOKEN
            connection.close(again)
            return
        if not connection.is_ready:
            # It has read its streams itself, and may have missed only what comes after that.
            self._look_later(connection.user_id)
            return
        self._follow(connection, known, verdict)
        for name, feed in verdict.feeds.items():
            if name not in connection.readers:
                await self._subscribe(connection, feed, until)
        self._synchronize(connection, verdict.unread)

    def _follow(self, connection: Connection, known: Iterable[Reader], verdict: Verdict) -> None:
        """Take away what the user may no longer read."""
        for reader in known:
            allowed = verdict.topics if reader.topic else verdict.feeds
            name = reader.stream.name
            if name not in allowed and connection.readers.get(name) is reader:
                self._unsubscribe(reader)

    def _unsubscribe(self, reader: Reader) -> None:
        push = messages.Push(
            channel=reader.stream.name,
            unsubscribe=messages.Unsubscribe(codes.UNSUBSCRIBED_BY_SERVER, "permission denied"),
        )
        self._hub.detach(reader)
        self._write(reader.connection, push)

    async def _subscribe(self, connection: Connection, feed: Feed, until: float) -> None:
        stream = await self._hub.join(feed.name, until)
        try:
            stream.learn(feed.stream_id, feed.epoch, feed.top, feed.revision)
            is_here = connection.closing is None and connection in self._hub.connections
            if not is_here or feed.name in connection.readers:
                return
            position = messages.Subscribe(
                recoverable=True, positioned=True, epoch=feed.epoch, offset=feed.delivered
            )
            push = messages.Push(channel=feed.name, subscribe=position)
            if self._write(connection, push):
                # More, because what was published before the group was joined was not heard.
                page = Page([], feed.delivered, more=True)
                self._hub.attach(connection, stream, page, feed.delivered, topic=False)
        finally:
            self._hub.unpin(stream)

    def _synchronize(self, connection: Connection, unread: int | None) -> None:
        """Tell the unread count: a hint of a read elsewhere may have been lost."""
        if unread is None or connection.unread == unread:
            return
        data = msgspec.json.encode({"type": "sync", "ids": [], "unread": unread})
        if self._write(connection, messages.Push(message=messages.Message(msgspec.Raw(data)))):
            connection.unread = unread

    def _write(self, connection: Connection, push: messages.Push) -> bool:
        """Write, unless the socket is blocked: nobody else has to wait for that one."""
        if connection.write(encode_reply(messages.Reply(push=push))):
            return True
        self._look_later(connection.user_id)
        return False


def _find(
    user_ids: Iterable[Any], keys: Iterable[str], clients: Iterable[str], count: bool
) -> Findings:
    users = active_users(user_ids)
    feeds = load_inboxes(users.values())
    unread = unread_counts(users.values(), feeds) if count else {}
    verdicts = {
        user_id: _verdict(user, feeds[user_id], unread.get(user_id))
        for user_id, user in users.items()
    }
    closing = Row.objects.filter(pk__in=list(clients), closing=True).values_list("pk", flat=True)
    return Findings(verdicts, valid_sessions(keys), {str(pk) for pk in closing})


def _verdict(user: Any, feeds: Iterable[Feed], unread: int | None) -> Verdict:
    loud = [feed for feed in feeds if not feed.muted]
    return Verdict(
        credentials_of(user),
        {feed.name: feed for feed in loud if not is_topic(feed.name)},
        {feed.name for feed in loud if is_topic(feed.name)},
        unread,
    )
