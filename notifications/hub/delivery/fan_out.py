"""Writes consecutive publications of a stream to all its live readers, in slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ...metrics import WRITTEN
from ...protocol.codec import Codec
from ...streams.encoding import Publication
from ..sockets.connection import Reader
from .encoding import encodings
from .stream import LocalStream

#: Bytes of content that are joined to one write: less than a send buffer has room for.
JOINED = 16 * 1024


class FanOut:
    """Publications on their way to the live readers of a stream. There is one at a time.

    Readers that are in step, and in whose transports nothing waits, become *direct*: a frame is
    sent to all their descriptors in one loop, and the publications are joined. To the others each
    publication is offered, if they do not have it yet.

    Args:
        stream: the stream, whose ``top`` is advanced at once.
        publications: the next publications in order, at least one.
        at: when the last one was published, in microseconds; 0 if unknown.
        fall_behind: called with readers whose sockets are blocked.
    """

    def __init__(
        self,
        stream: LocalStream,
        publications: Sequence[Publication],
        at: int,
        fall_behind: Callable[[Reader], None],
    ) -> None:
        self._stream = stream
        self._messages = [(each.offset, encodings(stream.name, each)) for each in publications]
        self._joined: dict[Codec, bytes] = {}
        self._fall_behind = fall_behind
        self._may_be_direct = not stream.has_few_live
        stream.begin_fan_out(publications[-1].offset, at)

    def write_some(self, most: int) -> bool:
        """Write to so many readers, at most, without awaiting.

        Returns:
            Whether there are more.
        """
        stream, left = self._stream, most
        written = 0
        while stream.due and left > 0:
            written += self._write_apart(stream.due.pop())
            left -= len(self._messages)
        for codec, direct in stream.direct.items():
            if left > 0 and direct.done < len(direct):
                count = direct.send(self._frame(codec), left)
                written += count * len(self._messages)
                left -= count
        WRITTEN.inc(written)
        return bool(stream.due) or any(
            direct.done < len(direct) for direct in stream.direct.values()
        )

    def end(self) -> None:
        """Have all that it has not reached read from history, because it has failed or stops."""
        stream = self._stream
        left, stream.due = stream.due, []
        for direct in stream.direct.values():
            left += direct.undone()
        for reader in left:
            if reader.is_live and reader.sent < stream.top:
                self._fall_behind(reader)

    def _write_apart(self, reader: Reader) -> int:
        """Offer the publications to a reader that is not direct, or make it direct instead."""
        if not reader.is_live or reader.direct is not None:
            return 0
        stream = self._stream
        if self._may_be_direct and reader.sent == stream.before and stream.join_direct(reader):
            return 0
        count = 0
        for offset, forms in self._messages:
            if offset <= reader.sent:
                continue
            if not reader.offer(forms[reader.codec]):
                self._fall_behind(reader)
                return count
            reader.sent = offset
            count += 1
        return count

    def _frame(self, codec: Codec) -> bytes:
        """The frames of all publications in this form."""
        if codec not in self._joined:
            self._joined[codec] = b"".join(forms[codec].frame for _, forms in self._messages)
        return self._joined[codec]


def joinable(publications: Iterable[Publication]) -> Iterator[list[Publication]]:
    """Group publications by :data:`JOINED`, each group to be written at once."""
    group: list[Publication] = []
    size = 0
    for publication in publications:
        if group and size + publication.size > JOINED:
            yield group
            group, size = [], 0
        group.append(publication)
        size += publication.size
    if group:
        yield group
