"""What the app asks of the database besides rows: threads of its own, and work after a commit.

The threads are the ORM for long-lived asynchronous code, each with connections of its own.
``sync_to_async`` funnels everything of a process through one thread, where a slow query of one
connection would delay all others; and each call there closes and opens connections by the
request cycle, which sockets do not have.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connections, transaction
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
    """End the database threads and their connections. The next call starts new ones.

    It waits for what they are doing, so an event loop has to call it in another thread.
    """
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


def after_commit(
    using: str, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Call ``function`` once the current transaction has committed, at once outside of any.

    What it raises is logged by Django and neither reaches the caller, whose work is done, nor
    hides what others do after the same commit.

    Args:
        using: alias of the database whose commit is awaited.
    """

    # Django names what has failed by its __qualname__, which a partial has not.
    @wraps(function)
    def call() -> None:
        function(*args, **kwargs)

    transaction.on_commit(call, using=using, robust=True)


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
