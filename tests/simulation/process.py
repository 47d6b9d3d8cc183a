"""Simulated processes in one event loop: each has its clock, its hub and its outbox of hints."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

from .clock import WallClock, wall


class Process:
    """What stands for one operating system process.

    Everything that it starts runs in a context of its own, by which the patched parts of the app
    find out whose they are.

    Args:
        name: for the trace.
        clock: what it takes for the time.
    """

    def __init__(self, name: str, clock: WallClock) -> None:
        self.name = name
        self.clock = clock
        self.is_alive = True
        #: A :class:`notifications.hub.Hub` and a :class:`notifications.layer.Announcer`.
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
        """How many of its tasks are under way."""
        return len(self._tasks)

    def kill(self) -> None:
        """Nothing that it does from now on has an effect outside of its memory."""
        self.is_alive = False
        for task in list(self._tasks):
            task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not self.is_alive and not task.cancelled():
            task.exception()  # nobody is left who would ask


#: The process whose code is running; None for clients and for the world itself.
current: ContextVar[Process | None] = ContextVar("process", default=None)
