"""What the app announces to the host's receivers, in a thread of its own.

Receivers are the host's code: one may block, or wait for a service that is away. A thread of the
app that called it would do its own work no more, such as writing acknowledgements or publishing
what is due.
"""

import logging
import threading
from typing import Any

from django.dispatch import Signal

from ..database.lanes import RECEIVERS, this_lane
from ..metrics import ANNOUNCEMENTS_DROPPED

logger = logging.getLogger(__name__)

#: So many announcements wait for a receiver that is slow. What comes then is dropped, because
#: memory is not without end.
MOST_WAITING = 10_000


class _Waiting:
    """How many announcements wait, and whether it has been said that they are too many."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._is_full = False

    def enter(self) -> bool:
        """Is there room for one more?"""
        with self._lock:
            if self._count < MOST_WAITING:
                self._count += 1
                return True
            is_news, self._is_full = not self._is_full, True
        ANNOUNCEMENTS_DROPPED.inc()
        if is_news:
            logger.error(
                "Receivers of signals are too slow: %d announcements wait, and more are dropped.",
                MOST_WAITING,
            )
        return False

    def leave(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count < MOST_WAITING // 2:
                self._is_full = False


_waiting = _Waiting()


def tell_receivers(signal: Signal, sender: Any, **arguments: Any) -> None:
    """Send a signal to the host's receivers; one that raises is logged and hides no other.

    In a thread of a worker they are called later, in order, by a thread for all receivers. In
    any other thread, such as that of a request, they are called now.

    Args:
        signal: of :mod:`notifications.signals`.
        sender: as of :meth:`django.dispatch.Signal.send_robust`.
        arguments: what the receivers get.
    """
    if not signal.has_listeners(sender):
        return
    if not this_lane():
        signal.send_robust(sender, **arguments)
    elif _waiting.enter():
        RECEIVERS.submit(_send, signal, sender, arguments)


def _send(signal: Signal, sender: Any, arguments: dict[str, Any]) -> None:
    try:
        signal.send_robust(sender, **arguments)
    finally:
        _waiting.leave()
