"""Brings live readers up to date, in order: with what is announced, or from history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ...conf import app_settings
from ...database.lanes import DELIVERY
from ...protocol import codes
from ...streams.encoding import Publication
from ...streams.evidence import Pruned, Seen, WentBack, read_on, read_ranges_on
from ...streams.history import Range
from ..loops import Loops
from ..sockets.connection import Reader
from .fan_out import FanOut, joinable
from .stream import Announced, LocalStream

#: Sockets written to without yielding to the event loop: about 10 ms of CPU.
SLICE = 1000

#: Most streams that are read together.
BATCH_SIZE = 200

NAME = "repair"

NO_TIMES: Mapping[int, int] = MappingProxyType({})


class Repairs:
    """Repairs streams, one repair per stream at a time.

    During a repair the stream is ``busy``: announced publications are noted but not fanned out.

    Args:
        streams: the streams of this process, by name.
        loops: reports failures.
        fall_behind: called with readers whose sockets are blocked.
        went_back: called with a stream whose history contradicts what was seen, and with that
            evidence.
    """

    def __init__(
        self,
        streams: Mapping[str, LocalStream],
        loops: Loops,
        fall_behind: Callable[[Reader], None],
        went_back: Callable[[LocalStream, Seen], None],
    ) -> None:
        self._streams = streams
        self._loops = loops
        self._fall_behind = fall_behind
        self._went_back = went_back
        self.tasks: set[asyncio.Task[None]] = set()

    def start(self, stream: LocalStream) -> None:
        """Bring all live readers up to date from history.

        Do nothing if the stream is being repaired, suspect or not known yet.
        """
        if not stream.busy and not stream.is_suspect and stream.is_known:
            stream.busy = True
            self._spawn(self._repair(stream))

    def deliver(self, stream: LocalStream, publication: Publication, at: int = 0) -> None:
        """Write the next publication of a stream to its live readers, at once if they are few.

        To many it is written in the next turn of the event loop, in slices, and joined with others
        that are announced until then.

        Args:
            stream: a stream of which :meth:`~.stream.LocalStream.is_next` is true.
            publication: the publication.
            at: when it was published, in microseconds; 0 if unknown.
        """
        if stream.waiting is not None:
            stream.waiting.append(Announced(publication, at))
        elif stream.has_few_live:
            fan_out = FanOut(stream, [publication], at, self._fall_behind)
            try:
                fan_out.write_some(SLICE)
            finally:
                fan_out.end()
        else:
            stream.waiting = [Announced(publication, at)]
            stream.busy = True
            self._spawn(self._repair(stream))

    def start_many(self, tops: Mapping[LocalStream, int]) -> None:
        """Bring the live readers of many streams up to date, with few queries.

        Args:
            tops: tops that were read from the database, by stream. None of the streams may be
                ``busy``.
        """
        for stream in tops:
            stream.busy = True
        self._spawn(self._repair_many(dict(tops)))

    async def stop(self) -> None:
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _repair(self, stream: LocalStream) -> None:
        try:
            while stream.waiting and not stream.is_suspect:
                announced, stream.waiting = stream.waiting, []
                at = {each.publication.offset: each.at for each in announced}
                await self._fan_out(stream, [each.publication for each in announced], at)
            was_announced, stream.waiting = stream.waiting is not None, None
            if was_announced and stream.heard <= stream.top:
                return
            while self._streams.get(stream.name) is stream and not stream.is_suspect:
                heard, seen = stream.heard, stream.seen()
                try:
                    page = await DELIVERY.run(
                        read_on, stream.id, stream.top, app_settings.PAGE_SIZE, seen
                    )
                except Pruned as pruned:
                    _pass_over(stream, pruned.floor)
                    continue
                await self._fan_out(stream, page.publications)
                stream.move_over(page.offset, page.at)
                self._loops.report_success(NAME)
                # Stop only if nothing was announced during the query.
                if not page.more and stream.heard == heard:
                    return
        except WentBack:
            self._went_back(stream, seen)
        except Exception as error:
            self._loops.report_failure(NAME, error)
        finally:
            stream.busy = False
            stream.waiting = None

    async def _repair_many(self, tops: dict[LocalStream, int]) -> None:
        streams = list(tops)
        try:
            for start in range(0, len(streams), BATCH_SIZE):
                await self._repair_some(
                    {stream: tops[stream] for stream in streams[start : start + BATCH_SIZE]}
                )
            self._loops.report_success(NAME)
        except Exception as error:
            self._loops.report_failure(NAME, error)
            return
        finally:
            for stream in streams:
                stream.busy = False
        for stream in streams:
            if stream.heard > stream.top:
                self.start(stream)

    async def _repair_some(self, tops: dict[LocalStream, int]) -> None:
        ranges = {
            stream: Range(stream.id, stream.top, min(top, stream.top + app_settings.PAGE_SIZE))
            for stream, top in tops.items()
        }
        seen = {stream.id: stream.seen() for stream in ranges}
        wanted = {stream.id: entry for stream, entry in ranges.items()}
        found = await DELIVERY.run(read_ranges_on, wanted, seen)
        for stream, entry in ranges.items():
            refusal = found.refused.get(stream.id)
            if isinstance(refusal, WentBack):
                self._went_back(stream, seen[stream.id])
            elif isinstance(refusal, Pruned):
                _pass_over(stream, refusal.floor)
            elif not stream.is_suspect:
                await self._fan_out(stream, found.publications[entry])
                top = found.tops.get(stream.id)
                at = top.at if top is not None and top.offset == entry.upto else 0
                stream.move_over(entry.upto, at)

    async def _fan_out(
        self,
        stream: LocalStream,
        publications: Iterable[Publication],
        at: Mapping[int, int] = NO_TIMES,
    ) -> None:
        """Fan out in slices, so that the event loop can do other work in between.

        Args:
            stream: the stream.
            publications: publications in order. Those that the stream is past are left out.
            at: when they were published, in microseconds, by offset, as far as it is known.
        """
        for group in joinable(each for each in publications if each.offset > stream.top):
            last = group[-1].offset
            fan_out = FanOut(stream, group, at.get(last, 0), self._fall_behind)
            try:
                while fan_out.write_some(SLICE):  # noqa: ASYNC110 - it waits for nothing
                    await asyncio.sleep(0)
            finally:
                fan_out.end()


def _pass_over(stream: LocalStream, floor: int) -> None:
    """Advance past the pruned entries, and close live readers that lack some of them.

    Readers at or above ``floor`` stay. They may have subscribed after the pruning.

    Args:
        stream: the stream to advance.
        floor: offset up to which its history was pruned.
    """
    for reader in list(stream.live):
        if reader.sent < floor:
            reader.connection.close(codes.INSUFFICIENT_STATE)
    stream.move_over(floor)
