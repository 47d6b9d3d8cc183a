"""The database threads of all simulated processes: work that is done later, and known later."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from django.db import OperationalError

from notifications.conf import app_settings

from .database import Database, Held
from .loop import SimulatedLoop
from .process import Process, current

#: Threads of an executor that does not say how many it has.
THREADS = 4

#: How long a view waits for a lock. The threads of hubs have ``LOCK_TIMEOUT``.
PATIENCE_OF_VIEWS = 30.0


class _Job:
    def __init__(self, loop: SimulatedLoop, lane: _Lane, work: Callable[[], Any]) -> None:
        self.lane = lane
        self.work = work
        self.process: Process | None = current.get()
        self.context = contextvars.copy_context()
        self.future: asyncio.Future[Any] = loop.create_future()
        #: When it gives up waiting for a lock.
        self.patience = 0.0


class _Lane:
    """As many jobs at once as the executor has threads; the others wait."""

    def __init__(self, size: int, patience: float) -> None:
        self.free = size
        self.patience = patience
        self.waiting: deque[_Job] = deque()


class Threads:
    """Takes the place of the event loop's ``run_in_executor``."""

    def __init__(
        self, loop: SimulatedLoop, database: Database, chance: Random, trace: Callable[..., None]
    ) -> None:
        self._loop = loop
        self._database = database
        self._chance = chance
        self._trace = trace
        #: Told the name of each piece of work that is done.
        self.done: Callable[[str], None] = _name_only
        self._lanes: dict[tuple[str, Any], _Lane] = {}

    def submit(
        self, executor: Any, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> asyncio.Future[Any]:
        """Do ``function(*args)`` in the process that is running, when a thread is free."""
        process = current.get()
        size = getattr(executor, "_max_workers", THREADS)
        name = "" if process is None else process.name
        patience = PATIENCE_OF_VIEWS if executor is None else app_settings.LOCK_TIMEOUT
        lane = self._lanes.setdefault((name, executor), _Lane(size, patience))
        job = _Job(self._loop, lane, lambda: function(*args))
        if lane.free:
            lane.free -= 1
            self._start(job)
        else:
            lane.waiting.append(job)
        return job.future

    def _start(self, job: _Job) -> None:
        job.patience = self._loop.now + job.lane.patience
        self._later(self._latency(), job, self._do)

    def _do(self, job: _Job) -> None:
        if job.process is not None and not job.process.is_alive:
            return
        result: Any = None
        error: Exception | None = None
        try:
            result = self._database.run(job.work)
        except Held as held:
            until = min(held.until, job.patience)
            if self._loop.now < until:
                self._later(until - self._loop.now + 0.001, job, self._do)
                return
            error = OperationalError("canceling statement due to lock timeout")
        except Exception as raised:
            error = raised
        name = _name(job.work)
        self._trace("database", job.process, name, "" if error is None else repr(error))
        self.done(name)
        self._later(self._latency(), job, self._finish, result, error)

    def _finish(self, job: _Job, result: Any, error: Exception | None) -> None:
        lane = job.lane
        if lane.waiting:
            self._start(lane.waiting.popleft())
        else:
            lane.free += 1
        if job.future.done() or (job.process is not None and not job.process.is_alive):
            return
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)

    def _latency(self) -> float:
        return self._chance.uniform(0.0003, self._database.latency)

    def _later(self, delay: float, job: _Job, call: Callable[..., None], *args: Any) -> None:
        self._loop.call_later(delay, call, job, *args, context=job.context)


def _name_only(name: str) -> None:
    return


def _name(work: Any) -> str:
    """What production code has asked for: partials and our own lambda taken off."""
    function, *_ = [
        cell.cell_contents for cell in work.__closure__ or () if callable(cell.cell_contents)
    ]
    while hasattr(function, "func"):
        function = (
            function.args[0] if function.args and callable(function.args[0]) else function.func
        )
    return getattr(function, "__qualname__", type(function).__name__)
