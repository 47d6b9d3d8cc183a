"""The position check: compares the streams of this process with the tables (P4, P8)."""

from __future__ import annotations

import asyncio

from ..database.lanes import CHECK
from ..metrics import REPAIRED
from ..streams.evidence import look
from .delivery.stream import LocalStream
from .local_streams import LocalStreams
from .loops import Loops
from .rights import Rights

#: Seconds to wait for the message that announces a new revision, before its user is checked.
GRACE = 0.2

#: Seconds after a publisher's request in which found publications do not count as lost by the
#: layer.
ASKED = 10.0

#: Seconds between a publisher's request and the check.
DELAY = 0.1


class PositionCheck:
    """Finds publications that the layer did not deliver, and histories that have gone back.

    Args:
        streams: the streams of this process.
        rights: notified of users whose private streams have a higher revision.
        loops: the background loops; the check is the one named "check".
    """

    def __init__(self, streams: LocalStreams, rights: Rights, loops: Loops) -> None:
        self._streams = streams
        self._rights = rights
        self._loops = loops
        self._loop = asyncio.get_running_loop()
        #: The event loop's time, in seconds, at which a publisher last requested a check.
        self._asked_at = -ASKED
        self._is_due = False

    def ask(self) -> None:
        """Schedule a check for a publisher that does not announce each publication.

        A publisher to very many streams requests a check for each part of them.
        """
        self._asked_at = self._loop.time()
        if not self._is_due:
            self._is_due = True
            self._loop.call_later(DELAY, self._hurry)

    async def run(self) -> None:
        """Compare all known streams with the tables; repair, reset or renew those that differ."""
        known = {
            stream.id: stream
            for stream in self._streams.by_name.values()
            if stream.is_known and not stream.is_suspect
        }
        if not known:
            return
        # Taken before reading: publications announced meanwhile may be newer than the result.
        seen = {stream_id: stream.seen() for stream_id, stream in known.items()}
        found = await CHECK.run(look, seen)
        behind: dict[LocalStream, int] = {}
        for stream_id, stream in known.items():
            if self._streams.by_name.get(stream.name) is not stream:  # left during the query
                continue
            top = found.tops.get(stream_id)
            if top is None:
                self._streams.gone(stream)
                continue
            if top.epoch != stream.epoch:
                self._streams.reset(stream)
                continue
            if stream_id in found.gone_back:
                self._streams.renewals.add(stream, seen[stream_id])
                continue
            if top.offset > stream.top and not stream.busy:
                behind[stream] = top.offset
            elif top.offset == stream.top and not stream.busy:
                stream.move_over(top.offset, top.at)
            if top.revision > stream.revision:
                self._loop.call_later(GRACE, self._suspect, stream, top.revision)
        self._bring_up(behind)

    def _hurry(self) -> None:
        self._is_due = False
        self._loops.hurry("check")

    def _suspect(self, stream: LocalStream, revision: int) -> None:
        """Check the user of this stream, unless a message has brought the revision meanwhile."""
        if revision > stream.revision and self._streams.by_name.get(stream.name) is stream:
            stream.revision = revision
            self._rights.suspect(stream.name)

    def _bring_up(self, behind: dict[LocalStream, int]) -> None:
        """Repair streams whose tops are ahead of what was fanned out."""
        if not behind:
            return
        was_asked = self._loop.time() - self._asked_at < ASKED
        for stream, top in behind.items():
            stream.heard = max(stream.heard, top)
            if not was_asked:
                REPAIRED.inc()
                # The message or the group membership was lost; the layer does not say which.
                stream.is_joined = False
        self._streams.repairs.start_many(behind)
