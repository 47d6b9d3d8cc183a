"""Serves readers that are behind from history, at the speed of their sockets (P5)."""

import asyncio
from collections.abc import Callable

from ...protocol import codes
from ...streams.evidence import Pruned, Seen, WentBack
from ..loops import Loops
from ..sockets.connection import Connection, Reader, Stream
from .pages import EncodedPage, Pages

#: Seconds that a page is kept, in all, for a socket that has taken a part of it. Some servers
#: (granian) accept every message a moment later, and the page would be read again for each of them.
MOMENT = 0.02

#: Seconds to wait before reading history again when it lacks an announced entry.
LAG_WAIT = 0.1

NAME = "catching up"


class CatchUp:
    """Runs one task per connection that is behind. It holds no data while the socket is blocked.

    Except for a :data:`MOMENT`.

    Args:
        loops: reports failures.
        visit: called with a connection that owes a ping, when its socket has drained.
        went_back: called with a stream whose history contradicts what was seen, and with that
            evidence.
    """

    def __init__(
        self,
        loops: Loops,
        visit: Callable[[Connection], None],
        went_back: Callable[[Stream, Seen], None],
    ) -> None:
        self._loops = loops
        self._visit = visit
        self._went_back = went_back
        self._pages = Pages()

    def start(self, connection: Connection) -> None:
        """Start the task of a connection, unless it runs; it ends when no reader is behind."""
        if connection.catch_up_task is None or connection.catch_up_task.done():
            connection.catch_up_task = asyncio.create_task(self._run(connection))

    def fall_behind(self, reader: Reader) -> None:
        """Serve a reader from history until it has caught up."""
        reader.stream.remove_live(reader)
        reader.connection.behind[reader] = None
        self.start(reader.connection)

    async def _run(self, connection: Connection) -> None:
        while True:
            await connection.drained()
            if connection.session.owes_ping:
                # Before the next page, which may fill the socket again.
                self._visit(connection)
            if not connection.behind or connection.closing is not None or connection.has_ended:
                return
            reader = _whose_turn(connection)
            if reader is None:
                await asyncio.sleep(LAG_WAIT)
                continue
            try:
                await self._advance(reader)
                self._loops.report_success(NAME)
            except Exception as error:
                self._loops.report_failure(NAME, error)
                await asyncio.sleep(1.0)

    async def _advance(self, reader: Reader) -> None:
        """Read one page for a reader, and write as much of it as the socket accepts."""
        stream, connection = reader.stream, reader.connection
        seen = stream.seen()
        try:
            read = await self._pages.read(stream, reader.sent, seen)
        except WentBack:
            self._went_back(stream, seen)
            return
        except Pruned:
            connection.close(codes.INSUFFICIENT_STATE)
            return
        if not await self._write(reader, read):
            return
        page = read.page
        reader.sent = max(reader.sent, page.offset)
        # No await between this check and add_live(), so that nothing is fanned out in between.
        if not page.more and reader.sent >= stream.top:
            connection.behind.pop(reader, None)
            if reader in stream.readers:
                stream.add_live(reader)
        elif not page.publications:  # history lacks an announced entry, as on a replica that lags
            await asyncio.sleep(LAG_WAIT)

    async def _write(self, reader: Reader, read: EncodedPage) -> bool:
        """Write a page as far as the socket accepts it; False if that is not all."""
        connection, stream = reader.connection, reader.stream
        loop = asyncio.get_running_loop()
        until = loop.time() + MOMENT
        for publication, pushes in zip(read.page.publications, read.pushes, strict=True):
            if connection.is_blocked and not await connection.drains_within(until - loop.time()):
                return False
            if reader not in connection.behind or connection.closing is not None:
                return False
            if stream.is_suspect:  # since the page was read
                return False
            if not connection.socket.offer(pushes[connection.codec]):
                return False
            reader.sent = publication.offset
        return True


def _whose_turn(connection: Connection) -> Reader | None:
    """The reader that gets the next page; None if the streams of all are being renewed.

    They take turns, so that a stream whose history is long, locked or broken delays no other.
    """
    for reader in connection.behind:
        if not reader.stream.is_suspect:
            connection.behind[reader] = connection.behind.pop(reader)
            return reader
    return None
