"""Threads for the ORM in long-lived asynchronous code, divided into lanes.

``sync_to_async`` runs all calls of a process in one thread, where a slow query of one connection
would delay all others. Database connections there follow the request cycle, which sockets do not
have. So a worker has threads of its own, each with its own database connections.

A lane is a few of these threads for one kind of work. A call that waits for a lock or a slow query
occupies its thread, and a client's command must not occupy the one that the position check needs.
No wait is unbounded: connections of these threads have ``LOCK_TIMEOUT`` and ``STATEMENT_TIMEOUT``.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver

from ..conf import app_settings
from .threads import Threads

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

#: Seconds that :func:`close_threads` waits for running calls.
CLOSE_TIMEOUT = 10.0

#: Database connections by the thread that opened them.
_opened: dict[threading.Thread, list[BaseDatabaseWrapper]] = {}

#: In a forked child: the connections of its parent, kept so that nothing closes them.
_inherited: list[dict[threading.Thread, list[BaseDatabaseWrapper]]] = []

#: Its attribute ``lane`` is the name of the lane that the current thread belongs to.
_thread_local = threading.local()


class Lane:
    """A few threads, and with them database connections, for one kind of work.

    Threads start when there is work for them, so an unused lane costs nothing.

    Args:
        name: name of the lane, which becomes part of the names of its threads.
        threads: threads at most; None for the setting ``DATABASE_THREADS``.
    """

    def __init__(self, name: str, threads: int | None = 1) -> None:
        self.name = name
        self._max_threads = threads
        self.reset()

    def reset(self) -> None:
        """Forget all threads and calls; a forked child has none of its parent's threads."""
        self._pool: Threads | None = None
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """How many calls can run at once."""
        return self._max_threads or app_settings.DATABASE_THREADS

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function``, which may use the ORM, in a thread of this lane, and await its result.

        Raises:
            Exception: whatever ``function`` raises.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads(), partial(_call, function, *args, **kwargs)
        )

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Like :meth:`run`, but callable from any thread and without waiting."""
        return self._threads().submit(partial(_call, function, *args, **kwargs))

    def start(self) -> None:
        """Start a thread now, for calls that come when Python starts no more threads: at exit."""
        self.submit(_do_nothing)

    def close(self, patience: float = CLOSE_TIMEOUT) -> bool:
        """End the threads after the calls that are queued; the next call starts new threads.

        Args:
            patience: seconds to wait for the threads to end.

        Returns:
            False if a thread is still running.
        """
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is None:
            return True
        pool.close()
        return pool.join(patience)

    def use(self, pool: Threads) -> None:
        """Run all calls in these threads until :meth:`close`.

        Tests need this: what a test has written in a transaction, other threads cannot read.
        """
        with self._lock:
            former, self._pool = self._pool, pool
        if former is not None:
            former.close()

    def _threads(self) -> Threads:
        with self._lock:
            if self._pool is None:
                name = f"notifications-database-{self.name}"
                self._pool = Threads(self.size, name, partial(_enter, self.name))
            return self._pool


#: Commands of clients, except connect.
COMMANDS = Lane("commands", None)
#: Connects: who the user is, and where the streams resume. Reads only.
CONNECTS = Lane("connects", 4)
#: Rows that a connecting user lacks.
BEGINNINGS = Lane("beginnings")
#: The position check.
CHECK = Lane("check")
#: Repairs and readers that catch up.
DELIVERY = Lane("delivery", 2)
#: New epochs for streams whose history has gone back.
RENEWALS = Lane("renewals")
#: Rights of connected users.
RIGHTS = Lane("rights")
#: The host's ``TOPIC_PERMISSION``, which may take long.
PERMISSIONS = Lane("permissions", 4)
#: Waiting notifications that are due.
TICKER = Lane("ticker")
#: Acknowledged positions and presence.
FLUSH = Lane("flush")
#: The host's receivers of this app's signals, which may take long.
RECEIVERS = Lane("receivers")

LANES = (
    COMMANDS,
    CONNECTS,
    BEGINNINGS,
    CHECK,
    DELIVERY,
    RENEWALS,
    RIGHTS,
    PERMISSIONS,
    TICKER,
    FLUSH,
    RECEIVERS,
)

in_database = COMMANDS.run


def this_lane() -> str:
    """The name of the lane that the current thread belongs to; "" for other threads."""
    return getattr(_thread_local, "lane", "")


def close_threads() -> None:
    """End the threads of all lanes, and close their connections. The next call starts new threads.

    It waits for running calls, so an event loop must call it in another thread. Threads that take
    longer than ``CLOSE_TIMEOUT`` are left running, and end with the process.
    """
    deadline = time.monotonic() + CLOSE_TIMEOUT
    stuck = [lane.name for lane in LANES if not lane.close(max(0.0, deadline - time.monotonic()))]
    if stuck:
        logger.warning("Threads did not end in time: %s.", ", ".join(stuck))
    for thread in [thread for thread in list(_opened) if not thread.is_alive()]:
        for connection in _opened.pop(thread):
            # The thread that opened it has ended, so nobody is using it.
            connection.inc_thread_sharing()
            connection.close()


#: For servers that send no lifespan shutdown.
atexit.register(close_threads)


def _begin_anew() -> None:
    """Let a forked child start threads and open connections of its own."""
    for lane in LANES:
        lane.reset()
    _inherited.append(dict(_opened))
    _opened.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


@receiver(connection_created)
def set_timeouts(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Set the timeouts of a new connection in a thread of a lane.

    PostgreSQL connections with ``DISABLE_SERVER_SIDE_CURSORS`` are left alone: they are taken to go
    through a pooler in transaction mode, where ``SET`` would affect other clients. Set the timeouts
    for the database role instead.
    """
    if not this_lane():
        return
    lock, statement = (
        round(seconds * 1000)
        for seconds in (app_settings.LOCK_TIMEOUT, app_settings.STATEMENT_TIMEOUT)
    )
    if connection.vendor == "sqlite":
        statements = [f"PRAGMA busy_timeout = {lock}"]
    elif connection.vendor == "postgresql" and not connection.settings_dict.get(
        "DISABLE_SERVER_SIDE_CURSORS"
    ):
        statements = [f"SET lock_timeout = {lock}", f"SET statement_timeout = {statement}"]
    else:
        return
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


def _enter(lane: str) -> None:
    """Initialize a thread of a lane, with connections that do not come from Django's pool.

    A pooled connection would later serve a view, and would still have the timeouts of the lane.
    """
    _thread_local.lane = lane
    for alias in connections:
        wrapper = connections[alias]
        if "pool" in wrapper.settings_dict.get("OPTIONS", {}):
            options = {k: v for k, v in wrapper.settings_dict["OPTIONS"].items() if k != "pool"}
            settings = {**wrapper.settings_dict, "OPTIONS": options}
            connections[alias] = type(wrapper)(settings, alias)


def _do_nothing() -> None:
    pass


def _call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    if not this_lane():  # the thread of a test, which may be in a transaction
        return function(*args, **kwargs)
    close_old_connections()
    try:
        return function(*args, **kwargs)
    finally:
        # An error may have left the connection unusable; CONN_MAX_AGE may have passed.
        close_old_connections()
        _opened[threading.current_thread()] = list(connections.all(initialized_only=True))
