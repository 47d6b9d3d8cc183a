"""Threads for the ORM in long-lived asynchronous code, in lanes that do not wait for each other.

``sync_to_async`` funnels everything of a process through one thread, where a slow query of one
connection would delay all others; and each call there closes and opens connections by the request
cycle, which sockets do not have. So a worker has threads of its own, each with a connection.

They are divided into lanes, because whoever waits for a lock or for a slow query keeps a thread: a
client's command must not keep the one that the position check needs. And no wait is without end:
connections of these threads carry ``LOCK_TIMEOUT`` and ``STATEMENT_TIMEOUT``.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
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

#: How long :func:`close_threads` waits for what threads are doing; seconds.
PATIENCE = 10.0

#: Connections of the threads that have used any.
_opened: dict[threading.Thread, list[BaseDatabaseWrapper]] = {}

#: ``lane`` is the name of the lane whose thread this is.
_here = threading.local()


class Lane:
    """A few threads, and with them database connections, for one kind of work.

    Threads start when there is work for them, so a lane that is not used costs nothing.

    Args:
        name: what the work is, for the names of the threads.
        threads: how many at most; None for the setting ``DATABASE_THREADS``.
    """

    def __init__(self, name: str, threads: int | None = 1) -> None:
        self.name = name
        self._most = threads
        self._pool: Threads | None = None
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """How many calls can be under way at once."""
        return self._most or app_settings.DATABASE_THREADS

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function``, which may use the ORM, in a thread of this lane; return its result."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads(), partial(_call, function, *args, **kwargs)
        )

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """The same from any thread, without waiting."""
        return self._threads().submit(partial(_call, function, *args, **kwargs))

    def close(self, patience: float = PATIENCE) -> bool:
        """End the threads; the next call starts new ones.

        Args:
            patience: how long to wait for what they are doing; seconds.

        Returns:
            False if that was too short for one of them.
        """
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is None:
            return True
        pool.close()
        return pool.join(patience)

    def _threads(self) -> Threads:
        with self._lock:
            if self._pool is None:
                name = f"notifications-database-{self.name}"
                self._pool = Threads(self.size, name, partial(_enter, self.name))
            return self._pool


#: What clients ask for, except to connect.
COMMANDS = Lane("commands", None)
#: Connecting: who is it, where do its streams resume. It only reads.
CONNECTS = Lane("connects", 4)
#: Rows that a connecting user lacks.
BEGINNINGS = Lane("beginnings")
#: The position check.
CHECK = Lane("check")
#: Repairs and readers that catch up.
DELIVERY = Lane("delivery", 2)
#: New epochs for streams whose history has gone back.
RENEWALS = Lane("renewals")
#: Rights of users who are connected.
RIGHTS = Lane("rights")
#: What the host says of topics, which may take long.
PERMISSIONS = Lane("permissions", 4)
#: What waits and is due.
TICKER = Lane("ticker")
#: Acknowledged positions, presence.
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
    """The name of the lane whose thread this is, "" for other threads."""
    return getattr(_here, "lane", "")


def close_threads() -> None:
    """End the threads of all lanes and their connections. The next call starts new ones.

    It waits for what they are doing, so an event loop has to call it in another thread. What takes
    longer than ``PATIENCE`` is left behind: it ends with the process.
    """
    deadline = time.monotonic() + PATIENCE
    stuck = [lane.name for lane in LANES if not lane.close(max(0.0, deadline - time.monotonic()))]
    if stuck:
        logger.warning("Threads are stuck and are left behind: %s.", ", ".join(stuck))
    for thread in [thread for thread in list(_opened) if not thread.is_alive()]:
        for connection in _opened.pop(thread):
            # Its own thread is gone, so no other can be using it.
            connection.inc_thread_sharing()
            connection.close()


#: Of a server that does not tell when it stops.
atexit.register(close_threads)


@receiver(connection_created)
def bound_waits(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Give a new connection of a lane its timeouts.

    Not with a pooler in transaction mode (which ``DISABLE_SERVER_SIDE_CURSORS`` tells of): there a
    ``SET`` would reach connections of others. Set them for the role instead.
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
    """Begin a thread: its connections are of its own, and not of Django's pool.

    What a pool lends goes to views later, and the timeouts would go with it.
    """
    _here.lane = lane
    for alias in connections:
        wrapper = connections[alias]
        if "pool" in wrapper.settings_dict.get("OPTIONS", {}):
            options = {k: v for k, v in wrapper.settings_dict["OPTIONS"].items() if k != "pool"}
            settings = {**wrapper.settings_dict, "OPTIONS": options}
            connections[alias] = type(wrapper)(settings, alias)


def _call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    close_old_connections()
    try:
        return function(*args, **kwargs)
    finally:
        # An error may have left the connection unusable; CONN_MAX_AGE may have passed.
        close_old_connections()
        _opened[threading.current_thread()] = list(connections.all(initialized_only=True))
