"""Invariants of the tables and the devices, checked during a run and at its end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from notifications.models import Notification, Stream, Subscription
from notifications.streams import incarnation

from .database import Database
from .device import Device
from .ledger import Ledger
from .network import BUFFER, Network
from .operator import Operator
from .workers import Workers

#: Maximum number of tasks of a worker: those of its loops, and those of each socket.
TASKS, TASKS_OF_SOCKET = 20, 5


class Row(NamedTuple):
    offset: int
    title: str
    #: Neither withdrawn nor set to expire, so every reader has to receive it.
    lasts: bool


class Tables(NamedTuple):
    """The committed notifications that have an offset, and the state of the streams."""

    rows: dict[str, list[Row]]
    epochs: dict[str, str]
    tops: dict[str, int]


class Place(NamedTuple):
    user_id: int
    channel: str
    since: int
    delivered: int


class Invariants:
    """Compares the tables, which are read without faults, with the ledger and the devices."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        devices: list[Device],
        workers: Workers,
        network: Network,
        operator: Operator,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._devices = devices
        self._workers = workers
        self._network = network
        self._operator = operator

    # At any time

    def check_memory(self) -> None:
        """P5: neither messages nor tasks pile up for a socket that does not read."""
        for wire in self._network.wires:
            if len(wire.buffered) > BUFFER + 2:
                self._ledger.violate("P5", f"{len(wire.buffered)} messages wait for one socket")
        for worker in self._workers.running:
            sockets = sum(wire.worker is worker for wire in self._network.wires)
            most = TASKS + TASKS_OF_SOCKET * sockets
            if worker.tasks > most:
                self._ledger.violate("P5", f"{worker.tasks} tasks in {worker}")

    def check_reported(self) -> None:
        """P8: see :meth:`Ledger.check_reported`."""
        for device in self._devices:
            if device.is_connected and device.wire is not None and device.wire.is_well:
                self._ledger.check_reported(device, device.connected_at)

    def check_rolled_back(self) -> None:
        """P2: no notification of a rolled-back transaction is in the tables."""
        with self._database.calm():
            titles = set(Notification.objects.values_list("title", flat=True))
        for title in titles:
            entry = self._ledger.entries.get(title)
            if entry is not None and entry.state == "rolled back":
                self._ledger.violate("P2", f"{title} was rolled back but is in the table")

    def check_acknowledged(self) -> None:
        """P1: no notification counts as delivered that no device of the user has received."""
        tables = self.tables()
        for place in self._places():
            if self._ledger.may_be_old(place.channel, tables.epochs.get(place.channel)):
                continue
            seen = self._ledger.seen[place.user_id]
            excused = self._ledger.excused[place.user_id, place.channel]
            for row in tables.rows.get(place.channel, ()):
                if not max(place.since, excused) < row.offset <= place.delivered:
                    continue
                if row.lasts and row.title not in seen:
                    self._ledger.violate(
                        "P1",
                        f"{row.title} counts as delivered to user {place.user_id} "
                        f"({place.channel} {row.offset} <= {place.delivered}), who has not seen it",
                    )

    def excuse(self) -> None:
        """Excuse what counts as delivered now: clients learn of a loss and read their inboxes."""
        for place in self._places():
            key = place.user_id, place.channel
            self._ledger.excused[key] = max(self._ledger.excused[key], place.delivered)

    # At the end

    def is_settled(self) -> bool:
        return not list(self.unsettled())

    def unsettled(self) -> Iterator[tuple[str, str]]:
        """Yield what is still outstanding after the faults: the promise and a description."""
        with self._database.calm():
            if incarnation.check() is not None:
                yield "P8", "the history is still suspect"
        if self._operator.alarms:
            yield "P8", "the operator has not acted upon an alarm yet"
        tables = self.tables()
        yield from self._unpublished(tables)
        yield from self._lost(tables)
        for device in self._devices:
            if not self._ledger.may_read(device.user_id, device.channel):
                continue
            if not device.is_connected:
                yield "P1", f"{device} is not connected"
                continue
            yield from self._missing(device, tables)
            yield from self._unreported(device, tables)
            if device.needs_inbox:
                yield "P8", f"{device} cannot fetch its inbox"

    def _unpublished(self, tables: Tables) -> Iterator[tuple[str, str]]:
        published = {row.title for rows in tables.rows.values() for row in rows}
        with self._database.calm():
            waiting = Notification.objects.filter(offset=None, withdrawn_at=None)
            for title in waiting.values_list("title", flat=True):
                yield "P1", f"{title} waits for an offset"
            there = set(Notification.objects.values_list("title", flat=True))
        for entry in self._ledger.entries.values():
            is_owed = entry.state == "committed" and not entry.is_gone and not entry.is_keyed
            if is_owed and entry.title not in there:
                yield "P1", f"{entry.title} was committed but is not in the table"
        assert published <= there

    def _lost(self, tables: Tables) -> Iterator[tuple[str, str]]:
        """Yield the notifications that have reached no device of a user."""
        followed: dict[int, set[str]] = defaultdict(set)
        for device in self._devices:
            followed[device.user_id].update(device.on_wire)
        for place in self._places():
            if place.channel not in followed[place.user_id] or place.channel.startswith("topic:"):
                continue
            seen = self._ledger.seen[place.user_id]
            after = max(place.since, self._ledger.excused[place.user_id, place.channel])
            for row in tables.rows.get(place.channel, ()):
                if row.lasts and row.offset > after and row.title not in seen:
                    yield (
                        "P1",
                        f"{row.title} ({place.channel} {row.offset}) reached no device of user "
                        f"{place.user_id}",
                    )

    def _missing(self, device: Device, tables: Tables) -> Iterator[tuple[str, str]]:
        """Yield what this device should have received and has not."""
        account = self._ledger.accounts[device]
        since = {p.channel: p.since for p in self._places() if p.user_id == device.user_id}
        for channel, follow in account.follows.items():
            if channel not in device.on_wire:
                continue
            if follow.epoch != tables.epochs.get(channel):
                yield "P8", f"{device} reads {channel} in epoch {follow.epoch}"
                continue
            after = follow.after
            if not channel.startswith("topic:"):
                after = max(after, since.get(channel, 0))
            for row in tables.rows.get(channel, ()):
                if row.lasts and row.offset > after and row.title not in account.titles:
                    yield "P1", f"{device} has not received {row.title} ({channel} {row.offset})"
            position = device.positions[channel]
            if position.offset > tables.tops[channel]:
                yield "P8", f"{device} is at {position.offset} of {channel}, beyond its top"

    def _unreported(self, device: Device, tables: Tables) -> Iterator[tuple[str, str]]:
        account = self._ledger.accounts[device]
        for channel, loss in account.unreported.items():
            if channel in device.on_wire:
                yield "P8", f"{device} was not notified that {loss} of {channel} went back"
        since = {p.channel: p.since for p in self._places() if p.user_id == device.user_id}
        if device.needs_inbox:
            return
        for channel, upto in account.reported.items():
            if channel not in device.on_wire:
                continue
            for row in tables.rows.get(channel, ()):
                if (
                    since.get(channel, 0) < row.offset <= upto
                    and row.lasts
                    and row.title not in account.titles
                ):
                    yield (
                        "P8",
                        f"{device} has not received {row.title} ({channel} {row.offset}), "
                        "not even in its inbox",
                    )

    def tables(self) -> Tables:
        rows: dict[str, list[Row]] = defaultdict(list)
        with self._database.calm():
            values = Notification.objects.filter(offset__isnull=False).order_by("stream", "offset")
            for name, offset, title, expires, withdrawn in values.values_list(
                "stream__name", "offset", "title", "expires_at", "withdrawn_at"
            ):
                lasts = expires is None and withdrawn is None
                rows[name].append(Row(offset or 0, title, lasts))
            heads = list(Stream.objects.values_list("name", "epoch", "top"))
        return Tables(
            rows, {name: epoch for name, epoch, _ in heads}, {name: top for name, _, top in heads}
        )

    def _places(self) -> Iterable[Place]:
        with self._database.calm():
            fields = ("user", "stream__name", "since", "delivered")
            return [
                Place(*row)
                for row in Subscription.objects.filter(muted=False)
                .order_by("pk")
                .values_list(*fields)
            ]
