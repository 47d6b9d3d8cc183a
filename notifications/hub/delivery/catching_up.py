"""Readers that are behind: served from history, at the speed of their sockets (P5)."""

import asyncio
from collections.abc import Callable

from ...database.lanes import DELIVERY
from ...protocol import codes
from ...protocol.json import encode_publication
from ...protocol.prepared import Prepared
from ...streams.evidence import Pruned, Seen, WentBack, read_on
from ..loops import Loops
from ..sockets.connection import Connection, Reader, Stream

#: Publications read at once: a few more than what a socket that has drained takes.
PAGE = 100

#: Wait so long before history is asked again for what it should have; seconds.
LAG = 0.1

NAME = "catching up"


class CatchUp:
    """One task for each connection that is behind; while its socket is blocked it holds nothing.

    Args:
        visit: called with a connection that owes a ping, as soon as its socket has drained.
        went_back: told of a stream that has another history than the one that was seen so far.
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

    def start(self, connection: Connection) -> None:
        """Go on until none of the connection's readers is behind, and no ping is owed."""
        if connection.pump is None or connection.pump.done():
            connection.pump = asyncio.create_task(self._run(connection))

    def fall_behind(self, reader: Reader) -> None:
        """Serve a reader from history from now on, at the speed of its socket."""
        reader.stream.remove_live(reader)
        reader.connection.behind.add(reader)
        self.start(reader.connection)

    async def _run(self, connection: Connection) -> None:
        while True:
            await connection.drained()
            if connection.session.owes_ping:
                # Before the next page, which may fill the socket again.
                self._visit(connection)
            if not connection.behind or connection.closing is not None or connection.has_ended:
                return
            try:
                await self._advance(next(iter(connection.behind)))
                self._loops.works(NAME)
            except Exception as error:
                self._loops.report(NAME, error)
                await asyncio.sleep(1.0)

    async def _advance(self, reader: Reader) -> None:
        """Write a page, as far as the socket takes it."""
        stream, connection = reader.stream, reader.connection
        if stream.is_suspect:  # the connection is about to be closed
            await asyncio.sleep(LAG)
            return
        seen = stream.seen()
        try:
            page = await DELIVERY.run(read_on, stream.id, reader.sent, PAGE, seen)
        except WentBack:
            self._went_back(stream, seen)
            return
        except Pruned:
            connection.close(codes.INSUFFICIENT_STATE)
            return
        for publication in page.publications:
            if reader not in connection.behind or connection.closing is not None:
                return
            message = Prepared(encode_publication(stream.name, *publication))
            if not connection.socket.offer(message):
                return
            reader.sent = publication.offset
        reader.sent = max(reader.sent, page.offset)
        # No wait between looking and going live: nothing can be fanned out in between.
        if not page.more and reader.sent >= stream.top:
            connection.behind.discard(reader)
            if reader in stream.readers:
                stream.add_live(reader)
        elif not page.publications:  # history is behind what was announced, as on a replica
            await asyncio.sleep(LAG)
