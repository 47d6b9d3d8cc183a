"""Sending signals to the host's receivers, in a thread of their own.

Receivers are the host's code: one may block, or wait for a service that is down. If it ran in a
thread that writes acknowledgements or publishes due notifications, it would stop that work.
"""

import logging
import threading
from typing import Any

from django.dispatch import Signal

from ..database.lanes import RECEIVERS, this_lane
from ..metrics import ANNOUNCEMENTS_DROPPED

logger = logging.getLogger(__name__)

#: Announcements that may wait for a slow receiver. Further ones are dropped, to bound memory.
MAX_WAITING = 10_000


class _Backlog:
    """Counts waiting announcements, and logs once when there are too many."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._is_full = False

    def enter(self) -> bool:
        """Count one more announcement; return False if there are too many."""
        with self._lock:
            if self._count < MAX_WAITING:
                self._count += 1
                return True
            is_first, self._is_full = not self._is_full, True
        ANNOUNCEMENTS_DROPPED.inc()
        if is_first:
            logger.error(
                "Receivers of signals are too slow: %d announcements wait, and more are dropped.",
                MAX_WAITING,
            )
        return False

    def leave(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count < MAX_WAITING // 2:
                self._is_full = False


_backlog = _Backlog()


def tell_receivers(signal: Signal, sender: Any, **arguments: Any) -> None:
    """Send a signal to the host's receivers; errors of receivers are logged by Django.

    From a thread of a lane, receivers are called later and in order, by one thread for all
    receivers. From any other thread, such as that of a request, they are called at once.

    Args:
        signal: a signal of :mod:`notifications.signals`.
        sender: as for :meth:`django.dispatch.Signal.send_robust`.
        arguments: keyword arguments for the receivers.
    """
    if not signal.has_listeners(sender):
        return
    if not this_lane():
        signal.send_robust(sender, **arguments)
    elif _backlog.enter():
        RECEIVERS.submit(_send, signal, sender, arguments)


def _send(signal: Signal, sender: Any, arguments: dict[str, Any]) -> None:
    try:
        signal.send_robust(sender, **arguments)
    finally:
        _backlog.leave()
