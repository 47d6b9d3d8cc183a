"""Streams whose history has gone back: they get a new epoch, then their readers are closed (P8).

In this order, because who came back before would show a position of the old epoch, and nobody
could tell that it means something else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..epochs import Old, renew
from ..history import moment
from ..lanes import RENEWALS
from .connection import Stream
from .loops import Loops

#: Seconds after which a stream is asked for again that was locked.
PAUSE = 0.5

NAME = "renewing epochs"


class Renewals:
    """One task for all, beside the loops: none of them waits for it.

    Args:
        reset: closes the readers of a stream and forgets it.
    """

    def __init__(self, loops: Loops, reset: Callable[[Stream], None]) -> None:
        self._loops = loops
        self._reset = reset
        self._suspects: set[Stream] = set()
        self.task: asyncio.Task[None] | None = None

    def add(self, stream: Stream) -> None:
        """Send nothing more of this stream, and see that it gets a new epoch."""
        if stream.is_suspect:
            return
        stream.is_suspect = True
        self._suspects.add(stream)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def _run(self) -> None:
        while self._suspects:
            suspects = {stream.id: stream for stream in self._suspects}
            histories = {pk: Old(each.epoch, moment(each.tip.at)) for pk, each in suspects.items()}
            try:
                settled = await RENEWALS.run(renew, histories)
                self._loops.works(NAME)
            except Exception as error:
                self._loops.report(NAME, error)
                settled = set()
            for pk in settled:
                self._suspects.discard(suspects[pk])
                self._reset(suspects[pk])
            if len(settled) < len(suspects):
                await asyncio.sleep(PAUSE)
