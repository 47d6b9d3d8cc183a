"""The position check: compares the streams of this process with the tables (P4, P8)."""

from __future__ import annotations

import asyncio

from ..conf import app_settings
from ..database.lanes import CHECK
from ..database.versions import Version, read_version
from ..metrics import REPAIRED
from ..models import database_alias
from ..protocol import codes
from ..streams.evidence import look
from ..streams.names import is_channel
from ..streams.signatures import changed
from .delivery.stream import LocalStream
from .local_streams import LocalStreams
from .loops import Loops
from .rights import Rights

#: Seconds to wait for the message that announces a new revision or publication, before the user of
#: the revision is checked, or the publication is read.
GRACE = 0.2

#: Seconds after a publisher's request in which found publications do not count as lost by the
#: layer.
REQUEST_WINDOW = 10.0

#: Seconds between a publisher's request and the check.
REQUEST_DELAY = 0.1


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
        self._requested_at = -REQUEST_WINDOW
        self._is_due = False
        #: How often signatures were told by messages, and not found in the database.
        self._told = 0
        #: The version of the database with which all signatures agree, and which of them were told
        #: until then; None if that is not known.
        self._agreed: tuple[Version, int] | None = None

    def interval(self) -> float:
        """Seconds between checks: fewer while the layer is down and announces nothing (P4)."""
        usual = app_settings.check_interval
        is_up = self._streams.groups.is_up
        return usual if is_up else min(usual, app_settings.CHECK_INTERVAL_DOWN)

    def request(self) -> None:
        """Schedule a check for a publisher that does not announce each publication.

        A publisher to very many streams requests a check for each part of them.
        """
        self._requested_at = self._loop.time()
        if not self._is_due:
            self._is_due = True
            self._loop.call_later(REQUEST_DELAY, self._wake_check)

    def compare_next(self) -> None:
        """Have the next check compare all signatures, because messages are about to tell some.

        A late message may tell one that is old by then.
        """
        self._told += 1

    async def run(self) -> None:
        """Compare all known streams with the tables; repair, reset or renew those that differ.

        Where neither a stream nor its row has changed, the database alone compares them. While
        nothing at all is written to an SQLite database, not even that is needed.
        """
        known, has_waited = await self._unsettled()
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
                self._row_deleted(stream)
                continue
            if top.epoch != stream.epoch:
                self._streams.reset(stream)
                continue
            if stream_id in found.gone_back:
                self._streams.renewals.add(stream, seen[stream_id])
                continue
            if top.offset > stream.top and not stream.busy:
                stream.hear(top.offset)
                behind[stream] = top.offset
            elif top.offset == stream.top and not stream.busy:
                stream.move_over(top.offset, top.at)
            if top.revision > stream.revision:
                self._loop.call_later(GRACE, self._suspect, stream, top.revision)
            stream.settle(top)
        await self._repair(behind, has_waited=has_waited)

    async def _unsettled(self) -> tuple[dict[int, LocalStream], bool]:
        """The known streams by id, without those that are certainly as their rows are.

        And whether this has waited for messages.
        """
        has_waited = False
        told = self._told
        version = await CHECK.run(read_version, database_alias())
        if version is None or (version, told) != self._agreed:
            has_waited = await self._unsettle_changed()
        self._agreed = None if version is None else (version, told)
        known = {
            stream.id: stream
            for stream in self._streams.by_name.values()
            if not stream.signature and stream.is_known and not stream.is_suspect
        }
        return known, has_waited

    async def _unsettle_changed(self) -> bool:
        """Drop the signatures of streams whose rows have other ones by now.

        Returns:
            Whether this has waited for messages that tell these.
        """
        streams = {
            stream.signature: stream
            for stream in self._streams.by_name.values()
            if stream.signature
        }
        if not streams:
            return False
        differing = await CHECK.run(changed, streams)
        waits = bool(differing) and self._expects_messages
        if waits:
            await asyncio.sleep(GRACE)
        for signature, stream in streams.items():
            if stream.id in differing and stream.signature == signature:
                stream.signature = ""
        return waits

    @property
    def _was_requested(self) -> bool:
        """Has a publisher requested a check lately?"""
        return self._loop.time() - self._requested_at < REQUEST_WINDOW

    @property
    def _expects_messages(self) -> bool:
        """May what is found just be announced, perhaps for thousands of streams?"""
        return self._streams.groups.is_up and not self._was_requested

    def _row_deleted(self, stream: LocalStream) -> None:
        """Handle the deletion of a stream's row, as of an unused channel that was pruned."""
        if not is_channel(stream.name):
            self._streams.row_deleted(stream)
            return
        del self._streams.by_name[stream.name]
        for reader in list(stream.readers):
            self._rights.subscriptions.unsubscribe(reader, codes.SUBSCRIPTION_LOST)

    def _wake_check(self) -> None:
        self._is_due = False
        self._loops.wake("check")

    def _suspect(self, stream: LocalStream, revision: int) -> None:
        """Check the user of this stream, unless a message has brought the revision meanwhile."""
        if revision > stream.revision and self._streams.by_name.get(stream.name) is stream:
            stream.raise_revision(revision)
            self._rights.suspect(stream.name)

    async def _repair(self, behind: dict[LocalStream, int], *, has_waited: bool) -> None:
        """Repair streams whose tops are ahead of what was fanned out.

        Args:
            behind: the tops that were found.
            has_waited: whether messages about them would have arrived by now.
        """
        if behind and not has_waited and self._expects_messages:
            await asyncio.sleep(GRACE)
        left = {stream: top for stream, top in behind.items() if self._is_behind(stream, top)}
        if not self._was_requested:
            for stream in left:
                REPAIRED.inc()
                # The message or the group membership was lost; the layer does not say which.
                self._streams.groups.rejoin(stream)
        if left:
            self._streams.repairs.start_many(left)

    def _is_behind(self, stream: LocalStream, top: int) -> bool:
        """Return whether a stream that was found behind still is, and nothing repairs it."""
        is_read = self._streams.by_name.get(stream.name) is stream
        return is_read and top > stream.top and not (stream.busy or stream.is_suspect)
