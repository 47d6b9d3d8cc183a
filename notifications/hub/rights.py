"""Checks the rights of connected users again when they may have changed (P6).

A hint, a changed revision or a timer makes users *suspect*. They are looked up together. What they
may no longer use is closed or unsubscribed, and new subscriptions begin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from django.db import InterfaceError, OperationalError

from ..conf import app_settings
from ..database.lanes import RIGHTS
from ..protocol import codes
from .beginnings import Beginnings
from .connections import Connections
from .endings import Endings
from .join_leave import JoinLeave
from .local_streams import LocalStreams
from .loops import Loops
from .read_state import ReadState
from .server_subscriptions import ServerSubscriptions
from .settled import Settled
from .snapshots import Snapshot, is_allowed, subscribed
from .sockets.connection import Connection, Reader
from .verdicts import Findings, Verdict, find

#: Most users that are checked together.
BATCH_SIZE = 200

#: Seconds until users whose check has failed are checked again.
RETRY = 1.0

#: Seconds until a user with undecided topics is checked again.
UNDECIDED_RETRY = 1.0


class Rights:
    """Checks users of this process: soon after a hint, and all of them periodically."""

    def __init__(
        self,
        connections: Connections,
        streams: LocalStreams,
        beginnings: Beginnings,
        join_leave: JoinLeave,
        loops: Loops,
    ) -> None:
        self._connections = connections
        self._streams = streams
        self._beginnings = beginnings
        self._join_leave = join_leave
        self._loops = loops
        self._loop = asyncio.get_running_loop()
        self._settled = Settled(connections)
        self._suspects: set[Any] = set()
        self.subscriptions = ServerSubscriptions(connections, streams, self._check_later)
        self.read_state = ReadState(
            connections, streams, self.subscriptions.push, self.check_user, self._check_later
        )
        self.endings = Endings(connections, self.subscriptions)
        self._task: asyncio.Task[None] | None = None
        # One check at a time: an older one must not undo the result of a newer one.
        self._checking = asyncio.Lock()

    @property
    def is_idle(self) -> bool:
        """Has every user been checked for whom a check was due?

        This does not include the periodic check of all users, nor checks that are due later.
        """
        return self._task is None or self._task.done()

    def suspect(self, name: str, session: str = "") -> None:
        """Check the user of this private stream now, and once more later.

        Args:
            name: name of the private stream. Without a connected user, nothing happens.
            session: digest of the key of a session that was just logged out, "" for none. The
                user's connections of that session are closed at once.
        """
        for user_id in self._connections.users_of(name):
            if session:
                self.endings.end_session(session, self._connections.by_user.get(user_id, ()))
            for connection in self._connections.by_user.get(user_id, ()):
                connection.rights_changes += 1
                connection.unread = None
            self.check_user(user_id)
            # The change may become visible only later: Django flushes a session after it has sent
            # ``user_logged_out``, and replicas lag.
            self._check_later(user_id)

    async def check_all(self) -> None:
        """Check all connected users, whether or not anything has changed."""
        await self._check_unannounced(list(self._connections.by_user))

    async def check_changed(self, user_ids: list[Any]) -> None:
        """Check those of these users for whom anything has changed, announced or not."""
        await self._check_unannounced(await self._settled.find_shaken(user_ids))

    async def _check_unannounced(self, user_ids: list[Any]) -> None:
        for user_id in await self._check_users(user_ids, count=False):
            self._check_later(user_id)

    async def stop(self) -> None:
        await self.subscriptions.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def check_user(self, user_id: Any) -> None:
        """Check a user soon, for example after incomplete or outdated data may have been sent.

        Nothing happens without a connection of that user.
        """
        if user_id not in self._connections.by_user:
            return
        self._suspects.add(user_id)
        if self.is_idle:
            self._task = self._loop.create_task(self._check_suspects())

    def _check_later(self, user_id: Any) -> None:
        self._loop.call_later(app_settings.check_interval, self.check_user, user_id)

    async def _check_suspects(self) -> None:
        while self._suspects:
            suspects, self._suspects = self._suspects, set()
            try:
                failed = await self._check_users(list(suspects), count=True)
            except Exception as error:
                self._loops.report_failure("checking rights", error)
                failed = list(suspects)
            if failed:
                self._suspects.update(failed)
                await asyncio.sleep(RETRY)
            else:
                self._loops.report_success("checking rights")

    async def _check_users(self, user_ids: list[Any], *, count: bool) -> list[Any]:
        """Check these users together, in batches, with unread counts if ``count`` is set.

        Returns:
            The users who could not be checked. Their errors have been reported.
        """
        failed: list[Any] = []
        async with self._checking:
            for start in range(0, len(user_ids), BATCH_SIZE):
                batch = user_ids[start : start + BATCH_SIZE]
                failed += await self._check_isolated(batch, count)
        return failed

    async def _check_isolated(self, user_ids: list[Any], count: bool) -> list[Any]:
        """Check these users together; if that raises an error, check each of them alone."""
        try:
            await self._check_together(user_ids, count)
        except (OperationalError, InterfaceError):
            raise  # the database is unavailable for all of them
        except Exception as error:
            if len(user_ids) == 1:
                self._loops.report_failure("checking rights", error)
                return user_ids
        else:
            return []
        return [one for pk in user_ids for one in await self._check_isolated([pk], count)]

    async def _check_together(self, user_ids: list[Any], count: bool) -> None:
        # Subscriptions that begin from now on are newer than the findings.
        by_user = {
            user_id: {
                connection: Snapshot.of(connection)
                for connection in self._connections.by_user.get(user_id, ())
            }
            for user_id in user_ids
        }
        snapshots = {one: before for own in by_user.values() for one, before in own.items()}
        keys = {connection.session_key for connection in snapshots if connection.session_digest}
        clients = [connection.client for connection in snapshots]
        findings = await RIGHTS.run(find, user_ids, keys, clients, count, subscribed(snapshots))
        self._beginnings.follow(findings.missing)
        # One deadline for all joins of this check: a slow layer must not delay taking rights away.
        until = self._loop.time() + app_settings.LAYER_TIMEOUT
        for user_id, verdict in findings.verdicts.items():
            if verdict.undecided:
                self._loop.call_later(UNDECIDED_RETRY, self.check_user, user_id)
        for connection, before in snapshots.items():
            if connection.closing is None and connection in self._connections.all:
                await self._apply_verdict(connection, before, findings, until)
        self._settled.note(by_user, findings, in_round=not count)

    async def _apply_verdict(
        self,
        connection: Connection,
        before: Snapshot,
        findings: Findings,
        until: float,
    ) -> None:
        verdict = findings.verdicts.get(connection.user_id)
        if verdict is None or connection.client in findings.closing:
            connection.close(findings.closing.get(connection.client, codes.FORCE_NO_RECONNECT))
            return
        if connection.session_digest and connection.session_key not in findings.sessions:
            # Logged out, or the password was changed: reconnecting shows which.
            connection.close(codes.FORCE_RECONNECT)
            return
        if connection.credentials not in (None, verdict.credentials):
            # A session may survive a password change (update_session_auth_hash), a token does not.
            has_session = bool(connection.session_digest)
            connection.close(codes.FORCE_RECONNECT if has_session else codes.INVALID_TOKEN)
            return
        if connection.client in findings.expiring:
            self.endings.limit(connection, findings.expiring[connection.client])
        if not connection.is_ready:
            # It is still connecting and reads its streams itself: check for later changes.
            self._check_later(connection.user_id)
            return
        self._unsubscribe_forbidden(connection, before.readers, verdict)
        if not connection.follows_user:
            return
        for name, feed in verdict.feeds.items():
            if name not in connection.readers:
                await self.subscriptions.subscribe(connection, feed, until)
        self.read_state.recount(connection, verdict, before.counted)
        self.read_state.synchronize(connection, verdict.unread, before.unread)

    def _unsubscribe_forbidden(
        self, connection: Connection, known: Iterable[Reader], verdict: Verdict
    ) -> None:
        """Unsubscribe a connection from the streams that its user may no longer read."""
        for reader in known:
            name = reader.stream.name
            if connection.readers.get(name) is not reader or name in verdict.undecided:
                continue
            if not is_allowed(reader, verdict):
                why = codes.UNSUBSCRIBED_BY_SERVER._replace(reason=verdict.reason(name))
                self.subscriptions.unsubscribe(reader, why)
            elif self._streams.by_name.get(name) is not reader.stream:
                # The row was deleted and created again before this process noticed.
                connection.close(codes.INSUFFICIENT_STATE)
            elif name in verdict.hidden:
                self._join_leave.forget(connection, name)
            elif reader.grant is not None and reader.grant.asks_joins:
                self._join_leave.watch(connection, name)
