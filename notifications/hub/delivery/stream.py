"""A stream in one process: its readers here, and how far it has been fanned out."""

from __future__ import annotations

from typing import NamedTuple

from ...protocol.codec import Codec
from ...streams.encoding import Publication
from ...streams.evidence import Seen
from ...streams.history import Top
from ...streams.signatures import expected
from ..sockets.connection import Reader
from .direct import DirectReaders
from .tip import Tip

#: Readers of a stream that are written to at once. For so few, nothing is gained by slices, and
#: none of them is direct: that costs more than it saves.
FEW = 8

#: Publications that may wait for a fan-out in slices. Those after them are read from history.
MAX_WAITING = 32


class Announced(NamedTuple):
    """A publication that was announced, and when it was published, in microseconds."""

    publication: Publication
    at: int


class LocalStream:
    """The local readers of one stream.

    A reader is *live* while everything up to ``top`` has been written to it, or *behind* and served
    from history. Live readers are *direct* (see :class:`~.direct.DirectReaders`), or *apart*, each
    with a position of its own. ``heard`` is the highest offset that was announced or found,
    and ``tip`` the newest entry whose time is known, usually the one at ``top``.
    """

    __slots__ = (
        "_announced_by_epoch",
        "apart",
        "before",
        "busy",
        "direct",
        "due",
        "epoch",
        "heard",
        "id",
        "is_joined",
        "is_suspect",
        "joined_at",
        "name",
        "pins",
        "readers",
        "revision",
        "signature",
        "tip",
        "top",
        "waiting",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = 0
        self.epoch = ""
        self.top = 0
        self.heard = 0
        self.tip = Tip()
        #: Highest offset by epoch that was announced before the stream was known.
        self._announced_by_epoch: dict[str, int] = {}
        self.revision = 0
        #: The signature of a row that is as the stream is here; "" if that was not found by the
        #: position check, nor told by a message. See :mod:`notifications.streams.signatures`.
        self.signature = ""
        self.readers: set[Reader] = set()
        self.apart: set[Reader] = set()
        self.direct: dict[Codec, DirectReaders] = {}
        #: Of the fan-out in progress: ``top`` before it, and readers apart that it has not reached.
        self.before = 0
        self.due: list[Reader] = []
        self.is_joined = False
        self.joined_at = 0.0
        #: A repair or a fan-out in slices is in progress.
        self.busy = False
        #: The next publications, which a fan-out in slices will take; None if there is none that
        #: would.
        self.waiting: list[Announced] | None = None
        #: Its history seems to have gone back: nothing is sent until that is settled.
        self.is_suspect = False
        #: Connections that are about to become readers, or hold it as their private stream.
        self.pins = 0

    @property
    def is_known(self) -> bool:
        """Has its row been read since the group was joined?"""
        return self.id != 0

    @property
    def is_idle(self) -> bool:
        """Is the stream without readers and pins, so that its group can be left?"""
        return not self.readers and not self.pins

    def unpin(self) -> None:
        """Give back a pin of :meth:`~notifications.hub.local_streams.LocalStreams.join`."""
        self.pins -= 1

    def learn(self, stream_id: int, epoch: str, top: int, revision: int, at: int = 0) -> None:
        """Initialize the stream from its row; do nothing if it is known already.

        Of the offsets that were announced before, only those in the same epoch count.

        Args:
            stream_id: primary key of the row.
            epoch: epoch of the stream.
            top: its highest offset.
            revision: its revision.
            at: when the entry at ``top`` was published, in microseconds; 0 if unknown.
        """
        if self.is_known:
            return
        self.heard = self._announced_by_epoch.get(epoch, 0)
        self._announced_by_epoch.clear()
        self.tip = Tip(top, at)
        self.id = stream_id
        self.epoch = epoch
        self.top = top
        self.revision = revision
        self.signature = ""

    def note_announced(self, epoch: str, offset: int) -> None:
        """Record that this offset was announced."""
        self.hear(offset)
        if not self.is_known:
            self._announced_by_epoch[epoch] = max(self._announced_by_epoch.get(epoch, 0), offset)

    def hear(self, offset: int) -> None:
        """Record that the stream reaches up to this offset at least."""
        self.heard = max(self.heard, offset)
        self.signature = ""

    def raise_revision(self, revision: int) -> None:
        """Record that all that this revision stands for is known."""
        self.revision = revision
        self.signature = ""

    def settle(self, found: Top) -> None:
        """Keep the signature of the row, if all that was found there is what is known here.

        Args:
            found: the row, read at any time.
        """
        same = Seen(found.epoch, found.offset, found.revision, found.offset, found.at)
        is_equal = not self.busy and self.top == found.offset and self.seen() == same
        self.signature = found.signature if is_equal else ""

    def seen(self) -> Seen:
        """Return the current evidence, for comparison with the tables that are read afterwards."""
        return Seen(self.epoch, max(self.top, self.heard), self.revision, *self.tip)

    def is_next(self, offset: int) -> bool:
        """Can this announced offset be fanned out, without reading history first?"""
        if not self.is_known:
            return False
        if self.waiting is None:
            return not self.busy and offset == self.top + 1
        last = self.waiting[-1].publication.offset if self.waiting else self.top
        return offset == last + 1 and len(self.waiting) < MAX_WAITING

    def simply_continues(self, epoch: str, offset: int, at: int, previous: int) -> bool:
        """Is an announced entry the next one of this history, for a few readers?

        Args:
            epoch: epoch in which ``offset`` was given.
            offset: its offset.
            at: when it was published, in microseconds.
            previous: when the entry before it was published, likewise; 0 if there is none.
        """
        return (
            self.top == offset - 1
            and self.tip == (offset - 1, previous)
            and at > previous
            and self.epoch == epoch
            and self.id != 0
            and not (self.busy or self.is_suspect or self.direct)
            and len(self.apart) <= FEW
        )

    def go_on(self, offset: int, at: int) -> None:
        """Advance to an entry of which :meth:`simply_continues` is true.

        Unless more was heard of, this is how the row is by now, which need not be read.
        """
        self.top, self.tip = offset, Tip(offset, at)
        if self.heard > offset:
            self.signature = ""
            return
        self.heard = offset
        self.signature = expected(self.id, self.epoch, offset, self.revision, at)

    @property
    def live(self) -> set[Reader]:
        """All live readers."""
        return self.apart.union(*(each.readers for each in self.direct.values()))

    @property
    def has_few_live(self) -> bool:
        """Are there so few live readers that they are written to at once?"""
        return len(self.apart) + sum(map(len, self.direct.values())) <= FEW

    def add_live(self, reader: Reader) -> None:
        reader.is_live = True
        self.apart.add(reader)

    def remove_live(self, reader: Reader) -> None:
        reader.is_live = False
        self.apart.discard(reader)
        if reader.direct is not None:
            reader.direct.remove(reader)

    def join_direct(self, reader: Reader) -> bool:
        """Make a reader direct, if its socket allows it.

        Args:
            reader: a live reader which has everything up to ``before``.
        """
        writer = reader.connection.socket.writer
        if writer is None:
            return False
        descriptor = writer.direct(reader.connection.leave_direct)
        if descriptor < 0:
            return False
        if reader.codec not in self.direct:
            self.direct[reader.codec] = DirectReaders(self, writer.send_to_all)
        self.apart.remove(reader)
        self.direct[reader.codec].add(reader, descriptor)
        return True

    def leave_direct(self, reader: Reader) -> None:
        """Put a direct reader apart."""
        assert reader.direct is not None
        if not reader.direct.remove(reader):
            self.due.append(reader)
        self.apart.add(reader)

    def begin_fan_out(self, offset: int, at: int) -> None:
        """Advance to ``offset``, up to which all live readers are going to be written to.

        Args:
            at: when the entry at ``offset`` was published, in microseconds; 0 if unknown.
        """
        self.before = self.top
        self.advance(offset, at)
        self.due = list(self.apart)
        for direct in self.direct.values():
            direct.done = 0

    def move_over(self, offset: int, at: int = 0) -> None:
        """Advance past offsets that are not sent, such as expired or withdrawn notifications.

        Args:
            at: when the entry at ``offset`` was published, in microseconds; 0 if unknown.
        """
        if offset > self.top:
            self.advance(offset, at)
            for reader in self.apart:
                reader.sent = max(reader.sent, offset)
        elif offset == self.top and at:
            self.advance(offset, at)

    def advance(self, offset: int, at: int = 0) -> None:
        """Set ``top`` to ``offset``, and ``tip`` too if the time ``at`` is known."""
        self.top = offset
        self.signature = ""
        if at:
            self.tip = Tip(offset, at)
