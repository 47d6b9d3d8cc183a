"""Daemon threads, which do not keep the process from ending.

Python waits at exit for the threads of a ``ThreadPoolExecutor``. A thread that hangs in the host's
code or in a frozen database would keep the process alive forever.
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

    This works even if gevent or eventlet has patched :mod:`threading` to make greenlets. The call
    does not switch to another greenlet then.

    Args:
        function: the function to run.
        name: name of the thread; ignored under gevent and eventlet.

    Raises:
        RuntimeError: the thread cannot be started, because the process is ending or has too many.
    """
    if (gevent := sys.modules.get("gevent.monkey")) is not None:
        gevent.get_original("_thread", "start_new_thread")(function, ())
    elif (eventlet := sys.modules.get("eventlet.patcher")) is not None:
        eventlet.original("_thread").start_new_thread(function, ())
    else:
        threading.Thread(target=function, name=name, daemon=True).start()


class Threads(Executor):
    """An executor with daemon threads, which run calls in the order of submission.

    Args:
        max_threads: threads at most.
        name: prefix of the names of the threads.
        initializer: called in each thread when it starts.
    """

    def __init__(self, max_threads: int, name: str, initializer: Callable[[], None]) -> None:
        self._max_threads = max_threads
        self._name = name
        self._initializer = initializer
        self._threads: list[threading.Thread] = []
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._is_closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a call; see :meth:`concurrent.futures.Executor.submit`."""
        call = partial(fn, *args, **kwargs)
        future: Future[T] = Future()
        with self._changed:
            self._calls.append((future, call))
            if len(self._calls) > self._idle and len(self._threads) < self._max_threads:
                name = f"{self._name}_{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()
        return future

    def close(self) -> None:
        """Let the threads end after the calls that are queued."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def join(self, patience: float) -> bool:
        """Wait at most ``patience`` seconds for the threads to end; return whether all have."""
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        self._initializer()
        while (taken := self._take()) is not None:
            _run(*taken)
            del taken  # else the idle thread would keep the future and its result alive

    def _take(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._changed:
            while not self._calls:
                if self._is_closed:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return self._calls.popleft()


def _run(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # the caller handles it
        future.set_exception(error)
    else:
        future.set_result(result)
