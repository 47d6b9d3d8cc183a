"""Work of many connections, done together: one database call for all that wait for it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from django.db import InterfaceError, OperationalError

from ..database.lanes import Lane

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items per call: enough to make the fixed cost of a call small, few enough to answer soon.
BATCH = 500

#: In a storm, wait this long for more to serve together; seconds.
WINDOW = 0.05

#: A batch of so many makes a storm.
STORM = 4

#: A call that takes longer than this is slow, and those who come after it do not wait for it;
#: seconds.
SLOW = 0.5

#: Calls under way at once, all but the last of them slow.
FLIGHTS = 3


class Batcher(Generic[Item, Result]):
    """Collects items while a call is under way, and takes all of them into the next.

    A lone item is served at once. (Measured: a connect alone costs 8 ms of CPU, nearly all of it
    for building queries; one among many 0.6 ms.) A call that is slow holds up its own items only:
    the next begins beside it.

    Args:
        work: takes a list of items and returns their results in the same order; a result that is
            an exception is raised to the one who asked.
        lane: whose threads do the work.
    """

    def __init__(
        self, work: Callable[[list[Item]], Sequence[Result | Exception]], lane: Lane
    ) -> None:
        self._work = work
        self._lane = lane
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._flights: set[asyncio.Task[None]] = set()
        #: The flight for which new items wait; the others are slow.
        self._current: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._start()
        return await future

    def _start(self) -> None:
        if self._current is None and self._waiting and len(self._flights) < FLIGHTS:
            self._current = task = asyncio.create_task(self._fly())
            self._flights.add(task)
            task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flights.discard(task)
        if self._current is task:
            self._current = None
        self._start()

    def _is_slow(self, task: asyncio.Task[None] | None) -> None:
        if self._current is task:
            self._current = None
            self._start()

    async def _fly(self) -> None:
        me = asyncio.current_task()
        loop = asyncio.get_running_loop()
        # What has arrived in this turn of the loop goes along.
        await asyncio.sleep(0)
        while self._waiting and self._current is me:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            clock = loop.call_later(SLOW, self._is_slow, me)
            try:
                results = await self._serve([item for item, _ in batch])
            finally:
                clock.cancel()
            for (_, future), result in zip(batch, results, strict=True):
                _settle(future, result)
            if len(batch) >= STORM:
                await asyncio.sleep(WINDOW)

    async def _serve(self, items: list[Item]) -> Sequence[Result | Exception]:
        try:
            return await self._lane.run(self._work, items)
        except (OperationalError, InterfaceError) as error:
            return [error] * len(items)  # the database is away, for all of them
        except Exception as error:
            if len(items) == 1:
                return [error]
        # One of them is to blame, and the others must not notice (P7).
        return [result for item in items for result in await self._serve([item])]


def _settle(future: "asyncio.Future[Result]", result: Result | Exception) -> None:
    if future.done():  # who asked has gone
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
