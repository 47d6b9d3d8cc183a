"""Buffers acknowledged positions and writes them to the database in batches."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..database.lanes import FLUSH
from ..host.announcements import tell_receivers
from ..models import database_alias
from ..signals import delivered
from ..streams.acknowledging import Acknowledged, acknowledge
from .isolated_writes import Outcome, RetryCounter, write_isolated

#: The primary keys of a user and a stream.
Pair = tuple[Any, int]


class Mark(NamedTuple):
    name: str
    epoch: str
    offset: int


class Acknowledgements:
    """The highest acknowledged offset of each user and stream since the last flush.

    If they are lost with the process, publications are sent again, and clients drop them by offset.
    """

    def __init__(self) -> None:
        self._marks: dict[Pair, Mark] = {}
        self._retries = RetryCounter("Acknowledgements")

    def add(self, user_id: Any, stream_id: int, mark: Mark) -> None:
        """Record an acknowledged position. A different epoch replaces the earlier one."""
        known = self._marks.get((user_id, stream_id))
        if known is None or known.epoch != mark.epoch or known.offset < mark.offset:
            self._marks[user_id, stream_id] = mark

    async def flush(self) -> None:
        """Write the recorded positions. Those that fail are kept for the next flush.

        A position that keeps failing is given up; then its client may get publications again.

        Raises:
            Exception: the error of the first position that failed, or the database is unavailable.
        """
        if not self._marks:
            return
        marks, self._marks = self._marks, {}
        try:
            outcome = await FLUSH.run(write_marks, marks)
        except BaseException:  # a stopping hub cancels this and then flushes again
            self._put_back(marks.items())
            raise
        to_retry = self._retries.keys_to_retry((pair, error) for (pair, _), error in outcome.failed)
        failed = [item for item, _ in outcome.failed if item[0] in to_retry]
        # Those that failed go last, so that they do not delay the others.
        self._put_back([*outcome.untried, *failed])
        if outcome.failed:
            raise outcome.failed[0][1]

    def _put_back(self, marks: Iterable[tuple[Pair, Mark]]) -> None:
        newer, self._marks = self._marks, dict(marks)
        for pair, mark in newer.items():
            self.add(*pair, mark)


def write_marks(marks: dict[Pair, Mark]) -> Outcome[tuple[Pair, Mark]]:
    """Write acknowledged positions, then send the ``delivered`` signal for those written.

    Returns:
        The positions that were not written.
    """
    using = database_alias()
    outcome = write_isolated(
        using, list(marks.items()), _acknowledge, lambda one: _acknowledge([one])
    )
    if delivered.has_listeners():
        missing = {pair for pair, _ in (*(item for item, _ in outcome.failed), *outcome.untried)}
        for (user_id, stream_id), mark in marks.items():
            if (user_id, stream_id) not in missing:
                tell_receivers(
                    delivered, None, user_id=user_id, stream=mark.name, offset=mark.offset
                )
    return outcome


def _acknowledge(marks: Iterable[tuple[Pair, Mark]]) -> None:
    acknowledge({pair: Acknowledged(mark.epoch, mark.offset) for pair, mark in marks})
