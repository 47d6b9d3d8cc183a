"""Batches the database work of many connections into shared calls."""

import asyncio
import time
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from django.db import InterfaceError, OperationalError

from ..conf import app_settings
from ..database.lanes import Lane

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Most items in one call: enough to spread its fixed cost, few enough to answer soon, and before
#: the call counts as slow: calls side by side end in any order.
BATCH_SIZE = 200

#: Seconds to wait after a batch of a storm, so that more items are served together.
STORM_PAUSE = 0.05

#: Number of items in a batch that counts as a storm.
STORM_SIZE = 4

#: Seconds after which a call counts as slow, and later items no longer wait for it.
SLOW_AFTER = 0.5

#: Most calls in progress at once; all but the last of them are slow.
MAX_CALLS = 3


class Batcher(Generic[Item, Result]):
    """Collects items while a call is in progress, and passes all of them to the next call.

    A single item is served at once. (Measured: a single connect costs 8 ms of CPU, nearly all of
    it for building queries; one in a large batch costs 0.6 ms.) A slow call delays only its own
    items, because the next call starts beside it.

    Args:
        work: takes a list of items and returns their results in the same order. A result that is
            an exception is raised to the caller of that item.
        lane: the threads that do the work.
    """

    def __init__(
        self, work: Callable[[list[Item]], Sequence[Result | Exception]], lane: Lane
    ) -> None:
        self._work = work
        self._lane = lane
        #: A heap by deadline, and then by arrival.
        self._waiting: list[tuple[float, int, Item, asyncio.Future[tuple[Result, float]]]] = []
        self._numbers = count()
        self._calls: set[asyncio.Task[None]] = set()
        #: The task that takes new items; the other ones are slow.
        self._current: asyncio.Task[None] | None = None

    async def __call__(self, item: Item, deadline: float | None = None) -> Result:
        """Serve an item.

        Args:
            item: for ``work``.
            deadline: when the caller gives up, in seconds of :func:`time.monotonic`; by default,
                as for a client that connects now. The item with the earliest deadline comes first:
                in a storm, the event loop reads the sockets of thousands of clients in no
                particular order.
        """
        return (await self.timed(item, deadline))[0]

    async def timed(self, item: Item, deadline: float | None = None) -> tuple[Result, float]:
        """Serve an item, and say from when its result is.

        In a storm an item may wait for long before its call begins.

        Args:
            item: for ``work``.
            deadline: see :meth:`__call__`.

        Returns:
            The result, and the event loop's time, in seconds, before the call of ``work`` began.
        """
        if deadline is None:
            deadline = time.monotonic() + app_settings.CONNECT_TIMEOUT
        future: asyncio.Future[tuple[Result, float]] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (deadline, next(self._numbers), item, future))
        self._start()
        return await future

    def _start(self) -> None:
        if self._current is None and self._waiting and len(self._calls) < MAX_CALLS:
            self._current = task = asyncio.create_task(self._serve_waiting())
            self._calls.add(task)
            task.add_done_callback(self._call_ended)

    def _call_ended(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if self._current is task:
            self._current = None
        self._start()

    def _start_beside(self, task: asyncio.Task[None] | None) -> None:
        """Start another task beside this one, whose call has turned out to be slow."""
        if self._current is task:
            self._current = None
            self._start()

    async def _serve_waiting(self) -> None:
        me = asyncio.current_task()
        loop = asyncio.get_running_loop()
        # Include the items that arrive in this iteration of the event loop.
        await asyncio.sleep(0)
        while self._waiting and self._current is me:
            size = min(BATCH_SIZE, len(self._waiting))
            batch = [heappop(self._waiting)[2:] for _ in range(size)]
            began = loop.time()
            timer = loop.call_later(SLOW_AFTER, self._start_beside, me)
            try:
                results = await self._serve([item for item, _ in batch])
            finally:
                timer.cancel()
            for (_, future), result in zip(batch, results, strict=True):
                _settle(future, result, began)
            if len(batch) >= STORM_SIZE:
                await asyncio.sleep(STORM_PAUSE)

    async def _serve(self, items: list[Item]) -> Sequence[Result | Exception]:
        try:
            return await self._lane.run(self._work, items)
        except (OperationalError, InterfaceError) as error:
            return [error] * len(items)  # the database is unavailable for all of them
        except Exception as error:
            if len(items) == 1:
                return [error]
        # One of the items causes the error, and the others must not notice (P7).
        return [result for item in items for result in await self._serve([item])]


def _settle(
    future: "asyncio.Future[tuple[Result, float]]", result: Result | Exception, began: float
) -> None:
    if future.done():  # the caller was cancelled
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result((result, began))
