"""Database rows of this worker and its connections, written in batches."""

import os
import time
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

import msgspec
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connections, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.datastructures import CaseInsensitiveMapping

from ..conf import app_settings
from ..database.lanes import FLUSH
from ..host.announcements import tell_receivers
from ..models import Connection as Row
from ..models import Worker, database_alias
from ..signals import connected, disconnected
from ..streams.members import members_to_announce
from .isolated_writes import Outcome, RetryCounter, limit_lock_wait, write_isolated
from .join_leave import announce_left
from .sockets.connection import Connection

#: One statement for ``executemany``: 13 µs a row, where ``bulk_create`` takes 27 µs.
INSERT = f"""
    INSERT INTO {Row._meta.db_table}
    (id, user_id, worker_id, address, user_agent, connected_at, closing)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""  # noqa: S608 - interpolates only the table's name


#: Fractions of WORKER_TIMEOUT: how often a worker refreshes its row, and how old the row of a dead
#: worker is. Their sum is below 1, so that its rows are deleted within WORKER_TIMEOUT.
HEARTBEAT = 1 / 6
DEAD_AFTER = 3 / 4


class Said(NamedTuple):
    """What a client has sent for receivers of ``connected``, as JSON; b"" for nothing."""

    data: bytes = b""
    headers: bytes = b""


class ConnectionRow(NamedTuple):
    """The values of a row of :class:`notifications.models.Connection`."""

    client: str
    user_id: Any
    address: str
    user_agent: str
    connected_at: datetime
    said: Said


class ClosedConnection(NamedTuple):
    client: str
    user_id: object
    code: int


class Presence:
    """The rows of one process. A worker that stops refreshing its row is considered dead."""

    def __init__(self, host: str) -> None:
        self.worker = Worker(id=uuid.uuid4(), host=host[:255], pid=os.getpid())
        self._is_written = False
        self._open: dict[str, ConnectionRow] = {}
        self._new: dict[str, ConnectionRow] = {}
        self._closed: list[ClosedConnection] = []
        self._retries = RetryCounter("Connections")
        self._beaten_at = time.monotonic()
        #: How often the rows of this worker were found to be deleted by another one.
        self.losses = 0

    def add(self, connection: Connection, said: Said) -> None:
        """Schedule the row of a new connection, whose id must not have been added before.

        Args:
            connection: the connection.
            said: what its client has sent for receivers of ``connected``.
        """
        connection.connected_at = timezone.now()
        row = ConnectionRow(
            connection.client,
            connection.user_id,
            connection.address[:64],
            connection.user_agent[:255],
            connection.connected_at,
            said,
        )
        self._new[connection.client] = row
        self._open[connection.client] = row

    def remove(self, connection: Connection, code: int) -> None:
        """Schedule the removal of a closed connection; do nothing if it was never added.

        Args:
            code: the close code, for the ``disconnected`` signal.
        """
        if self._open.pop(connection.client, None) is not None:
            self._closed.append(ClosedConnection(connection.client, connection.user_id, code))

    async def flush(self) -> None:
        """Write and delete the scheduled rows. Rows that fail are kept for the next flush.

        A row that keeps failing is given up. The row of a deleted user is dropped at once.

        Raises:
            Exception: the error of the first row that failed, or the database is unavailable.
        """
        if not self._new and not self._closed:
            return
        new, self._new = self._new, {}
        closed, self._closed = self._closed, []
        try:
            added, removed = await FLUSH.run(self._write, list(new.values()), closed)
        except BaseException:  # a stopping hub cancels this and then flushes again
            self._new = new | self._new
            self._closed = closed + self._closed
            raise
        failed: list[tuple[ConnectionRow | ClosedConnection, Exception]] = [
            *added.failed,
            *removed.failed,
        ]
        to_retry = self._retries.keys_to_retry(
            ((row.client, type(row)), error) for row, error in failed
        )
        retried = [row for row, _ in failed if (row.client, type(row)) in to_retry]
        for row in (*added.untried, *removed.untried, *retried):
            if isinstance(row, ClosedConnection):
                self._closed.append(row)
            elif row.client in self._open:
                self._new.setdefault(row.client, row)
        if failed:
            raise failed[0][1]

    async def beat(self) -> None:
        """Refresh the row of this worker, and delete those of dead workers."""
        await FLUSH.run(self._beat)

    async def retire(self) -> None:
        """Delete the rows of this worker, which is stopping."""
        if self._is_written:
            await FLUSH.run(Worker.objects.filter(pk=self.worker.pk).delete)

    def keep_worker(self) -> None:
        """Refresh the row of this worker; if it is gone, write it and its connections again.

        Call it in a thread of the flush lane.
        """
        if not self._refresh_worker():
            self._insert(list(self._open.values()))

    def _write(
        self, new: list[ConnectionRow], closed: list[ClosedConnection]
    ) -> tuple[Outcome[ConnectionRow], Outcome[ClosedConnection]]:
        added = self._insert(new) if new else Outcome[ConnectionRow]([], [])
        removed = write_isolated(self._using, closed, _delete, lambda one: _delete([one]))
        missing = {row for row, _ in added.failed} | set(added.untried)
        for row in new if connected.has_listeners(Row) else ():
            if row not in missing:
                tell_receivers(
                    connected,
                    Row,
                    user_id=row.user_id,
                    client=row.client,
                    data=msgspec.json.decode(row.said.data) if row.said.data else None,
                    headers=CaseInsensitiveMapping(msgspec.json.decode(row.said.headers or b"{}")),
                )
        retried = {entry for entry, _ in removed.failed} | set(removed.untried)
        for entry in closed if disconnected.has_listeners(Row) else ():
            if entry not in retried:
                tell_receivers(
                    disconnected, Row, user_id=entry.user_id, client=entry.client, code=entry.code
                )
        return added, removed

    def _insert(self, rows: Sequence[ConnectionRow]) -> Outcome[ConnectionRow]:
        if not self._refresh_worker():
            # Another worker has deleted its row, and its connections with it.
            rows = list(self._open.values())
            self.losses += self._is_written
            self._create_worker()
        return write_isolated(self._using, rows, self._insert_together, self._insert_one)

    def _insert_together(self, rows: Sequence[ConnectionRow]) -> None:
        with transaction.atomic(using=self._using):
            limit_lock_wait(self._using)
            self._insert_rows(rows)

    def _insert_one(self, row: ConnectionRow) -> None:
        try:
            with transaction.atomic(using=self._using):
                limit_lock_wait(self._using)
                self._create_worker()
                self._insert_rows([row])
        except IntegrityError:  # the user was deleted
            return

    @property
    def _using(self) -> str:
        return database_alias()

    def _insert_rows(self, rows: Sequence[ConnectionRow]) -> None:
        connection = connections[self._using]
        uuids, users = Row._meta.pk, get_user_model()._meta.pk
        worker = uuids.get_db_prep_value(self.worker.pk, connection)
        parameters = [
            (
                uuids.get_db_prep_value(row.client, connection),
                users.get_db_prep_value(row.user_id, connection),
                worker,
                row.address,
                row.user_agent,
                connection.ops.adapt_datetimefield_value(row.connected_at),
                False,
            )
            for row in rows
        ]
        with connection.cursor() as cursor:
            cursor.executemany(INSERT, parameters)

    def _refresh_worker(self) -> bool:
        """Set ``seen_at`` to the database's time, because hosts may differ; False without a row."""
        return bool(Worker.objects.filter(pk=self.worker.pk).update(seen_at=Now()))

    def _create_worker(self) -> None:
        self.worker.seen_at = cast(datetime, Now())
        Worker.objects.bulk_create([self.worker], ignore_conflicts=True)
        self._is_written = True

    def _beat(self) -> None:
        if self._is_written:
            self.keep_worker()
        now, last = time.monotonic(), self._beaten_at
        self._beaten_at = now
        if now - last > app_settings.WORKER_TIMEOUT / 2:
            # What delayed this worker (the database, a suspended laptop) may have delayed the
            # others too: give them one round to refresh their rows.
            return
        _delete_dead(but=self.worker.pk)


def _delete_dead(but: uuid.UUID) -> None:
    """Delete the rows of dead workers, and announce what they cannot: that their members have left.

    Args:
        but: the worker that deletes them.
    """
    since = Now() - timedelta(seconds=app_settings.WORKER_TIMEOUT * DEAD_AFTER)
    dead = Worker.objects.filter(seen_at__lt=since).exclude(pk=but)
    for worker_id in dead.values_list("pk", flat=True):
        left = members_to_announce(worker_id)
        _, deleted = dead.filter(pk=worker_id).delete()
        if deleted.get(Worker._meta.label):  # else another worker has, at the same time
            announce_left(left)


def _delete(closed: Sequence[ClosedConnection]) -> None:
    ids = [uuid.UUID(entry.client) for entry in closed]
    using = database_alias()
    for start in range(0, len(ids), 500):
        with transaction.atomic(using=using):
            limit_lock_wait(using)
            Row.objects.using(using).filter(pk__in=ids[start : start + 500]).delete()
