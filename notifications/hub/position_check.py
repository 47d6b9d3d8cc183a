"""The position check: streams as they are here, held against the tables (P4, P8)."""

from __future__ import annotations

import asyncio

from ..database.lanes import CHECK
from ..metrics import REPAIRED
from ..streams.evidence import look
from .delivery.stream import LocalStream
from .local_streams import LocalStreams
from .loops import Loops
from .rights import Rights

#: How long a revision may wait for the message that tells what it stands for; seconds.
GRACE = 0.2

#: So long after a publisher has asked for a check, what it finds is no loss of the layer; seconds.
ASKED = 10.0

#: From being asked for a position check to making it, in seconds.
DELAY = 0.1


class PositionCheck:
    """One query finds what the layer did not tell, and histories that have gone back.

    Args:
        streams: of this process.
        rights: told of users whose streams have another revision.
        loops: among which the check is called "check".
    """

    def __init__(self, streams: LocalStreams, rights: Rights, loops: Loops) -> None:
        self._streams = streams
        self._rights = rights
        self._loops = loops
        self._loop = asyncio.get_running_loop()
        #: When a publisher last asked for it, on the loop's clock.
        self._asked_at = -ASKED
        self._is_due = False

    def ask(self) -> None:
        """A publisher to very many has asked for it, instead of telling each publication.

        It may go on asking with each part of them.
        """
        self._asked_at = self._loop.time()
        if not self._is_due:
            self._is_due = True
            self._loop.call_later(DELAY, self._hurry)

    async def run(self) -> None:
        known = {
            stream.id: stream
            for stream in self._streams.by_name.values()
            if stream.is_known and not stream.is_suspect
        }
        if not known:
            return
        # Taken now: what is heard while this reads may be newer than what it finds.
        seen = {stream_id: stream.seen() for stream_id, stream in known.items()}
        found = await CHECK.run(look, seen)
        behind: dict[LocalStream, int] = {}
        for stream_id, stream in known.items():
            if self._streams.by_name.get(stream.name) is not stream:  # left while this was read
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
        """Look at the user of this stream, unless a message has told all there was to know."""
        if revision > stream.revision and self._streams.by_name.get(stream.name) is stream:
            stream.revision = revision
            self._rights.suspect(stream.name)

    def _bring_up(self, behind: dict[LocalStream, int]) -> None:
        """Repair streams whose tops lie ahead of what has been sent."""
        if not behind:
            return
        was_asked = self._loop.time() - self._asked_at < ASKED
        for stream, top in behind.items():
            stream.heard = max(stream.heard, top)
            if not was_asked:
                REPAIRED.inc()
                # Lost, or no longer a member: the layer does not tell which.
                stream.is_joined = False
        self._streams.repairs.start_many(behind)
