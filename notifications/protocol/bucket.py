"""A token bucket. It reads no clock: the caller passes the time."""


class Bucket:
    """Fills at a constant rate up to a maximum, and is emptied by use.

    Args:
        rate: units added per second.
        capacity: the maximum in units; the bucket starts full.
        now: seconds of a monotonic clock.
    """

    __slots__ = ("__weakref__", "_at", "_capacity", "_left", "_rate")

    def __init__(self, rate: float, capacity: float, now: float) -> None:
        self._rate = rate
        self._capacity = capacity
        self._left = capacity
        self._at = now

    def left(self, now: float) -> float:
        """Return the number of units left; negative after an overdraft."""
        self._left = min(self._capacity, self._left + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
        return self._left

    def take(self, amount: float, now: float) -> None:
        """Take ``amount`` units, even if the bucket holds fewer."""
        self._left = self.left(now) - amount

    def try_take(self, amount: float, now: float) -> bool:
        """Take ``amount`` units and return True; with fewer left, take none and return False."""
        if self.left(now) < amount:
            return False
        self._left -= amount
        return True

    def is_full(self, now: float) -> bool:
        return self.left(now) >= self._capacity
