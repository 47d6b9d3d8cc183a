"""Readers whose frames are sent straight to the descriptors of their sockets."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Protocol

from ..sockets.connection import Reader


class Sent(Protocol):
    """The part of :class:`~notifications.hub.delivery.stream.LocalStream` that is needed here."""

    top: int
    before: int


class DirectReaders:
    """Live readers of one stream and one form, beside the descriptors of their sockets.

    Their positions are not kept one by one. The first ``done`` readers have everything up to the
    stream's ``top``, and the others everything up to ``before``: they are what is left of the
    fan-out in progress. Between fan-outs, all are done.

    Args:
        stream: the stream.
        send_to_all: see :class:`~notifications.hub.sockets.writing.FrameWriter`.
    """

    __slots__ = ("_send_to_all", "_stream", "descriptors", "done", "readers")

    def __init__(self, stream: Sent, send_to_all: Callable[[array[int], bytes], list[int]]) -> None:
        self._stream = stream
        self._send_to_all = send_to_all
        self.descriptors = array("i")
        self.readers: list[Reader] = []
        self.done = 0

    def __len__(self) -> int:
        return len(self.readers)

    def sent_by(self, index: int) -> int:
        """Offset up to which the reader at this place has everything."""
        return self._stream.top if index < self.done else self._stream.before

    def add(self, reader: Reader, descriptor: int) -> None:
        """Add a reader to which the fan-out in progress has still to be sent."""
        reader.direct, reader.index = self, len(self.readers)
        self.readers.append(reader)
        self.descriptors.append(descriptor)

    def remove(self, reader: Reader) -> bool:
        """Remove a reader, which keeps its position by itself from now on.

        The last of its part takes its place, so that both parts stay whole.

        Returns:
            Whether it was done.
        """
        place = reader.index
        sent, is_done = self.sent_by(place), place < self.done
        reader.direct, reader.sent = None, sent
        if is_done:
            self.done -= 1
            self._move(self.done, place)
            place = self.done
        self._move(len(self.readers) - 1, place)
        del self.readers[-1], self.descriptors[-1]
        return is_done

    def send(self, frame: bytes, most: int) -> int:
        """Send a frame to the readers that are not done, at most so many.

        What a socket does not take is left to its transport, and the reader is removed.

        Returns:
            The number of readers.
        """
        start, end = self.done, self.done + most
        readers = self.readers[start:end]
        taken = self._send_to_all(self.descriptors[start:end], frame)
        self.done = start + len(readers)
        size = len(frame)
        if taken.count(size) != len(taken):
            for reader, count in zip(readers, taken, strict=True):
                if count != size:
                    writer = reader.connection.socket.writer
                    assert writer is not None
                    writer.take_rest(frame[max(count, 0) :])
        return len(readers)

    def undone(self) -> list[Reader]:
        """The readers to which the fan-out in progress has not been sent."""
        return self.readers[self.done :]

    def _move(self, source: int, place: int) -> None:
        if source == place:
            return
        reader = self.readers[place] = self.readers[source]
        reader.index = place
        self.descriptors[place] = self.descriptors[source]
