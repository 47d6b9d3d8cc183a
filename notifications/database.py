"""The ORM for long-lived asynchronous code: a few threads with database connections of their own.

``sync_to_async`` funnels everything of a process through one thread, where a slow query of one
connection would delay all others; and each call there closes and opens connections by the
request cycle, which sockets do not have.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .conf import app_settings

P = ParamSpec("P")
T = TypeVar("T")

_executor: ThreadPoolExecutor | None = None
_opened: set[BaseDatabaseWrapper] = set()


async def in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function``, which may use the ORM, in a database thread and return its result."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads(), partial(_call, function, *args, **kwargs))


def close_threads() -> None:
    """End the database threads and their connections. The next call starts new ones."""
    global _executor
    executor, _executor = _executor, None
    if executor is None:
        return
    executor.shutdown(wait=True)
    while _opened:
        connection = _opened.pop()
        # Its own thread is gone, so no other can be using it.
        connection.inc_thread_sharing()
        connection.close()


def _threads() -> ThreadPoolExecutor:
    global _executor
    if _executor is None:
        _executor = ThreadPoolExecutor(
            app_settings.DATABASE_THREADS, thread_name_prefix="notifications-database"
        )
    return _executor


def _call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    close_old_connections()
    try:
        return function(*args, **kwargs)
    finally:
        # An error may have left the connection unusable; CONN_MAX_AGE may have passed.
        close_old_connections()
        _opened.update(connections.all(initialized_only=True))
