"""A stream as one process sees it: who reads it here, and how far it has been fanned out."""

from __future__ import annotations

from collections.abc import Callable

from ..metrics import WRITTEN
from ..protocol.json import encode_publication
from .connection import Reader


class LocalStream:
    """The local readers of one stream.

    A reader is *live* (in ``live``) while everything up to ``top`` has been written to it, or
    *behind* and served from history. ``heard`` is the highest offset anybody has spoken of.
    """

    __slots__ = (
        "epoch",
        "heard",
        "id",
        "is_joined",
        "joined_at",
        "live",
        "name",
        "pins",
        "readers",
        "repairing",
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
        self.repairing = False
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

    def is_next(self, offset: int) -> bool:
        """Can ``offset`` be fanned out as it comes? Else the gap is read from history."""
        return self.is_known and not self.repairing and offset == self.top + 1

    def fan_out(self, offset: int, data: bytes, fall_behind: Callable[[Reader], None]) -> None:
        """Write one publication to all live readers: encoded once, nothing awaited.

        Args:
            fall_behind: called with each reader whose socket takes nothing more.
        """
        frame = encode_publication(self.name, offset, data)
        self.top = offset
        count = 0
        blocked: list[Reader] = []
        for reader in self.live:
            if offset <= reader.sent:
                continue
            connection = reader.connection
            if connection.is_blocked:
                blocked.append(reader)
                continue
            reader.sent = offset
            connection.write(frame)
            count += 1
        WRITTEN.inc(count)
        for reader in blocked:
            fall_behind(reader)

    def move_over(self, offset: int) -> None:
        """Take the position past offsets that are not sent: expired, withdrawn, pruned."""
        if offset <= self.top:
            return
        self.top = offset
        for reader in self.live:
            reader.sent = max(reader.sent, offset)
