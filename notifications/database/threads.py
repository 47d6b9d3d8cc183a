"""Threads: a few that start with their work, and in whose hands the process may end.

``ThreadPoolExecutor`` has Python wait at its end for whatever its threads do. What the host's code
or a database that is frozen keeps for ever would keep the process too.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def start_native(function: Callable[[], None], name: str) -> None:
    """Run ``function`` in a daemon thread of the operating system.

    Also where gevent or eventlet has replaced :mod:`threading`, and threads are greenlets that
    share one. There the call does not switch to another greenlet.

    Args:
        name: of the thread, where threads have names.

    Raises:
        RuntimeError: the process is ending, or may have no more threads.
    """
    if (gevent := sys.modules.get("gevent.monkey")) is not None:
        gevent.get_original("_thread", "start_new_thread")(function, ())
    elif (eventlet := sys.modules.get("eventlet.patcher")) is not None:
        eventlet.original("_thread").start_new_thread(function, ())
    else:
        threading.Thread(target=function, name=name, daemon=True).start()


class Threads(Executor):
    """Daemon threads that take calls in the order in which they come.

    Args:
        most: how many threads.
        name: of the threads, before their numbers.
        begin: called in each thread before anything else.
    """

    def __init__(self, most: int, name: str, begin: Callable[[], None]) -> None:
        self._most = most
        self._name = name
        self._begin = begin
        self._threads: list[threading.Thread] = []
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._is_closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a thread call this."""
        call = partial(fn, *args, **kwargs)
        future: Future[T] = Future()
        with self._changed:
            self._calls.append((future, call))
            if len(self._calls) > self._idle and len(self._threads) < self._most:
                name = f"{self._name}_{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()
        return future

    def close(self) -> None:
        """Take no more calls; those that have been taken are made."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def join(self, patience: float) -> bool:
        """Wait, ``patience`` seconds at most, until all threads have ended; False if not all."""
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        self._begin()
        while (taken := self._take()) is not None:
            _make(*taken)
            del taken  # the future holds the result, and who waits for it all the rest

    def _take(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._changed:
            while not self._calls:
                if self._is_closed:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return self._calls.popleft()


def _make(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # it is the caller's
        future.set_exception(error)
    else:
        future.set_result(result)
