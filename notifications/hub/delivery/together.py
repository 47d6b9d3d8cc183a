"""Delivers one notification that thousands of streams have got at once, as one ``notify()`` does.

Each stream is treated as if a message of its own had announced it, with the same checks. But where
it simply goes on, as nearly always, nothing is built for it except the frame of its readers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from ...metrics import WRITTEN
from ...protocol.codec import Codec
from ...protocol.prepared import Prepared
from ...streams.numbered import unpack, with_id
from ..loops import Loops
from ..sockets.connection import Reader
from .stream import LocalStream

#: Writes to sockets, and streams, until the event loop can do other work: about 10 ms of CPU.
SLICE = 1000

#: Entries for streams of this process that may wait to be written. Where there would be more, the
#: position check delivers them.
MAX_WAITING = 50_000

NAME = "delivering to many streams"

#: Takes what is announced of one stream: its name, epoch, offset and content, and two times. See
#: :meth:`~notifications.hub.layer_messages.LayerMessages.handle_publication`.
Hear = Callable[[str, str, int, bytes, int, int], None]


class Check(Protocol):
    """The part of :class:`~notifications.hub.position_check.PositionCheck` that is needed here."""

    def request(self) -> None: ...
    def compare_next(self) -> None: ...


class _Message(NamedTuple):
    """What is left of a message.

    Args:
        content: the encoded content of the notification.
        has_id: whether each row's id is to be put into it.
        entries: the streams that are read here, see :func:`notifications.streams.numbered.unpack`.
    """

    content: bytes
    has_id: bool
    entries: deque[tuple[str, str, int, int, int, int]]


class Together:
    """Takes messages about many streams, and works them off in slices.

    Args:
        streams: the streams of this process, by name.
        hear: called for each stream that does not simply go on: it decides what to do.
        fall_behind: called with readers whose sockets are blocked.
        check: is told what was announced, and requested where something is left out.
        loops: reports failures.
    """

    def __init__(
        self,
        streams: Mapping[str, LocalStream],
        hear: Hear,
        fall_behind: Callable[[Reader], None],
        check: Check,
        loops: Loops,
    ) -> None:
        self._streams = streams
        self._hear = hear
        self._fall_behind = fall_behind
        self._check = check
        self._loops = loops
        self._waiting: deque[_Message] = deque()
        self._task: asyncio.Task[None] | None = None

    def receive(self, content: bytes, packed: bytes, *, has_id: bool) -> None:
        """Take a message; of the streams that nobody reads here, nothing is kept.

        Args:
            content: the encoded content of the notification.
            packed: its streams and offsets, see :func:`notifications.streams.numbered.pack`.
            has_id: whether each row's id is to be put into the content.

        Raises:
            msgspec.MsgspecError: ``packed`` is malformed, as from a worker of another version.
        """
        streams = self._streams
        entries = deque(entry for entry in unpack(packed) if entry[0] in streams)
        if not entries:
            return
        if len(entries) + sum(len(each.entries) for each in self._waiting) > MAX_WAITING:
            self._check.request()
            return
        self._waiting.append(_Message(content, has_id, entries))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._waiting:
            self._deliver_some(self._waiting[0])
            if not self._waiting[0].entries:
                self._waiting.popleft()
            await asyncio.sleep(0)

    def _deliver_some(self, message: _Message) -> None:
        streams, (content, has_id, entries) = self._streams, message
        self._check.compare_next()  # with the rows, which must be as the streams are after this
        left, written = SLICE, 0
        while entries and left > 0:
            name, epoch, offset, pk, at, previous = entries.popleft()
            left -= 1
            stream = streams.get(name)
            if stream is None:  # left meanwhile
                continue
            data = with_id(content, pk) if has_id else content
            try:
                if has_id and stream.simply_continues(epoch, offset, at, previous):
                    count = self._write(stream, offset, data, at)
                    written += count
                    left -= count
                else:
                    self._hear(name, epoch, offset, data, at, previous)
            except Exception as error:  # of one stream, which delays no other
                self._loops.report_failure(NAME, error, "it is read from history")
        WRITTEN.inc(written)

    def _write(self, stream: LocalStream, offset: int, data: bytes, at: int) -> int:
        """Write the next notification of a stream to its few live readers.

        Returns:
            The number of readers that it was written to.
        """
        stream.go_on(offset, at)
        frames: dict[Codec, Prepared] = {}
        count = 0
        try:
            for reader in tuple(stream.apart):
                if reader.sent >= offset:
                    continue
                codec = reader.codec
                if codec not in frames:
                    frames[codec] = codec.encode_publication(stream.name, offset, data)
                if reader.offer(frames[codec]):
                    reader.sent = offset
                    count += 1
                else:
                    self._fall_behind(reader)
        except Exception:
            for reader in tuple(stream.apart):
                if reader.sent < offset:
                    self._fall_behind(reader)
            raise
        return count
