"""Primary keys of many rows, in little memory."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import overload


class Ids(Sequence[int]):
    """Primary keys as a sequence that compares like a list, but holds only their ranges.

    A list of a million takes 40 MB. ``list(ids)`` makes one.

    Args:
        ranges: the primary keys, in their order; none of them empty.
    """

    def __init__(self, ranges: Iterable[range]) -> None:
        self._ranges = list(ranges)
        self._ends = list(accumulate(map(len, self._ranges)))

    @property
    def ranges(self) -> Sequence[range]:
        """The primary keys as ranges, in their order."""
        return self._ranges

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> "Ids": ...
    def __getitem__(self, index: int | slice) -> "int | Ids":
        places = range(len(self))[index]
        if isinstance(places, int):
            which = bisect_right(self._ends, places)
            return self._ranges[which][places - self._ends[which]]
        if places.step != 1:
            return Ids(range(self[place], self[place] + 1) for place in places)
        return Ids(self._between(places.start, places.stop))

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._ranges)

    def __contains__(self, value: object) -> bool:
        for part in self._ranges:  # noqa: SIM110 - half as fast with any()
            if value in part:
                return True
        return False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ids | list | tuple):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        return f"<Ids: {len(self)}>"

    def _between(self, start: int, stop: int) -> Iterator[range]:
        which = bisect_right(self._ends, start)
        while start < stop:
            part, end = self._ranges[which], self._ends[which]
            yield part[start - end + len(part) : min(stop, end) - end + len(part)]
            start, which = end, which + 1
