"""The background loops of the hub. An exception in one round does not end a loop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError

from ..metrics import DATABASE_ERRORS

logger = logging.getLogger(__name__)

Work = Callable[[], Awaitable[object]]

#: Seconds until a failed round is repeated, unless :meth:`Loops.wake` starts it earlier.
RETRY = 1.0


class Loops:
    """Named tasks that repeat a piece of work. A failure is logged once, counted and retried.

    When the database is unavailable, nearly all loops fail, and commands of clients too. That is
    logged as one line for all of them, and one more when the database is back.

    Args:
        probe: name of the loop that queries the database in every round. Its success means that
            the database is available again.
    """

    def __init__(self, probe: str = "") -> None:
        self._probe = probe
        self._tasks: list[asyncio.Task[None]] = []
        self._wakeups: dict[str, asyncio.Event] = {}
        self._failing: set[str] = set()
        #: Failing loops whose failure has been logged.
        self._logged: set[str] = set()
        self._is_database_down = False

    def start(self, name: str, interval: float | Callable[[], float], work: Work) -> None:
        """Run ``work`` every ``interval`` seconds; a callable is evaluated before each round."""
        self._wakeups[name] = asyncio.Event()
        between = interval if callable(interval) else lambda: interval
        self._tasks.append(asyncio.create_task(self._repeat(name, between, work), name=name))

    def wake(self, name: str) -> None:
        """Start the next round of this loop now; do nothing if there is no such loop."""
        if name in self._wakeups:
            self._wakeups[name].set()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def guard(self, name: str, work: Work) -> None:
        """Run ``work`` once; report an exception instead of raising it."""
        try:
            await work()
        except Exception as error:
            self.report_failure(name, error)
        else:
            self.report_success(name)

    def report_failure(self, name: str, error: Exception, then: str = "retrying") -> None:
        """Log a failure once until :meth:`report_success`; log unexpected ones with a traceback.

        Args:
            name: the work that failed, as it appears in the log.
            then: what happens next, as it appears in the log.
        """
        if isinstance(error, DatabaseError):
            DATABASE_ERRORS.inc()
        if name in self._failing:
            return
        self._failing.add(name)
        if isinstance(error, OperationalError | InterfaceError):
            self._database_went_down(error)
            return
        self._logged.add(name)
        expected = isinstance(error, DatabaseError | OSError | TimeoutError)
        logger.warning(
            "%s failed (%s); %s.",
            name.capitalize(),
            type(error).__name__,
            then,
            exc_info=None if expected else error,
        )

    def report_success(self, name: str) -> None:
        """Record that this work has succeeded, so that its next failure is logged again."""
        if name == self._probe and self._is_database_down:
            self._is_database_down = False
            logger.info("The database is available again.")
        self._failing.discard(name)
        if name in self._logged:
            self._logged.discard(name)
            logger.info("%s works again.", name.capitalize())

    def database_failed(self, error: DatabaseError) -> None:
        """Count and log a database error in a command of a client."""
        DATABASE_ERRORS.inc()
        if isinstance(error, OperationalError | InterfaceError):
            self._database_went_down(error)
        else:
            logger.warning("A command failed in the database (%s).", type(error).__name__)

    def _database_went_down(self, error: Exception) -> None:
        if self._is_database_down:
            return
        self._is_database_down = True
        logger.warning(
            "The database is unavailable (%s). Sockets stay open, and failed work is retried.",
            type(error).__name__,
        )

    async def _repeat(self, name: str, interval: Callable[[], float], work: Work) -> None:
        while True:
            await self._wait(name, RETRY if name in self._failing else interval())
            await self.guard(name, work)

    async def _wait(self, name: str, seconds: float) -> None:
        wakeup = self._wakeups[name]
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wakeup.wait()
        wakeup.clear()
