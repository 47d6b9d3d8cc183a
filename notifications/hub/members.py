"""Who is in which channel: the members of this process, and their rows, written in batches.

The rows follow the members: a flush looks at each client and channel that has changed since the
last one, and writes the row if the client is a member now, or else deletes it. So a client that
subscribes and unsubscribes quickly leaves no row behind, and a retry cannot undo a later change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import IntegrityError, connections, transaction

from ..database.lanes import FLUSH
from ..models import Member as Row
from ..models import Worker, database_alias
from ..namespaces import namespace_of
from ..protocol.messages import ClientInfo
from .isolated_writes import Outcome, RetryCounter, limit_lock_wait, write_isolated
from .join_leave import JoinLeave
from .loops import Loops
from .presence import Presence
from .sockets.connection import Connection

#: The row of an earlier subscription of the same client may still be there.
INSERT = f"""
    INSERT INTO {Row._meta.db_table} (client, channel, user_id, worker_id, info)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT (client, channel) DO UPDATE SET info = excluded.info
"""  # noqa: S608 - interpolates only the table's name
DELETE = f"DELETE FROM {Row._meta.db_table} WHERE client = %s AND channel = %s"  # noqa: S608

#: Seconds that a question about a channel waits for the rows of this process.
SETTLE_TIMEOUT = 1.0

#: Client id and channel.
Key = tuple[str, str]


class Member(NamedTuple):
    """A client in a channel; ``info`` is what others there are told about it."""

    user_id: Any
    channel: str
    info: ClientInfo

    @property
    def key(self) -> Key:
        return self.info.client, self.channel


class Members:
    """The members of this process, in channels whose namespaces keep presence.

    Args:
        presence: the rows of this worker and its connections.
        join_leave: announces who joins and leaves.
        loops: reports failed writes.
    """

    def __init__(self, presence: Presence, join_leave: JoinLeave, loops: Loops) -> None:
        self._presence = presence
        self._join_leave = join_leave
        self._loops = loops
        self._all: dict[Key, Member] = {}
        #: What has changed since the last flush, and the channels whose rows may be behind.
        self._changed: set[Key] = set()
        self._behind: set[str] = set()
        #: The value of :attr:`Presence.losses` when all rows were last written.
        self._losses = presence.losses
        self._flushing = asyncio.Lock()
        self._retries = RetryCounter("Members of channels")
        #: A flush that waits for another one to end, if any; and all flushes for :meth:`settle`.
        self._next: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def join(
        self, connection: Connection, channel: str, info: ClientInfo, *, is_told: bool
    ) -> None:
        """Record that a connection is subscribed to a channel; do nothing without presence.

        Args:
            connection: an admitted connection that is not a member yet.
            channel: name of the channel.
            info: what others in the channel are told about the client; see
                :func:`notifications.streams.members.describe_client`.
            is_told: whether the client is told who joins and leaves. It must have asked for that,
                and have the right to see presence.
        """
        namespace = namespace_of(channel)
        if namespace is None or not namespace.keeps_presence:
            return
        member = Member(connection.user_id, channel, info)
        self._all[member.key] = member
        self._note([member.key])
        if is_told:
            self._join_leave.watch(connection, channel)
        if namespace.tells_joins:
            self._join_leave.joined(channel, info)

    def leave(self, connection: Connection, channel: str) -> None:
        """Record that a connection has left a channel; do nothing if it is not a member."""
        member = self._all.pop((connection.client, channel), None)
        if member is None:
            return
        self._note([member.key])
        self._join_leave.forget(connection, channel)
        namespace = namespace_of(channel)
        if namespace is not None and namespace.tells_joins:
            self._join_leave.left(channel, member.info)

    def find(self, connection: Connection, channel: str) -> ClientInfo | None:
        """Return what others are told about a connection; None if it is not a member."""
        member = self._all.get((connection.client, channel))
        return None if member is None else member.info

    async def settle(self, channel: str) -> None:
        """Write what has changed in a channel here, so that the next query finds it.

        A failure is reported and not raised. This waits for :data:`SETTLE_TIMEOUT` seconds at
        most, because the row of another user may be locked (P9). All who wait while another flush
        is running share the next one, so that a slow database gathers no flushes (P5).
        """
        if channel not in self._behind:
            return
        if self._next is None:
            self._next = asyncio.create_task(self._loops.guard("members", self._flush_next))
            self._tasks.add(self._next)
            self._next.add_done_callback(self._tasks.discard)
        await asyncio.wait({self._next}, timeout=SETTLE_TIMEOUT)

    async def flush(self) -> None:
        """Write and delete the rows that have changed. What fails is kept for the next flush.

        A row that keeps failing is given up. The row of a deleted user is dropped at once.

        Raises:
            Exception: the error of the first row that failed, or the database is unavailable.
        """
        async with self._flushing:
            await self._flush()

    async def _flush_next(self) -> None:
        async with self._flushing:
            self._next = None  # what changes from now on may not be in this flush
            await self._flush()

    async def _flush(self) -> None:
        if self._losses != self._presence.losses:
            self._losses = self._presence.losses
            self._note(self._all)
        changed, self._changed = self._changed, set()
        if not changed:
            return
        try:
            error = await self._write_changed(changed)
        except BaseException:  # a stopping hub cancels this and then flushes again
            self._note(changed)
            raise
        self._behind = {channel for _, channel in self._changed}
        if error is not None:
            raise error

    def _note(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._changed.add(key)
            self._behind.add(key[1])

    async def _write_changed(self, changed: Iterable[Key]) -> Exception | None:
        """Write these rows; note those to retry, and return the first error."""
        members = {key: self._all.get(key) for key in changed}
        present = [member for member in members.values() if member is not None]
        gone = [key for key, member in members.items() if member is None]
        added, removed = await FLUSH.run(self._write, present, gone)
        failed = [*((member.key, error) for member, error in added.failed), *removed.failed]
        to_retry = self._retries.keys_to_retry(failed)
        self._note([key for key, _ in failed if key in to_retry])
        self._note([member.key for member in added.untried])
        self._note(removed.untried)
        return failed[0][1] if failed else None

    def _write(
        self, present: list[Member], gone: list[Key]
    ) -> tuple[Outcome[Member], Outcome[Key]]:
        added, removed = Outcome[Member]([], []), Outcome[Key]([], [])
        if present:
            self._presence.keep_worker()
            added = write_isolated(database_alias(), present, self._insert, self._insert_one)
        if gone:
            removed = write_isolated(database_alias(), gone, _delete, lambda key: _delete([key]))
        return added, removed

    def _insert(self, members: Sequence[Member]) -> None:
        connection = connections[database_alias()]
        users, workers = get_user_model()._meta.pk, Worker._meta.pk
        worker = workers.get_db_prep_value(self._presence.worker.pk, connection)
        _execute(
            INSERT,
            [
                (
                    *_parameters(member.key),
                    users.get_db_prep_value(member.user_id, connection),
                    worker,
                    bytes(member.info.chan_info).decode() if member.info.chan_info else "",
                )
                for member in members
            ],
        )

    def _insert_one(self, member: Member) -> None:
        try:
            self._insert([member])
        except IntegrityError:
            if get_user_model()._default_manager.filter(pk=member.user_id).exists():
                raise  # another worker has just deleted the row of this one


def _delete(keys: Sequence[Key]) -> None:
    _execute(DELETE, [_parameters(key) for key in keys])


def _parameters(key: Key) -> tuple[Any, str]:
    client, channel = key
    prepared = Row._meta.get_field("client").get_db_prep_value(
        client, connections[database_alias()]
    )
    return prepared, channel


def _execute(statement: str, parameters: list[tuple[Any, ...]]) -> None:
    using = database_alias()
    with transaction.atomic(using=using):
        limit_lock_wait(using)
        with connections[using].cursor() as cursor:
            cursor.executemany(statement, parameters)
