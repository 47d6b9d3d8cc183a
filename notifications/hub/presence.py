"""Who is connected: rows of this worker and its connections, written in batches."""

import os
import uuid
from datetime import timedelta
from typing import NamedTuple

from django.db import IntegrityError, transaction
from django.utils import timezone

from ..conf import app_settings
from ..database import in_database
from ..models import Connection as Row
from ..models import Worker
from ..signals import connected, disconnected
from .connection import Connection


class Gone(NamedTuple):
    client: str
    user_id: object
    code: int


class Presence:
    """The rows of one process. A worker that stops refreshing its row is taken for dead."""

    def __init__(self, host: str) -> None:
        self.worker = Worker(id=uuid.uuid4(), host=host[:255], pid=os.getpid())
        self._is_written = False
        self._present: dict[str, Row] = {}
        self._new: dict[str, Row] = {}
        self._gone: list[Gone] = []

    def add(self, connection: Connection) -> None:
        connection.connected_at = timezone.now()
        row = Row(
            id=uuid.UUID(connection.client),
            user_id=connection.user_id,
            worker=self.worker,
            address=connection.address[:64],
            user_agent=connection.user_agent[:255],
            connected_at=connection.connected_at,
        )
        self._new[connection.client] = row
        self._present[connection.client] = row

    def remove(self, connection: Connection, code: int) -> None:
        self._present.pop(connection.client, None)
        self._gone.append(Gone(connection.client, connection.user_id, code))

    async def flush(self) -> None:
        if not self._new and not self._gone:
            return
        new, self._new = self._new, {}
        gone, self._gone = self._gone, []
        try:
            await in_database(self._write, list(new.values()), gone)
        except BaseException:  # a hub that stops cancels this, and flushes once more
            self._new = new | self._new
            self._gone = gone + self._gone
            raise

    async def beat(self) -> None:
        """Say that this worker lives, and clear away those that do not."""
        await in_database(self._beat)

    async def retire(self) -> None:
        """The worker stops in order: its rows go at once."""
        if self._is_written:
            await in_database(Worker.objects.filter(pk=self.worker.pk).delete)

    def _write(self, new: list[Row], gone: list[Gone]) -> None:
        if new:
            self._insert(new)
        if gone:
            ids = [uuid.UUID(entry.client) for entry in gone]
            for start in range(0, len(ids), 500):
                Row.objects.filter(pk__in=ids[start : start + 500]).delete()
        for row in new:
            connected.send_robust(Row, user_id=row.user_id, client=str(row.pk))
        for entry in gone:
            disconnected.send_robust(
                Row, user_id=entry.user_id, client=entry.client, code=entry.code
            )

    def _insert(self, rows: list[Row]) -> None:
        try:
            with transaction.atomic():
                self._ensure_worker()
                Row.objects.bulk_create(rows, batch_size=500, ignore_conflicts=True)
        except IntegrityError:
            # The worker row was cleared away meanwhile, or a user was deleted: one by one, so
            # that only the row that cannot be is left out.
            self._ensure_worker()
            for row in rows:
                self._insert_one(row)

    def _insert_one(self, row: Row) -> None:
        try:
            with transaction.atomic():
                Row.objects.bulk_create([row], ignore_conflicts=True)
        except IntegrityError:
            return

    def _ensure_worker(self) -> None:
        self.worker.seen_at = timezone.now()
        Worker.objects.bulk_create([self.worker], ignore_conflicts=True)
        self._is_written = True

    def _beat(self) -> None:
        now = timezone.now()
        if self._is_written and not Worker.objects.filter(pk=self.worker.pk).update(seen_at=now):
            self._insert(list(self._present.values()))
        dead = now - timedelta(seconds=app_settings.WORKER_TIMEOUT)
        Worker.objects.filter(seen_at__lt=dead).exclude(pk=self.worker.pk).delete()
