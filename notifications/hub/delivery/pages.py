"""Pages of history for readers that are behind; those that many need are read once."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from ...database.lanes import DELIVERY
from ...protocol.codec import Encodings
from ...streams.evidence import Seen, read_on
from ...streams.history import Page
from ...streams.names import is_private
from ..sockets.connection import Stream
from .encoding import encodings

#: Publications read at once: a few more than a drained socket accepts.
PAGE_SIZE = 100

#: Seconds for which a page is kept for others, pages that are kept, and bytes of a page.
KEPT_SECONDS = 1.0
MAX_KEPT = 64
MAX_KEPT_SIZE = 256 * 1024


class Wanted(NamedTuple):
    """What a page depends on: the stream by primary key, a position, and what was seen before."""

    stream_id: int
    after: int
    seen: Seen


class EncodedPage(NamedTuple):
    """A page, and the push of each of its publications in the forms that readers speak."""

    page: Page
    pushes: list[Encodings]


class Pages:
    """Reads pages. Those of shared streams are kept for a moment.

    In a storm, thousands of clients that have all missed some hundred publications need the same
    pages, one after another. (Measured: reading one takes 4 ms.) A kept page is what a reader gets
    that was read at the same moment and then had to wait: whatever the process learns of the
    stream meanwhile is in ``seen``, so that nobody gets a page from before that.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        #: Pages that are kept, and those that are being read for several readers.
        self.kept: dict[Wanted, asyncio.Task[EncodedPage]] = {}

    async def read(self, stream: Stream, after: int, seen: Seen) -> EncodedPage:
        """Return the page of a stream after an offset.

        Args:
            stream: the stream.
            after: the offset.
            seen: what the process knows of the stream now.

        Raises:
            Exception: see :func:`notifications.streams.evidence.read_on`.
        """
        wanted = Wanted(stream.id, after, seen)
        if is_private(stream.name):
            return await _read(stream.name, wanted)
        task = self.kept.get(wanted)
        if task is None:
            if len(self.kept) >= MAX_KEPT:
                return await _read(stream.name, wanted)
            task = self.kept[wanted] = self._loop.create_task(_read(stream.name, wanted))
            task.add_done_callback(lambda done: self._keep(wanted, done))
        return await asyncio.shield(task)  # others may wait for it too

    def _keep(self, wanted: Wanted, done: asyncio.Task[EncodedPage]) -> None:
        """Keep a page for others, unless the reading of it has failed or should be repeated."""
        has_failed = done.cancelled() or done.exception() is not None
        if has_failed or not _is_worth_keeping(done.result().page):
            del self.kept[wanted]
        else:
            self._loop.call_later(KEPT_SECONDS, self.kept.pop, wanted, None)


async def _read(name: str, wanted: Wanted) -> EncodedPage:
    page = await DELIVERY.run(read_on, wanted.stream_id, wanted.after, PAGE_SIZE, wanted.seen)
    return EncodedPage(page, [encodings(name, publication) for publication in page.publications])


def _is_worth_keeping(page: Page) -> bool:
    """Is it neither too large nor empty, as on a replica that lacks what was announced?"""
    size = sum(publication.size for publication in page.publications)
    return 0 < size <= MAX_KEPT_SIZE
