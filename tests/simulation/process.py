"""Simulated processes in one event loop, each with its own clock, hub and announcer."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

from .clock import WallClock, wall


class Process:
    """A simulated operating system process.

    Everything that it starts runs in its own context. The patched parts of the app find their
    process through that context.

    Args:
        name: its name in the trace.
        clock: its wall clock.
    """

    def __init__(self, name: str, clock: WallClock) -> None:
        self.name = name
        self.clock = clock
        self.is_alive = True
        #: Its :class:`notifications.hub.Hub` and :class:`notifications.layer.Announcer`.
        self.hub: Any = None
        self.announcer: Any = None
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.context = contextvars.copy_context()
        self.context.run(current.set, self)
        self.context.run(wall.set, clock)

    def __repr__(self) -> str:
        return self.name

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task in this process."""
        context = self.context.copy()
        return asyncio.get_running_loop().create_task(work, context=context)

    def own(self, task: asyncio.Task[Any]) -> None:
        self._tasks[task] = None
        task.add_done_callback(self._forget)

    @property
    def tasks(self) -> int:
        """Number of its tasks that have not ended."""
        return len(self._tasks)

    def kill(self) -> None:
        """End the process: what its code still does has no effect outside of its memory."""
        self.is_alive = False
        for task in list(self._tasks):
            task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not self.is_alive and not task.cancelled():
            task.exception()  # retrieve it, because nothing else will


#: The process whose code is running; None for clients and for the world itself.
current: ContextVar[Process | None] = ContextVar("process", default=None)
