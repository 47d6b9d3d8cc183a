"""Gives a new epoch to streams whose history has gone back, then closes their readers (P8).

The order matters: a client that reconnects before the renewal would present a position of the old
epoch, which would still look valid.
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

#: Seconds until a locked stream, or a failed renewal, is tried again.
PAUSE = 0.5

#: Most streams that are renewed together before their readers are closed.
BATCH_SIZE = 1000

NAME = "renewing epochs"


class Renewals:
    """Renews suspect streams in one task of its own, so that no background loop waits for it.

    Args:
        loops: reports failures.
        reset: closes the readers of a stream and forgets it.
        resume: called when a stream was suspected wrongly, and may have missed publications.
    """

    def __init__(
        self, loops: Loops, reset: Callable[[Stream], None], resume: Callable[[], None]
    ) -> None:
        self._loops = loops
        self._reset = reset
        self._resume = resume
        #: Suspect streams, with the position that contradicted the tables, or None if two entries
        #: contradict each other, which needs no second look.
        self._suspects: dict[Stream, Seen | None] = {}
        self.task: asyncio.Task[None] | None = None

    def add(self, stream: Stream, seen: Seen | None = None) -> None:
        """Stop sending this stream, and have it renewed.

        Args:
            stream: the stream whose history seems to have gone back.
            seen: the evidence that contradicted the tables, which is checked again under a lock;
                None if two entries contradict each other.
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
            batch = {stream.id: stream for stream in list(self._suspects)[:BATCH_SIZE]}
            histories = {
                pk: Old(stream.epoch, moment(stream.tip.at), self._suspects[stream])
                for pk, stream in batch.items()
            }
            try:
                verdict = await RENEWALS.run(renew, histories)
                self._loops.report_success(NAME)
            except Exception as error:
                self._loops.report_failure(NAME, error)
                await asyncio.sleep(PAUSE)
                continue
            for pk in verdict.settled:
                del self._suspects[batch[pk]]
                self._reset(batch[pk])
            for pk in verdict.unchanged:
                del self._suspects[batch[pk]]
                batch[pk].is_suspect = False
            if verdict.unchanged:
                self._resume()
            locked = batch.keys() - verdict.settled - verdict.unchanged
            for pk in locked:  # behind the others, which may not be locked
                self._suspects[batch[pk]] = self._suspects.pop(batch[pk])
            if locked:
                await asyncio.sleep(PAUSE)
