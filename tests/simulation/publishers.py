"""The code of a site that publishes notifications, with and without failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

from django.db import transaction

from notifications import broadcast, notify
from notifications.models import Notification
from notifications.publishing import notify as publishing
from notifications.publishing.sequencing import sequence
from notifications.streams.rows import ensure
from tests.rooms import write

from .clock import BEGINNING, START
from .database import Database
from .ledger import Entry, Ledger
from .people import TOPICS, People, run_view
from .process import Process

#: Maximum delay of a scheduled notification in seconds.
LATER = 15.0


class RolledBack(Exception):
    """The error with which a caller rolls back its own transaction."""


class Publishers:
    """The processes that publish: a web server, and a job whose clock may differ."""

    def __init__(
        self,
        processes: list[Process],
        people: People,
        database: Database,
        ledger: Ledger,
        chance: Random,
    ) -> None:
        self._processes = processes
        self._people = people
        self._database = database
        self._ledger = ledger
        self._chance = chance
        self._count = 0

    def publish(self) -> None:
        """Publish in one of the ways below, chosen at random."""
        ways: list[tuple[int, Callable[[], None]]] = [
            (8, self.private),
            (8, self.shared),
            (2, self.several),
            (2, self.scheduled),
            (1, self.expiring),
            (1, self.withdrawn),
            (2, self.keyed),
        ]
        way = self._chance.choices([w for _, w in ways], [n for n, _ in ways])[0]
        way()

    def to_everybody(self) -> None:
        """Publish one notification in each stream."""
        for name in self._channels():
            self._do(lambda title, name=name: publishing.publish(name, title))  # type: ignore[misc]

    # Without failures

    def private(self) -> None:
        user_id = self._chance.choice(self._people.ids)
        self._do(lambda title: notify(self._people.user(user_id), title))

    def shared(self) -> None:
        to = self._audience()
        self._do(lambda title: broadcast(title, to=to))

    def several(self) -> None:
        """Notify several users in one transaction."""
        some = self._chance.sample(self._people.ids, 3)

        def work(title: str) -> None:
            with transaction.atomic():
                notify([self._people.user(user_id) for user_id in some], title)

        self._do(work)

    def scheduled(self) -> None:
        user_id, seconds = self._chance.choice(self._people.ids), self._chance.uniform(1, LATER)
        # The time is true calendar time, as a person would give it, not that of a process's clock.
        moment = self._moment(seconds)

        def work(title: str) -> None:
            notify(self._people.user(user_id), title, publish_at=moment)

        self._do(work, in_seconds=seconds)

    def expiring(self) -> None:
        to, moment = self._audience(), self._moment(self._chance.uniform(1, 20))
        self._do(lambda title: broadcast(title, to=to, expires_at=moment))

    def withdrawn(self) -> None:
        to, seconds = self._audience(), self._chance.uniform(0, 3)
        title = self._do(lambda title: broadcast(title, to=to))
        self._later(seconds, lambda: publishing.withdraw(Notification.objects.filter(title=title)))

    def keyed(self) -> None:
        """Publish two notifications with the same key, perhaps concurrently: the first one wins."""
        to, key = self._audience(), f"key {self._chance.randrange(10**6)}"
        for _ in range(2):
            self._do(lambda title: broadcast(title, to=to, key=key), is_keyed=True)

    # With failures

    def die_after_commit(self) -> None:
        """Commit a notification in a process that dies before it gives the offset."""
        name, moment = self._channel(), self._moment(0)
        self._do(lambda title: write(name, title=title, publish_at=moment))

    def roll_back(self) -> None:
        to = self._audience()

        def work(title: str) -> None:
            with transaction.atomic():
                broadcast(title, to=to)
                notify(self._people.user(self._people.ids[0]), title)
                raise RolledBack

        self._do(work)

    def commit_late(self) -> None:
        """Take a primary key now, and commit after transactions that began later."""
        name, pk = self._channel(), self._database.reserve_id()
        moment = self._moment(0)

        def work(title: str) -> None:
            with transaction.atomic():
                stream = ensure([name])[name]
                Notification.objects.create(
                    pk=pk, stream=stream, title=title, created_at=moment, publish_at=moment
                )
                transaction.on_commit(lambda: sequence([stream.pk]))

        self._later(self._chance.uniform(1, 6), lambda: self._do(work), in_database=False)

    # Implementation

    def _do(
        self, work: Callable[[str], Any], *, in_seconds: float = 0.0, is_keyed: bool = False
    ) -> str:
        self._count += 1
        title = f"n{self._count}"
        now = asyncio.get_running_loop().time()
        entry = self._ledger.open(title)
        entry.not_before = now + in_seconds if in_seconds else 0.0
        entry.is_keyed = is_keyed
        process = self._chance.choice(self._processes)
        process.spawn(self._carry_out(entry, work))
        return title

    async def _carry_out(self, entry: Entry, work: Callable[[str], Any]) -> None:
        try:
            await run_view(work, entry.title)
        except RolledBack:
            entry.state = "rolled back"
        except Exception:
            # It may have been committed: the connection may have broken after the commit.
            entry.state = "unknown"
        else:
            entry.state = "committed"

    def _later(self, seconds: float, work: Callable[[], Any], *, in_database: bool = True) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            try:
                if in_database:
                    await run_view(work)
                else:
                    work()
            except Exception:  # a failed attempt counts as none
                return

        self._processes[0].spawn(wait())

    def _moment(self, seconds: float) -> Any:
        now = asyncio.get_running_loop().time()
        return datetime.fromtimestamp(BEGINNING + now - START + seconds, UTC)

    def _audience(self) -> Any:
        name = self._channel()
        while name.startswith("user:"):
            name = self._channel()
        return name

    def _channel(self) -> str:
        return self._chance.choice(self._channels())

    def _channels(self) -> list[str]:
        return [
            "broadcast",
            "staff",
            *(f"topic:{slug}" for slug in TOPICS),
            *(f"group:{pk}" for pk in self._people.groups),
            *(f"user:{pk}" for pk in self._people.ids),
        ]
