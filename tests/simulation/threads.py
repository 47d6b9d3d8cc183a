"""Simulated database threads: work runs after a delay, and its result arrives after another."""

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

#: Seconds that a view waits for a lock. In the threads of hubs it is ``LOCK_TIMEOUT``.
VIEW_LOCK_TIMEOUT = 30.0

AnyFuture = Future[Any] | asyncio.Future[Any]


class ThreadGroup(NamedTuple):
    """The threads of one owner in one process.

    Args:
        owner: the pool that they belong to; None for views.
        size: number of threads.
        patience: seconds that they wait for a lock.
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
        #: Virtual time in seconds at which it stops waiting for a lock.
        self.patience = 0.0


class _Lane:
    """A queue of jobs, of which as many run at once as there are threads."""

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
        #: Called with the name of each piece of work that has been executed.
        self.on_done: Callable[[str], None] = _ignore
        running[:] = [self]
        self._lanes: dict[tuple[str, Any], _Lane] = {}

    def run_in_executor(
        self, pool: Pool | None, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> asyncio.Future[Any]:
        """Implement the method of the same name of the loop.

        Args:
            pool: the pool of a lane of the app; None for views.
            function: the work to run.
            args: the arguments of the function.
        """
        future = self._loop.create_future()
        threads = ThreadGroup(None, THREADS, VIEW_LOCK_TIMEOUT) if pool is None else pool.threads
        self._submit(threads, partial(function, *args), future)
        return future

    def submit(self, pool: Pool, work: Callable[[], Any]) -> Future[Any]:
        """Run work in the threads of a pool, for callers outside of the loop."""
        future: Future[Any] = Future()
        self._submit(pool.threads, work, future)
        return future

    def _submit(self, threads: ThreadGroup, work: Callable[[], Any], future: AnyFuture) -> None:
        """Run it in the current process as soon as one of the threads is free."""
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
        self.on_done(name)
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


def _ignore(name: str) -> None:
    return


def _name(work: Any) -> str:
    """Return the name of the function to call, without the partials around it."""
    while isinstance(work, partial):
        work = work.args[0] if work.args and callable(work.args[0]) else work.func
    return getattr(work, "__qualname__", type(work).__name__)


class Pool:
    """Stand-in for :class:`notifications.database.threads.Threads`, the threads of one lane.

    It takes the arguments of that class.
    """

    def __init__(self, max_threads: int, name: str, initializer: Callable[[], None]) -> None:
        self._max_threads = max_threads

    @property
    def threads(self) -> ThreadGroup:
        return ThreadGroup(self, self._max_threads, app_settings.LOCK_TIMEOUT)

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        return running[0].submit(self, work)

    def close(self) -> None:
        return

    def join(self, patience: float) -> bool:
        return True


#: The threads of the current run.
running: list[Threads] = []
