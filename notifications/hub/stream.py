"""A stream as one process sees it: who reads it here, and how far it has been fanned out."""

from __future__ import annotations

from collections.abc import Iterable

from ..metrics import WRITTEN
from ..protocol.frames import Prepared
from ..protocol.json import encode_publication
from .connection import Reader


class LocalStream:
    """The local readers of one stream.

    A reader is *live* (in ``live``) while everything up to ``top`` has been written to it, or
    *behind* and served from history. ``heard`` is the highest offset anybody has spoken of.
    """

    __slots__ = (
        "busy",
        "epoch",
        "heard",
        "id",
        "is_joined",
        "joined_at",
        "live",
        "name",
        "pins",
        "readers",
        "revision",
        "top",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = 0
        self.epoch = ""
        self.top = 0
        self.heard = 0
        self.revision = 0
        self.readers: set[Reader] = set()
        self.live: set[Reader] = set()
        self.is_joined = False
        self.joined_at = 0.0
        #: A repair or a fan-out in slices is under way.
        self.busy = False
        #: Connections that are about to become readers.
        self.pins = 0

    @property
    def is_known(self) -> bool:
        """Has its row been read since the group was joined?"""
        return self.id != 0

    @property
    def is_idle(self) -> bool:
        return not self.readers and not self.pins

    def learn(self, stream_id: int, epoch: str, top: int, revision: int) -> None:
        """Start from what the database says; what was heard meanwhile lies behind it."""
        if self.is_known:
            return
        self.id = stream_id
        self.epoch = epoch
        self.top = top
        self.revision = revision

    def forget(self) -> None:
        """Its row was deleted, while nobody here read it: :meth:`learn` starts from another one."""
        self.id = self.top = self.heard = 0
        self.epoch = ""

    def is_next(self, offset: int) -> bool:
        """Can ``offset`` be fanned out as it comes? Else the gap is read from history."""
        return self.is_known and not self.busy and offset == self.top + 1

    def add_live(self, reader: Reader) -> None:
        reader.is_live = True
        self.live.add(reader)

    def remove_live(self, reader: Reader) -> None:
        reader.is_live = False
        self.live.discard(reader)

    def fan_out(self, offset: int, data: bytes) -> list[Reader]:
        """Write one publication to all live readers: encoded and framed once, nothing awaited.

        Returns:
            The readers whose sockets were blocked. They have not got it.
        """
        self.top = offset
        message = Prepared(encode_publication(self.name, offset, data))
        return write_to(self.live, offset, message)

    def move_over(self, offset: int) -> None:
        """Take the position past offsets that are not sent: expired, withdrawn, pruned."""
        if offset <= self.top:
            return
        self.top = offset
        for reader in self.live:
            reader.sent = max(reader.sent, offset)


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
