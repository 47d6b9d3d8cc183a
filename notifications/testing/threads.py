"""Database work of the hub, done by the connections of the test.

The hub has threads with connections of their own. They could not read what a ``TestCase`` has
written, which is never committed, and on SQLite in memory they would lock the test out.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

from ..database.lanes import LANES
from ..database.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")


class ThreadOfTest(Threads):
    """Runs calls in the thread in which ``sync_to_async`` runs those of the test, one by one.

    Args:
        loop: the event loop of the test.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(1, "", lambda: None)
        self._loop = loop

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        call = partial(fn, *args, **kwargs)
        # Not in the context of the caller, where asgiref may see a call that is still running.
        context = contextvars.Context()
        return context.run(asyncio.run_coroutine_threadsafe, self._run(call), self._loop)

    def close(self) -> None:
        """The thread belongs to the test."""

    def join(self, patience: float) -> bool:
        return True

    async def _run(self, call: Callable[[], T]) -> T:
        return await sync_to_async(call, thread_sensitive=True)()


def use_thread_of_test() -> None:
    """Let all lanes run their calls in the thread of the test, until they are given back."""
    pool = ThreadOfTest(asyncio.get_running_loop())
    for lane in LANES:
        lane.use(pool)


def give_back_lanes() -> None:
    """Let lanes have threads of their own again, for tests that run in other event loops."""
    for lane in LANES:
        lane.close()


def close_connections() -> None:
    """Close the connections of this thread, unless a test case is using them.

    PostgreSQL deletes no database that somebody is connected to, and the thread has no other end.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
