"""The background loops of the hub, each going on whatever one round of it meets."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from django.db import Error as DatabaseError

from ..metrics import DATABASE_ERRORS

logger = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]


class Loops:
    """Named tasks that repeat a piece of work. What fails is logged once, counted, retried."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._failing: set[str] = set()

    def start(self, name: str, interval: float, work: Work) -> None:
        """Do ``work`` every ``interval`` seconds."""
        self._tasks.append(asyncio.create_task(self._repeat(name, interval, work), name=name))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def guard(self, name: str, work: Work) -> None:
        """Do ``work`` once; what it meets is reported, not raised."""
        try:
            await work()
        except Exception as error:
            self.report(name, error)
        else:
            self.works(name)

    def report(self, name: str, error: Exception, *, expected: bool = False) -> None:
        """Log a failure once until the same work succeeds again. A bug keeps its traceback.

        Args:
            expected: a helper that may fail (the channel layer), whatever class it raises.
        """
        if isinstance(error, DatabaseError):
            DATABASE_ERRORS.inc()
        if name in self._failing:
            return
        self._failing.add(name)
        expected = expected or isinstance(error, DatabaseError | OSError | TimeoutError)
        logger.warning(
            "%s fails (%s) and is tried again.",
            name.capitalize(),
            type(error).__name__,
            exc_info=None if expected else error,
        )

    def works(self, name: str) -> None:
        """The work of :meth:`report` has succeeded: its next failure is news again."""
        if name in self._failing:
            self._failing.discard(name)
            logger.info("%s works again.", name.capitalize())

    async def _repeat(self, name: str, interval: float, work: Work) -> None:
        while True:
            await asyncio.sleep(interval)
            await self.guard(name, work)
            if name in self._failing:
                await asyncio.sleep(1.0)
