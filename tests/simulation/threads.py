"""The database threads of all simulated processes: work that is done later, and known later."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from random import Random
from typing import Any, NamedTuple

from django.db import OperationalError

from notifications.conf import app_settings

from .database import Database, Held
from .loop import SimulatedLoop
from .process import Process, current

#: Threads of a process for its views.
THREADS = 4

#: How long a view waits for a lock, seconds. The threads of hubs have ``LOCK_TIMEOUT``.
PATIENCE_OF_VIEWS = 30.0

AnyFuture = Future[Any] | asyncio.Future[Any]


class Some(NamedTuple):
    """Threads of one owner in one process.

    Args:
        patience: how long they wait for a lock, seconds.
    """

    owner: Any
    size: int
    patience: float


class _Job:
    def __init__(self, lane: _Lane, work: Callable[[], Any], future: AnyFuture) -> None:
        self.lane = lane
        self.work = work
        self.future = future
        self.process: Process | None = current.get()
        self.context = contextvars.copy_context()
        #: When it gives up waiting for a lock.
        self.patience = 0.0


class _Lane:
    """As many jobs at once as the executor has threads; the others wait."""

    def __init__(self, size: int, patience: float) -> None:
        self.free = size
        self.patience = patience
        self.waiting: deque[_Job] = deque()


class Threads:
    """All threads of a run."""

    def __init__(
        self, loop: SimulatedLoop, database: Database, chance: Random, trace: Callable[..., None]
    ) -> None:
        self._loop = loop
        self._database = database
        self._chance = chance
        self._trace = trace
        #: Told the name of each piece of work that is done.
        self.done: Callable[[str], None] = _name_only
        running[:] = [self]
        self._lanes: dict[tuple[str, Any], _Lane] = {}

    def run_in_executor(
        self, pool: Pool | None, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> asyncio.Future[Any]:
        """What the loop's method of this name does.

        Args:
            pool: of a lane of the app; None for views.
        """
        future = self._loop.create_future()
        threads = Some(None, THREADS, PATIENCE_OF_VIEWS) if pool is None else pool.threads
        self._submit(threads, partial(function, *args), future)
        return future

    def submit(self, pool: Pool, work: Callable[[], Any]) -> Future[Any]:
        """The same from outside of the loop."""
        future: Future[Any] = Future()
        self._submit(pool.threads, work, future)
        return future

    def _submit(self, threads: Some, work: Callable[[], Any], future: AnyFuture) -> None:
        """Do it in the process that is running, when one of the threads is free."""
        process = current.get()
        key = ("" if process is None else process.name, threads.owner)
        lane = self._lanes.setdefault(key, _Lane(threads.size, threads.patience))
        job = _Job(lane, work, future)
        if lane.free:
            lane.free -= 1
            self._start(job)
        else:
            lane.waiting.append(job)

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
            self._trace("waits for a lock", job.process, _name(job.work))
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
    """What is to be done, without the partials around it."""
    while isinstance(work, partial):
        work = work.args[0] if work.args and callable(work.args[0]) else work.func
    return getattr(work, "__qualname__", type(work).__name__)


class Pool:
    """Stands for :class:`notifications.database.threads.Threads`, the threads of one lane.

    Its arguments are those of that class.
    """

    def __init__(self, most: int, name: str, begin: Callable[[], None]) -> None:
        self._most = most

    @property
    def threads(self) -> Some:
        return Some(self, self._most, app_settings.LOCK_TIMEOUT)

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        return running[0].submit(self, work)

    def close(self) -> None:
        return

    def join(self, patience: float) -> bool:
        return True


#: The threads of the run that is under way.
running: list[Threads] = []
