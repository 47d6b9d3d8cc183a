"""The newest entry of a stream that was seen, as evidence of its history (P8)."""

from typing import NamedTuple


class Tip(NamedTuple):
    """An entry that was seen: its offset, and its time in microseconds (0 if unknown)."""

    offset: int = 0
    at: int = 0

    def contradicts(self, offset: int, at: int) -> bool:
        """Do these two entries belong to different histories?

        Within one history, a later entry has a higher offset, and an offset has only one time.

        Args:
            offset: offset of the other entry.
            at: when it was published, in microseconds; 0 if unknown, which contradicts nothing.
        """
        if not self.at or not at:
            return False
        return _order(offset, self.offset) != _order(at, self.at)


def _order(one: int, other: int) -> int:
    return (one > other) - (one < other)
