"""The hub, one per process: creates its parts, runs their background loops and stops them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from ..conf import app_settings
from ..connect import admission, reading
from ..database.lanes import CONNECTS, FLUSH, RECEIVERS, TICKER
from ..layer import announcer
from ..protocol import codes
from ..protocol.effects import Close, Send
from ..publishing.waiting import publish_waiting
from ..streams.history import Recent
from ..streams.names import user_stream
from .acknowledgements import Acknowledgements
from .batches import Batcher
from .beginnings import Beginnings
from .connections import Connections
from .emulation import Emulation
from .incarnation import IncarnationWatch
from .join_leave import JoinLeave
from .layer.probe import Probe
from .layer_messages import LayerMessages
from .local_streams import LocalStreams
from .loops import Loops
from .members import Members
from .position_check import PositionCheck
from .presence import HEARTBEAT, Presence
from .rights import Rights
from .rights_rounds import RightsRounds
from .sockets.connection import Connection
from .sockets.drain import drain
from .turns import Turns

#: Seconds that a stopping process allows for each of its last database writes.
SHUTDOWN_TIMEOUT = 5.0

#: Seconds in which close frames leave, and connections that part together are gathered.
PARTING = 0.05


class Hub:
    """The state of one process that outlives a connection. Belongs to one event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loops = Loops(probe="ticker")
        self.acknowledgements = Acknowledgements()
        self.presence = Presence(socket.gethostname())
        self.connections = Connections(self.presence, self.acknowledgements)
        self.join_leave = JoinLeave()
        self.members = Members(self.presence, self.join_leave, self.loops)
        self.turns = Turns()
        self.beginnings = Beginnings(self._suspect, self.loops.report_failure)
        self.admit_callers = Batcher(admission.admit, CONNECTS)
        recent = Recent()
        self.resume = Batcher(partial(admission.resume, recent=recent), CONNECTS).timed
        self.read_pages = Batcher(partial(reading.read_pages, recent=recent), CONNECTS)
        self.streams = LocalStreams(
            self.connections,
            self.loops,
            visit=self.visit,
            suspect=self._suspect,
            check_soon=self._request_check,
            # Publications may have been missed while the layer was down.
            layer_changed=partial(self.loops.wake, "check"),
        )
        self.rights = Rights(
            self.connections, self.streams, self.beginnings, self.join_leave, self.loops
        )
        self._rights_rounds = RightsRounds(self.connections, self.rights)
        self.emulation = Emulation(self.streams)
        self._groups = self.streams.groups
        self.probe = Probe(self._groups)
        self._incarnation = IncarnationWatch()
        self.position_check = PositionCheck(self.streams, self.rights, self.loops)
        self.layer_messages = LayerMessages(
            self.streams,
            self.rights,
            self.position_check,
            self.probe,
            self.join_leave,
            self.emulation,
            self.loops,
        )
        self._parting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Register with the announcer, and start the background loops."""
        announcer.use_loop(self.loop, self._groups.went_down)
        for lane in (FLUSH, RECEIVERS):  # for the last flush, which may come while Python exits
            lane.start()
        loops = self.loops
        loops.start("layer", 0, partial(self._groups.receive, self.layer_messages.dispatch))
        loops.start("deadlines", 1.0, self._visit_due)
        loops.start("check", self.position_check.interval, self.position_check.run)
        # Not part of the check, which must keep running while the layer is slow.
        loops.start("groups", self.position_check.interval, self.maintain_groups)
        loops.start("ticker", app_settings.TICK_INTERVAL, partial(TICKER.run, publish_waiting))
        loops.start("flush", app_settings.FLUSH_INTERVAL, self.flush)
        loops.start("beginnings", app_settings.FLUSH_INTERVAL, self.beginnings.retry)
        loops.start("presence", app_settings.WORKER_TIMEOUT * HEARTBEAT, self.presence.beat)
        loops.start("incarnation", self._incarnation.interval, self._incarnation.check)
        loops.start("rights", self._rights_rounds.interval, self._rights_rounds.check_part)

    async def drain(self, hurry: asyncio.Event) -> None:
        """Close all connections in waves, then write the acknowledged positions.

        The background loops keep running until :meth:`stop`.

        Args:
            hurry: cuts all waits short once it is set.
        """
        await drain(self.connections, hurry)
        await self.loops.guard("flush", partial(_in_time, self.flush))

    async def part(self, connection: Connection) -> None:
        """Close a connection whose consumer is cancelled by the server, which probably stops.

        Daphne waits for the consumers that it cancels, and says nothing else of its end. So close
        frames must leave now, and what is pending be written: once for all that part together.
        """
        connection.close(codes.SHUTDOWN)
        await connection.closed()
        self.connections.leave(connection, codes.SHUTDOWN.code)
        if self._parting is None or self._parting.done():
            self._parting = self.loop.create_task(self._write_last())
        await asyncio.shield(self._parting)

    async def stop(self) -> None:
        """Close all sockets with 3001, stop all background work and write what is pending."""
        self.connections.is_draining = True
        for connection in list(self.connections.all):
            connection.close(codes.SHUTDOWN)
        await self.loops.stop()
        for connection in list(self.connections.all):
            self.connections.leave(connection, codes.SHUTDOWN.code)
        await self.join_leave.stop()
        await self.rights.stop()
        await self.beginnings.stop()
        await self.layer_messages.together.stop()
        await self.streams.stop()
        await self.loops.guard("flush", partial(_in_time, self.flush))
        await self.loops.guard("presence", partial(_in_time, self.presence.retire))
        await announcer.aflush(app_settings.LAYER_TIMEOUT)
        announcer.leave_loop(self.loop)

    async def maintain_groups(self) -> None:
        """Join and leave layer groups as needed, then probe whether the layer works."""
        self._groups.forget_idle()
        if await self._groups.reconnect():
            await self._groups.sweep_if_due()
            await self.probe.run()

    async def flush(self) -> None:
        """Write acknowledged positions, and the rows of connections and members, in batches."""
        try:
            await self.acknowledgements.flush()
        finally:
            try:
                await self.presence.flush()
            finally:
                await self.members.flush()

    async def _write_last(self) -> None:
        await asyncio.sleep(PARTING)
        self._parting = None  # what is left from now on is not in this flush
        await self.loops.guard("flush", partial(_in_time, self.flush))

    def visit(self, connection: Connection, now: float | None = None) -> None:
        """Handle a connection whose deadline has passed, or whose socket has drained.

        Args:
            now: monotonic seconds; None for the current time.
        """
        session = connection.session
        if now is None:
            now = time.monotonic()
        effects = session.tick(now, None if connection.is_blocked else connection.positions())
        pings = [effect.reply for effect in effects if isinstance(effect, Send)]
        if not all(connection.write(ping) for ping in pings):
            effects = session.take_back_ping(now)
        for effect in effects:
            if isinstance(effect, Close):
                connection.close(effect.disconnect)
        if session.owes_ping:
            # The task waits until the socket drains, and then sends the ping before anything else.
            self.streams.catch_up.start(connection)

    async def _visit_due(self) -> None:
        self.turns.forget_idle()
        self.connections.deadlines.turn(time.monotonic(), self.visit)

    # These two defer to parts that are created after those that call them.

    def _suspect(self, user_id: Any) -> None:
        self.rights.suspect(user_stream(user_id))

    def _request_check(self) -> None:
        self.position_check.request()


async def _in_time(work: Callable[[], Awaitable[None]]) -> None:
    """Await a final write, for at most :data:`SHUTDOWN_TIMEOUT` seconds.

    Raises:
        TimeoutError: the database took longer.
    """
    async with asyncio.timeout(SHUTDOWN_TIMEOUT):
        await work()
