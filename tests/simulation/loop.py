"""The event loop of a simulation: virtual time, no threads, no sockets.

When no callback is ready, the time jumps to the next timer. What production code runs in a thread
runs in the loop itself, at times that :class:`~tests.simulation.threads.Threads` chooses. Tasks
and futures are numbered, so that sets of them have the same order in each run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

from . import clock
from .process import Process, current

#: Iterations of the loop without progress of time after which it counts as stuck.
STANDSTILL = 100_000

_numbers = count(1)


class Standstill(Exception):
    """The loop has nothing left to wait for, or never becomes idle."""


class _Numbered:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._number = next(_numbers)
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimulatedTask(_Numbered, asyncio.Task):
    pass


class SimulatedFuture(_Numbered, asyncio.Future):
    pass


Submit = Callable[[Any, Callable[..., Any], tuple[Any, ...]], "asyncio.Future[Any]"]


class SimulatedLoop(asyncio.BaseEventLoop):
    """An event loop whose time jumps from timer to timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = clock.START
        #: Runs what production code passes to ``run_in_executor()``.
        self.submit: Submit | None = None
        self._rounds = 0
        self._clock_resolution = 1e-9
        self._selector = self
        self.set_task_factory(_make_task)

    def time(self) -> float:
        return self.now

    def select(self, timeout: float | None) -> list[Any]:
        """Advance the time instead of waiting, as the selector of this loop."""
        if timeout is None:
            raise Standstill("all tasks wait, and no timer is pending")
        if timeout > 0:
            self.now = self._scheduled[0]._when  # type: ignore[attr-defined]
            self._rounds = 0
            return []
        self._rounds += 1
        if self._rounds > STANDSTILL:
            raise Standstill("the loop never becomes idle")
        return []

    def create_future(self) -> asyncio.Future[Any]:
        return SimulatedFuture(loop=self)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        assert self.submit is not None
        return self.submit(executor, func, args)

    def _process_events(self, event_list: list[Any]) -> None:
        return

    def _write_to_self(self) -> None:
        return


def _make_task(loop: Any, coroutine: Any, context: Any = None) -> asyncio.Task[Any]:
    process: Process | None = current.get() if context is None else context.get(current)
    if process is not None and not process.is_alive:
        coroutine.close()
        coroutine = _never(loop)
    task: asyncio.Task[Any] = SimulatedTask(coroutine, loop=loop, context=context)
    if process is not None:
        process.own(task)
    return task


async def _never(loop: SimulatedLoop) -> None:
    """Replace a task that a killed process tries to start."""
    await loop.create_future()
