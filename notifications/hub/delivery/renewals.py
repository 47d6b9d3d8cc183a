"""Streams whose history has gone back: they get a new epoch, then their readers are closed (P8).

In this order, because who came back before would show a position of the old epoch, and nobody
could tell that it means something else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ...database.lanes import RENEWALS
from ...streams.epochs import Old, renew
from ...streams.evidence import Seen
from ...streams.instants import moment
from ..loops import Loops
from ..sockets.connection import Stream

#: Seconds after which a stream is asked for again that was locked.
PAUSE = 0.5

#: Streams that are renewed before the first readers are closed.
TOGETHER = 1000

NAME = "renewing epochs"


class Renewals:
    """One task for all, beside the loops: none of them waits for it.

    Args:
        reset: closes the readers of a stream and forgets it.
        resume: told when a stream was suspected without a reason, and may have missed something.
    """

    def __init__(
        self, loops: Loops, reset: Callable[[Stream], None], resume: Callable[[], None]
    ) -> None:
        self._loops = loops
        self._reset = reset
        self._resume = resume
        #: What was held against the tables, None where there is no doubt.
        self._suspects: dict[Stream, Seen | None] = {}
        self.task: asyncio.Task[None] | None = None

    def add(self, stream: Stream, seen: Seen | None = None) -> None:
        """Send nothing more of this stream, and see that it gets a new epoch.

        Args:
            seen: with what the tables did not agree; None if two entries contradict each other.
        """
        if stream.is_suspect:
            return
        stream.is_suspect = True
        self._suspects[stream] = seen
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def _run(self) -> None:
        while self._suspects:
            some = {stream.id: stream for stream in list(self._suspects)[:TOGETHER]}
            histories = {
                pk: Old(stream.epoch, moment(stream.tip.at), self._suspects[stream])
                for pk, stream in some.items()
            }
            try:
                verdict = await RENEWALS.run(renew, histories)
                self._loops.works(NAME)
            except Exception as error:
                self._loops.report(NAME, error)
                await asyncio.sleep(PAUSE)
                continue
            for pk in verdict.settled:
                del self._suspects[some[pk]]
                self._reset(some[pk])
            for pk in verdict.innocent:
                del self._suspects[some[pk]]
                some[pk].is_suspect = False
            if verdict.innocent:
                self._resume()
            left = some.keys() - verdict.settled - verdict.innocent
            for pk in left:  # behind the others, which may not be locked
                self._suspects[some[pk]] = self._suspects.pop(some[pk])
            if left:
                await asyncio.sleep(PAUSE)
