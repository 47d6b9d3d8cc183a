"""Acknowledged positions on their way into the database, in batches."""

from typing import Any, NamedTuple

from ..lanes import FLUSH
from ..signals import delivered
from ..subscriptions import Acknowledged, acknowledge


class Mark(NamedTuple):
    name: str
    epoch: str
    offset: int


class Acknowledgements:
    """The highest acknowledged offset by user and stream, since the last flush.

    They may be lost with the process: then a frame is sent again, and its offset drops it.
    """

    def __init__(self) -> None:
        self._marks: dict[tuple[Any, int], Mark] = {}

    def add(self, user_id: Any, stream_id: int, mark: Mark) -> None:
        """Note what a client has. Another epoch than before is a newer one."""
        known = self._marks.get((user_id, stream_id))
        if known is None or known.epoch != mark.epoch or known.offset < mark.offset:
            self._marks[user_id, stream_id] = mark

    async def flush(self) -> None:
        """Write them. What cannot be written now is kept for the next time."""
        if not self._marks:
            return
        marks, self._marks = self._marks, {}
        try:
            await FLUSH.run(_write, marks)
        except BaseException:  # a hub that stops cancels this, and flushes once more
            newer, self._marks = self._marks, marks
            for pair, mark in newer.items():
                self.add(*pair, mark)
            raise


def _write(marks: dict[tuple[Any, int], Mark]) -> None:
    acknowledge({pair: Acknowledged(mark.epoch, mark.offset) for pair, mark in marks.items()})
    if not delivered.has_listeners():
        return
    for (user_id, _), mark in marks.items():
        delivered.send_robust(None, user_id=user_id, stream=mark.name, offset=mark.offset)
