"""A token bucket: so much for each second, and so much at once. It reads no clock."""


class Bucket:
    """Fills with time and is emptied by use.

    Args:
        rate: what comes in for each second.
        most: what it holds, and has at the beginning.
        now: seconds of a clock that never goes back.
    """

    __slots__ = ("__weakref__", "_at", "_left", "_most", "_rate")

    def __init__(self, rate: float, most: float, now: float) -> None:
        self._rate = rate
        self._most = most
        self._left = most
        self._at = now

    def left(self, now: float) -> float:
        """What is in it; below 0 after more was taken than there was."""
        self._left = min(self._most, self._left + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
        return self._left

    def take(self, amount: float, now: float) -> None:
        """Take ``amount``, whether or not there is so much."""
        self._left = self.left(now) - amount

    def afford(self, amount: float, now: float) -> bool:
        """Take ``amount`` if there is so much; else take nothing and return False."""
        if self.left(now) < amount:
            return False
        self._left -= amount
        return True

    def is_full(self, now: float) -> bool:
        return self.left(now) >= self._most
