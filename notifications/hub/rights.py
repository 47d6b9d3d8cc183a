"""What the hub does when the rights of a user may have changed (P6).

A hint, a changed revision or the clock makes users *suspect*; they are looked up together, and
what they may no longer have is closed or unsubscribed, what is new is subscribed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError

from ..conf import app_settings
from ..database.lanes import RIGHTS
from ..protocol import codes
from .beginnings import Beginnings
from .connections import Connections
from .local_streams import LocalStreams
from .loops import Loops
from .read_state import ReadState
from .server_subscriptions import ServerSubscriptions
from .sockets.connection import Connection, Reader
from .verdicts import Findings, Verdict, find

#: Seconds after which a user is looked at again of whom not all is known yet.
AGAIN = 1.0


class Told(NamedTuple):
    """What a connection reads, and what it was told, when a look at its user begins."""

    readers: list[Reader]
    #: See :attr:`Connection.unread` and :attr:`Connection.counted`.
    unread: int | None
    counted: int | None


class Rights:
    """Looks again at users of this process: soon after a hint, and all of them by the clock."""

    def __init__(
        self,
        connections: Connections,
        streams: LocalStreams,
        beginnings: Beginnings,
        loops: Loops,
    ) -> None:
        self._connections = connections
        self._streams = streams
        self._beginnings = beginnings
        self._loops = loops
        self._loop = asyncio.get_running_loop()
        self._suspects: set[Any] = set()
        self.subscriptions = ServerSubscriptions(connections, streams, self._look_later)
        self.read_state = ReadState(
            connections, streams, self.subscriptions.push, self._look_at, self._look_later
        )
        self._task: asyncio.Task[None] | None = None
        # One look at a time: an older one must not undo what a newer one has found.
        self._looking = asyncio.Lock()

    def suspect(self, name: str, session: str = "") -> None:
        """Something about the user of this stream has changed.

        Args:
            name: the user's own stream.
            session: digest of a session key that has just been logged out, "" for none.
        """
        for user_id in self._connections.users_of(name):
            if session:
                self.end_session(session, self._connections.by_user.get(user_id, ()))
            for connection in self._connections.by_user.get(user_id, ()):
                connection.doubts += 1
                connection.unread = None
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
        among = self._connections.all if connections is None else connections
        for connection in list(among):
            if connection.session_digest == digest:
                connection.close(codes.FORCE_RECONNECT)

    async def check_all(self) -> None:
        """Look at everybody, whatever was announced or not."""
        for user_id in await self._examine(list(self._connections.by_user), count=False):
            self._look_later(user_id)

    async def stop(self) -> None:
        await self.subscriptions.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look_again(self, user_id: Any) -> None:
        """Something was written to this user that may have changed since it was read."""
        self._look_at(user_id)

    def _look_at(self, user_id: Any) -> None:
        if user_id not in self._connections.by_user:
            return
        self._suspects.add(user_id)
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._drain())

    def _look_later(self, user_id: Any) -> None:
        self._loop.call_later(app_settings.check_interval, self._look_at, user_id)

    async def _drain(self) -> None:
        while self._suspects:
            suspects, self._suspects = self._suspects, set()
            try:
                failed = await self._examine(list(suspects), count=True)
            except Exception as error:
                self._loops.report("checking rights", error)
                failed = list(suspects)
            if failed:
                self._suspects.update(failed)
                await asyncio.sleep(1.0)
            else:
                self._loops.works("checking rights")

    async def _examine(self, user_ids: list[Any], *, count: bool) -> list[Any]:
        """Look these users up together, 200 at a time; ``count`` their unread ones too.

        Returns:
            Those who could not be looked up, which has been reported.
        """
        failed: list[Any] = []
        async with self._looking:
            for start in range(0, len(user_ids), 200):
                failed += await self._examine_apart(user_ids[start : start + 200], count)
        return failed

    async def _examine_apart(self, user_ids: list[Any], count: bool) -> list[Any]:
        """Look these up together; if one of them breaks that, each by himself."""
        try:
            await self._examine_some(user_ids, count)
        except (OperationalError, InterfaceError):
            raise  # the database is away, for all of them
        except Exception as error:
            if len(user_ids) == 1:
                self._loops.report("checking rights", error)
                return user_ids
        else:
            return []
        return [one for pk in user_ids for one in await self._examine_apart([pk], count)]

    async def _examine_some(self, user_ids: list[Any], count: bool) -> None:
        # What a connection subscribes to from now on is newer than what is found.
        readers = {
            connection: Told(
                list(connection.readers.values()), connection.unread, connection.counted
            )
            for user_id in user_ids
            for connection in self._connections.by_user.get(user_id, ())
        }
        keys = {connection.session_key for connection in readers if connection.session_digest}
        clients = [connection.client for connection in readers]
        read: dict[Any, set[str]] = defaultdict(set)
        for connection, told in readers.items():
            topics = {reader.stream.name for reader in told.readers if reader.topic}
            read[connection.user_id] |= topics
        findings = await RIGHTS.run(find, user_ids, keys, clients, count, read)
        self._beginnings.follow(findings.missing)
        # For all that is joined by this look: what others lose does not wait for a slow layer.
        until = self._loop.time() + app_settings.LAYER_TIMEOUT
        for user_id, verdict in findings.verdicts.items():
            if verdict.undecided:
                self._loop.call_later(AGAIN, self._look_at, user_id)
        for connection, told in readers.items():
            if connection.closing is None and connection in self._connections.all:
                await self._judge(connection, told, findings, until)

    async def _judge(
        self,
        connection: Connection,
        told: Told,
        findings: Findings,
        until: float,
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
        self._follow(connection, told.readers, verdict)
        for name, feed in verdict.feeds.items():
            if name not in connection.readers:
                await self.subscriptions.subscribe(connection, feed, until)
        self.read_state.recount(connection, verdict, told.counted)
        self.read_state.synchronize(connection, verdict.unread, told.unread)

    def _follow(self, connection: Connection, known: Iterable[Reader], verdict: Verdict) -> None:
        """Take away what the user may no longer read."""
        for reader in known:
            allowed = verdict.topics if reader.topic else verdict.feeds
            name = reader.stream.name
            if connection.readers.get(name) is not reader or name in verdict.undecided:
                continue
            if name not in allowed:
                self.subscriptions.unsubscribe(reader, verdict.reason(name))
            elif self._streams.by_name.get(name) is not reader.stream:
                # The row was deleted, and another one made, before anybody here has noticed.
                connection.close(codes.INSUFFICIENT_STATE)
