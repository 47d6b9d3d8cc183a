"""A timer wheel for the deadlines of all connections of a process."""

from collections.abc import Callable
from math import ceil

from .connection import Connection


class TimerWheel:
    """Connections in buckets, by the second in which they are to be visited."""

    def __init__(self) -> None:
        #: The connections of a bucket are the keys, in the order in which they were added.
        self._buckets: dict[int, dict[Connection, None]] = {}
        self._now = 0

    @property
    def is_empty(self) -> bool:
        """Is there no connection to visit, not even a closed one?"""
        return not any(self._buckets.values())

    def add(self, connection: Connection, deadline: float) -> None:
        """Visit ``connection`` at the first turn after ``deadline`` (monotonic seconds)."""
        self.remove(connection)
        second = connection.due = max(ceil(deadline), self._now + 1)
        self._buckets.setdefault(second, {})[connection] = None

    def remove(self, connection: Connection) -> None:
        """Do not visit ``connection`` any more, and do not keep it. It need not be here."""
        bucket = self._buckets.get(connection.due)
        if bucket is not None:
            bucket.pop(connection, None)

    def turn(self, now: float, visit: Callable[[Connection], None]) -> None:
        """Visit the connections whose deadline has passed, and add the open ones again.

        Args:
            now: monotonic seconds.
            visit: handles one connection.
        """
        last = int(now)
        due = [second for second in self._buckets if second <= last]
        self._now = max(self._now, last)
        for second in sorted(due):
            bucket = self._buckets[second]
            while bucket:  # pops one by one, so that after an exception the next turn continues
                connection, _ = bucket.popitem()
                session = connection.session
                if session.is_closed:
                    continue
                if session.deadline <= now:  # else it has moved, as with every pong
                    visit(connection)
                if not session.is_closed:
                    self.add(connection, session.deadline)
            del self._buckets[second]
