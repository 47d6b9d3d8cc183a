"""One real SQLite database for all simulated processes, at moments and with faults of our choice.

Work runs in the event loop, one piece after the other; between asking and doing, and between
doing and knowing, virtual time passes. So two pieces of work never overlap, as if each were one
serializable transaction. What waits for a lock is rolled back, and done again when it is free.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any

from django.core.management import call_command
from django.db import OperationalError, connection, connections

from . import clock
from .clock import WallClock
from .process import Process, current

#: How long the effects of a trouble last, seconds: waits for locks, and what is tried again.
AFTERMATH = 3.0

CHANGES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
WRITES = (*CHANGES, "BEGIN")


class Held(BaseException):
    """A statement waits for a lock. No ``except Exception`` on the way swallows it."""

    def __init__(self, until: float) -> None:
        super().__init__()
        self.until = until


class Database:
    """The database and what is wrong with it at the moment.

    Args:
        chance: decides about faults.
        now: virtual seconds.
        host: the clock of the database's host.
    """

    def __init__(self, chance: Random, now: Callable[[], float], host: WallClock) -> None:
        self._chance = chance
        self._now = now
        self.clock = host
        self._is_calm = 0
        self._commits = 0
        #: Which physical database it is.
        self.incarnation = 1
        self._troubles: list[tuple[float, float]] = []
        self.heal()
        _active[:] = [self]

    def heal(self) -> None:
        """Work as it should from now on."""
        #: Share of statements that fail, and of commits that fail before and after they are done.
        self.statement_loss = 0.0
        self.commit_loss = 0.0
        self.late_commit_loss = 0.0
        #: Until when nobody can reach it, by name of the process; "" is everybody.
        self.away: dict[str, float] = {}
        #: Until when all writing waits.
        self.locked_until = 0.0
        #: Until when rows are locked that an open transaction has made, by name of the stream.
        self.held: dict[str, float] = {}
        #: Until when somebody keeps the subscriptions of a user locked, by its primary key.
        self.held_users: dict[int, float] = {}
        #: Seconds that a piece of work takes at most.
        self.latency = 0.004

    def trouble(self, seconds: float) -> None:
        """Note that from now on it does not do its work for so long."""
        self._troubles.append((self._now(), self._now() + seconds + AFTERMATH))

    def calm_seconds(self, start: float, end: float) -> float:
        """How much of this time the database could be asked."""
        calm, at = 0.0, start
        for began, ended in sorted(self._troubles):
            if began >= end:
                break
            calm += max(0.0, began - at)
            at = max(at, ended)
        return calm + max(0.0, end - at)

    # Work

    def run(self, work: Callable[[], Any]) -> Any:
        """Do a piece of work of the process that is running.

        Raises:
            Held: nothing of it is done, and it waits for a lock.
        """
        self._commits = 0
        return work()

    @contextmanager
    def calm(self) -> Iterator[None]:
        """Ask it without any fault: for the world, which has no part in the system."""
        self._is_calm += 1
        try:
            yield
        finally:
            self._is_calm -= 1

    def reserve_id(self) -> int:
        """Take the next primary key of a notification, as an INSERT that commits later does."""
        with self.calm(), connection.cursor() as cursor:
            name = "notifications_notification"
            cursor.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = %s", [name])
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [name])
            row = cursor.fetchone()
            if row is None:
                cursor.execute("INSERT INTO sqlite_sequence VALUES (%s, 1)", [name])
            return 1 if row is None else int(row[0])

    # Going back

    def snapshot(self) -> sqlite3.Connection:
        copy = sqlite3.connect(":memory:")
        connection.ensure_connection()
        connection.connection.backup(copy)
        return copy

    def go_back(self, snapshot: sqlite3.Connection) -> None:
        """Another database takes over, whose tables are as they were."""
        self.incarnation += 1
        snapshot.backup(connection.connection)

    # Faults

    def statement(self, execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if self._is_calm:
            return execute(sql, *args)
        self._meet_absence()
        if sql.lstrip().startswith(WRITES):
            self._meet_locks(sql, args[0])
        result = execute(sql, *args)
        if not connection.in_atomic_block and sql.lstrip().startswith(CHANGES):
            self._commits += 1
        return result

    def commit(self, commit: Callable[[], None]) -> None:
        if self._is_calm:
            return commit()
        self._meet_absence()
        if self._chance.random() < self.commit_loss:
            raise OperationalError("the connection broke before the commit")
        commit()
        self._commits += 1
        if self._chance.random() < self.late_commit_loss:
            raise OperationalError("the connection broke after the commit")
        return None

    def _meet_absence(self) -> None:
        process: Process | None = current.get()
        until = max(self.away.get("", 0.0), self.away.get(process.name if process else "", 0.0))
        if self._now() < until:
            raise OperationalError("the database is away")
        if self.statement_loss and self._chance.random() < self.statement_loss:
            raise OperationalError("the connection broke")

    def _meet_locks(self, sql: str, parameters: Any) -> None:
        until = self.locked_until
        if self.held and 'INTO "notifications_stream"' in sql:
            until = max([until, *(t for name, t in self.held.items() if name in parameters)])
        if self.held_users and "notifications_subscription" in sql:
            values = set(_flat(parameters))
            until = max([until, *(t for pk, t in self.held_users.items() if pk in values)])
        if self._now() >= until:
            return
        if self._commits:  # a part of the work is done, and is not done twice
            raise OperationalError("canceling statement due to lock timeout")
        raise Held(until)


def _flat(parameters: Any) -> Iterator[Any]:
    """The values of a statement, or of many."""
    for value in parameters or ():
        if isinstance(value, tuple | list):
            yield from value
        else:
            yield value


_active: list[Database] = []


def prepare() -> None:
    """Make the tables, and put the faults between Django and them: once in a Python process."""
    # In a loop, Django would keep a connection for each task.
    connections._connections = SimpleNamespace()  # type: ignore[attr-defined]
    # What migrations write, such as epochs, has to be the same each time.
    clock.begin(lambda: clock.START, 0)
    call_command("migrate", verbosity=0)
    clock.end()
    connection.execute_wrappers.append(
        lambda *args: _active[0].statement(*args)  # noqa: PLW0108 - another one in each run
    )
    real_commit = connection._commit  # type: ignore[attr-defined]
    connection._commit = lambda: _active[0].commit(real_commit)  # type: ignore[attr-defined]
    connection.connection.create_function("strftime", 2, _strftime)


_plain = sqlite3.connect(":memory:")


def _strftime(form: str, moment: Any) -> Any:
    """SQLite's own, but the present is what the clock of the database says."""
    if str(moment).upper() != "NOW":
        return _plain.execute("SELECT strftime(?, ?)", (form, moment)).fetchone()[0]
    now = _active[0].clock.time()
    return _plain.execute("SELECT strftime(?, ?, 'unixepoch')", (form, now)).fetchone()[0]
