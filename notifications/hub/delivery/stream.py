"""A stream in one process: its readers here, and how far it has been fanned out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...metrics import WRITTEN
from ...protocol import messages
from ...protocol.codec import Codec, Encodings
from ...protocol.prepared import Prepared
from ...streams.encoding import Publication
from ...streams.evidence import Seen
from ...streams.history import Top
from ..sockets.connection import Reader


class Tip(NamedTuple):
    """An entry that was seen: its offset, and its time in microseconds (0 if unknown)."""

    offset: int = 0
    at: int = 0

    def contradicts(self, offset: int, at: int) -> bool:
        """Do these two entries belong to different histories?

        Within one history, a later entry has a higher offset, and an offset has only one time.

        Args:
            offset: offset of the other entry.
            at: when it was published, in microseconds; 0 if unknown, which contradicts nothing.
        """
        if not self.at or not at:
            return False
        return _order(offset, self.offset) != _order(at, self.at)


class LocalStream:
    """The local readers of one stream.

    A reader is *live* (in ``live``) while everything up to ``top`` has been written to it, or
    *behind* and served from history. ``heard`` is the highest offset that was announced or found,
    and ``tip`` the newest entry whose time is known, usually the one at ``top``.
    """

    __slots__ = (
        "_announced_by_epoch",
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
        "signature",
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
        #: Highest offset by epoch that was announced before the stream was known.
        self._announced_by_epoch: dict[str, int] = {}
        self.revision = 0
        #: The signature of its row, as long as nothing has changed here since the position check
        #: found the row equal; else "". See :mod:`notifications.streams.signatures`.
        self.signature = ""
        self.readers: set[Reader] = set()
        self.live: set[Reader] = set()
        self.is_joined = False
        self.joined_at = 0.0
        #: A repair or a fan-out in slices is in progress.
        self.busy = False
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
        """Can this announced offset be fanned out now, without reading history first?"""
        return self.is_known and not self.busy and offset == self.top + 1

    def add_live(self, reader: Reader) -> None:
        reader.is_live = True
        self.live.add(reader)

    def remove_live(self, reader: Reader) -> None:
        reader.is_live = False
        self.live.discard(reader)

    def fan_out(self, publication: Publication, at: int = 0) -> list[Reader]:
        """Write one publication to all live readers, encoded and framed once, without awaiting.

        Args:
            at: when it was published, in microseconds; 0 if unknown.

        Returns:
            The readers whose sockets were blocked. The publication was not written to them.
        """
        offset = publication.offset
        self.advance(offset, at)
        return write_to(self.live, offset, encodings(self.name, publication))

    def move_over(self, offset: int, at: int = 0) -> None:
        """Advance past offsets that are not sent, such as expired or withdrawn notifications.

        Args:
            at: when the entry at ``offset`` was published, in microseconds; 0 if unknown.
        """
        if offset > self.top:
            self.advance(offset, at)
            for reader in self.live:
                reader.sent = max(reader.sent, offset)
        elif offset == self.top and at:
            self.advance(offset, at)

    def advance(self, offset: int, at: int = 0) -> None:
        """Set ``top`` to ``offset``, and ``tip`` too if the time ``at`` is known."""
        self.top = offset
        self.signature = ""
        if at:
            self.tip = Tip(offset, at)


def encodings(name: str, publication: Publication) -> Encodings:
    """The push of a publication in each form."""
    return Encodings(lambda codec: encode(codec, name, publication))


def encode(codec: Codec, name: str, publication: Publication) -> Prepared:
    """Encode the push of a publication in one form."""
    if publication.details is None:
        return codec.encode_publication(name, publication.offset, publication.data)
    push = messages.Push(channel=name, pub=publication.message())
    return codec.encode(messages.Reply(push=push))


def write_to(readers: Iterable[Reader], offset: int, forms: Encodings) -> list[Reader]:
    """Write a publication to the live readers without it; see :meth:`LocalStream.fan_out`.

    Returns:
        The readers whose sockets were blocked.
    """
    blocked: list[Reader] = []
    count = 0
    for reader in readers:
        if offset <= reader.sent or not reader.is_live:
            continue
        if reader.offer(forms[reader.codec]):
            reader.sent = offset
            count += 1
        else:
            blocked.append(reader)
    WRITTEN.inc(count)
    return blocked


def _order(one: int, other: int) -> int:
    return (one > other) - (one < other)
