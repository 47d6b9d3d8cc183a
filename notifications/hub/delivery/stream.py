"""A stream as one process sees it: who reads it here, and how far it has been fanned out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...metrics import WRITTEN
from ...protocol.json import encode_publication
from ...protocol.prepared import Prepared
from ...streams.evidence import Seen
from ..sockets.connection import Reader


class Tip(NamedTuple):
    """An entry that was seen: its offset, and when it was published (0 for none)."""

    offset: int = 0
    at: int = 0

    def contradicts(self, offset: int, at: int) -> bool:
        """Can these two entries not be of one history?

        In one history the later entry has the higher offset, and the same offset the same time.
        """
        if not self.at or not at:
            return False
        return _order(offset, self.offset) != _order(at, self.at)


class LocalStream:
    """The local readers of one stream.

    A reader is *live* (in ``live``) while everything up to ``top`` has been written to it, or
    *behind* and served from history. ``heard`` is the highest offset anybody has spoken of, and
    ``tip`` the newest entry that is known by its time, mostly that at ``top``.
    """

    __slots__ = (
        "_rumours",
        "busy",
        "epoch",
        "heard",
        "id",
        "is_joined",
        "is_suspect",
        "joined_at",
        "live",
        "name",
        "pins",
        "readers",
        "revision",
        "tip",
        "top",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = 0
        self.epoch = ""
        self.top = 0
        self.heard = 0
        self.tip = Tip()
        #: What is announced before the stream is known, by epoch.
        self._rumours: dict[str, int] = {}
        self.revision = 0
        self.readers: set[Reader] = set()
        self.live: set[Reader] = set()
        self.is_joined = False
        self.joined_at = 0.0
        #: A repair or a fan-out in slices is under way.
        self.busy = False
        #: Its history has gone back: nothing of it is sent any more, until it has a new epoch.
        self.is_suspect = False
        #: Connections that are about to become readers.
        self.pins = 0

    @property
    def is_known(self) -> bool:
        """Has its row been read since the group was joined?"""
        return self.id != 0

    @property
    def is_idle(self) -> bool:
        return not self.readers and not self.pins

    def unpin(self) -> None:
        """One connection less is about to become a reader."""
        self.pins -= 1

    def learn(self, stream_id: int, epoch: str, top: int, revision: int, at: int = 0) -> None:
        """Start from what the database says; what was heard meanwhile lies behind it.

        What was heard of another epoch counts for nothing.

        Args:
            at: when the entry at ``top`` was published, in microseconds; 0 if unknown.
        """
        if self.is_known:
            return
        self.heard = self._rumours.get(epoch, 0)
        self._rumours.clear()
        self.tip = Tip(top, at)
        self.id = stream_id
        self.epoch = epoch
        self.top = top
        self.revision = revision

    def note(self, epoch: str, offset: int) -> None:
        """Somebody has spoken of this offset."""
        self.heard = max(self.heard, offset)
        if not self.is_known:
            self._rumours[epoch] = max(self._rumours.get(epoch, 0), offset)

    def seen(self) -> Seen:
        """What is known now, to be held against what is read afterwards."""
        return Seen(self.epoch, max(self.top, self.heard), self.revision, *self.tip)

    def is_next(self, offset: int) -> bool:
        """Can ``offset`` be fanned out as it comes? Else the gap is read from history."""
        return self.is_known and not self.busy and offset == self.top + 1

    def add_live(self, reader: Reader) -> None:
        reader.is_live = True
        self.live.add(reader)

    def remove_live(self, reader: Reader) -> None:
        reader.is_live = False
        self.live.discard(reader)

    def fan_out(self, offset: int, data: bytes, at: int = 0) -> list[Reader]:
        """Write one publication to all live readers: encoded and framed once, nothing awaited.

        Args:
            at: when it was published, in microseconds; 0 if unknown.

        Returns:
            The readers whose sockets were blocked. They have not got it.
        """
        self.advance(offset, at)
        message = Prepared(encode_publication(self.name, offset, data))
        return write_to(self.live, offset, message)

    def move_over(self, offset: int, at: int = 0) -> None:
        """Take the position past offsets that are not sent: expired, withdrawn.

        Args:
            at: when the entry at ``offset`` was published, in microseconds; 0 if unknown.
        """
        if offset > self.top:
            self.advance(offset, at)
            for reader in self.live:
                reader.sent = max(reader.sent, offset)
        elif offset == self.top and at:
            self.tip = Tip(offset, at)

    def advance(self, offset: int, at: int = 0) -> None:
        """Everything up to ``offset`` is being written."""
        self.top = offset
        if at:
            self.tip = Tip(offset, at)


def write_to(readers: Iterable[Reader], offset: int, message: Prepared) -> list[Reader]:
    """Write a publication to those readers that are live and have not got it; see ``fan_out``."""
    blocked: list[Reader] = []
    count = 0
    for reader in readers:
        if offset <= reader.sent or not reader.is_live:
            continue
        if reader.offer(message):
            reader.sent = offset
            count += 1
        else:
            blocked.append(reader)
    WRITTEN.inc(count)
    return blocked


def _order(one: int, other: int) -> int:
    return (one > other) - (one < other)
