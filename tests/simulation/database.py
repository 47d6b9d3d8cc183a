"""One real SQLite database for all simulated processes, with injected latency and faults.

Pieces of database work run in the event loop, one after another. Virtual time passes between the
submission of a piece and its execution, and again before its result arrives. Two pieces never
overlap, so each behaves like one serializable transaction. Work that meets a lock is rolled back
and runs again when the lock is released.
"""

from __future__ import annotations

import os
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

#: Seconds for which a fault has effects after its end: lock waits and pending retries.
AFTERMATH = 3.0

CHANGES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
WRITES = (*CHANGES, "BEGIN")


class Held(BaseException):
    """A statement has to wait for a lock, until the virtual time ``until`` in seconds.

    It derives from BaseException, so that no ``except Exception`` in the app swallows it.
    """

    def __init__(self, until: float) -> None:
        super().__init__()
        self.until = until


class Database:
    """The database and its current faults.

    Args:
        chance: decides which statements and commits fail.
        now: returns the virtual time in seconds.
        host: the clock of the database host.
    """

    def __init__(self, chance: Random, now: Callable[[], float], host: WallClock) -> None:
        self._chance = chance
        self._now = now
        self.clock = host
        self._is_calm = 0
        self._commits = 0
        #: Number of the physical database that is in use.
        self.incarnation = 1
        self._troubles: list[tuple[float, float]] = []
        self.heal()
        _active[:] = [self]

    def heal(self) -> None:
        """End all faults."""
        #: Shares of the statements that fail, and of the commits that fail before and after they
        #: take effect.
        self.statement_loss = 0.0
        self.commit_loss = 0.0
        self.late_commit_loss = 0.0
        #: When the database becomes reachable again, by process name; "" means all processes.
        self.away: dict[str, float] = {}
        #: When writing is possible again.
        self.locked_until = 0.0
        #: When the open transaction ends that has inserted a stream, by name of the stream.
        self.held: dict[str, float] = {}
        #: When the lock on a user's subscriptions is released, by primary key of the user.
        self.held_users: dict[int, float] = {}
        #: Maximum delay in seconds before work is executed, and again before its result arrives.
        self.latency = 0.004

    def trouble(self, seconds: float) -> None:
        """Record that the database is impaired for the next ``seconds``."""
        self._troubles.append((self._now(), self._now() + seconds + AFTERMATH))

    def calm_seconds(self, start: float, end: float) -> float:
        """Return for how many seconds between ``start`` and ``end`` the database worked."""
        calm, at = 0.0, start
        for began, ended in sorted(self._troubles):
            if began >= end:
                break
            calm += max(0.0, began - at)
            at = max(at, ended)
        return calm + max(0.0, end - at)

    # Work

    def run(self, work: Callable[[], Any]) -> Any:
        """Run a piece of work of the current process.

        Raises:
            Held: the work met a lock before it committed anything, and has to run again.
        """
        self._commits = 0
        return work()

    @contextmanager
    def calm(self) -> Iterator[None]:
        """Suspend all faults, for queries of the simulation itself."""
        self._is_calm += 1
        try:
            yield
        finally:
            self._is_calm -= 1

    def reserve_id(self) -> int:
        """Take the next primary key of a notification, as an INSERT does that commits later."""
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
        """Let another physical database take over, with the tables of the snapshot."""
        self.incarnation += 1
        snapshot.backup(connection.connection)

    # Faults

    def statement(self, execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if self._is_calm:
            return execute(sql, *args)
        self._fail_while_away()
        if sql.lstrip().startswith(WRITES):
            self._wait_for_locks(sql, args[0])
        result = execute(sql, *args)
        if not connection.in_atomic_block and sql.lstrip().startswith(CHANGES):
            self._commits += 1
        return result

    def commit(self, commit: Callable[[], None]) -> None:
        if self._is_calm:
            return commit()
        self._fail_while_away()
        if self._chance.random() < self.commit_loss:
            raise OperationalError("the connection broke before the commit")
        commit()
        self._commits += 1
        if self._chance.random() < self.late_commit_loss:
            raise OperationalError("the connection broke after the commit")
        return None

    def _fail_while_away(self) -> None:
        process: Process | None = current.get()
        until = max(self.away.get("", 0.0), self.away.get(process.name if process else "", 0.0))
        if self._now() < until:
            raise OperationalError("the database is away")
        if self.statement_loss and self._chance.random() < self.statement_loss:
            raise OperationalError("the connection broke")

    def _wait_for_locks(self, sql: str, parameters: Any) -> None:
        until = self.locked_until
        if self.held and 'INTO "notifications_stream"' in sql:
            until = max([until, *(t for name, t in self.held.items() if name in parameters)])
        if self.held_users and "notifications_subscription" in sql:
            values = set(_flat(parameters))
            until = max([until, *(t for pk, t in self.held_users.items() if pk in values)])
        if self._now() >= until:
            return
        if self._commits:  # part of the work is committed, so it must not run again
            raise OperationalError("canceling statement due to lock timeout")
        raise Held(until)


def _flat(parameters: Any) -> Iterator[Any]:
    """Yield the parameters of ``execute()``, or of all rows of ``executemany()``."""
    for value in parameters or ():
        if isinstance(value, tuple | list):
            yield from value
        else:
            yield value


_active: list[Database] = []


def prepare() -> None:
    """Create the tables, and install the faults below Django; once per Python process."""
    # Within an event loop, Django would keep one connection for each task.
    connections._connections = SimpleNamespace()  # type: ignore[attr-defined]
    # Values that migrations write, such as epochs, have to be the same each time.
    clock.begin(lambda: clock.START, 0)
    connection.ensure_connection()
    connection.connection.create_function("randomblob", 1, os.urandom)
    call_command("migrate", verbosity=0)
    clock.end()
    connection.execute_wrappers.append(
        lambda *args: _active[0].statement(*args)  # noqa: PLW0108 - each run has its own database
    )
    real_commit = connection._commit  # type: ignore[attr-defined]
    connection._commit = lambda: _active[0].commit(real_commit)  # type: ignore[attr-defined]
    connection.connection.create_function("strftime", 2, _strftime)


_plain = sqlite3.connect(":memory:")


def _strftime(form: str, moment: Any) -> Any:
    """SQLite's ``strftime``, but ``'now'`` is the time of the simulated database clock."""
    if str(moment).upper() != "NOW":
        return _plain.execute("SELECT strftime(?, ?)", (form, moment)).fetchone()[0]
    now = _active[0].clock.time()
    return _plain.execute("SELECT strftime(?, ?, 'unixepoch')", (form, now)).fetchone()[0]
