"""How many requests a user may make: as many as commands on the socket, counted apart."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from threading import Lock
from typing import Any

from ...conf import app_settings
from ...protocol.bucket import Bucket


class Limits:
    """A bucket of requests for each user who has been active in this process lately.

    Args:
        clock: seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: By primary key of the user, the one used longest ago first.
        self._buckets: OrderedDict[Any, Bucket] = OrderedDict()
        #: Requests are answered in several threads.
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, user_id: Any) -> int:
        """Take a request from a user's bucket, which fills by ``COMMAND_RATE``.

        Returns:
            0, or the seconds to wait before the next request if the bucket is empty.
        """
        now = self._clock()
        with self._lock:
            bucket = self._bucket(user_id, now)
            if bucket.try_take(1, now):
                return 0
            return max(1, math.ceil((1 - bucket.left(now)) / app_settings.COMMAND_RATE))

    def clear(self) -> None:
        self._buckets.clear()

    def _bucket(self, user_id: Any, now: float) -> Bucket:
        self._forget_full(now)
        bucket = self._buckets.get(user_id)
        if bucket is None:
            rate, burst = app_settings.COMMAND_RATE, app_settings.COMMAND_BURST
            bucket = self._buckets[user_id] = Bucket(rate, burst, now)
        self._buckets.move_to_end(user_id)
        return bucket

    def _forget_full(self, now: float) -> None:
        """Forget up to two users with full buckets. One is added at a time, so idle ones vanish."""
        for user_id in list(islice(self._buckets, 2)):
            if self._buckets[user_id].is_full(now):
                del self._buckets[user_id]


#: The buckets of this process.
limits = Limits()
