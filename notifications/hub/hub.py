"""The hub: one per process. Joins layer groups for its connections and fans out.

The channel layer only hints (P4): what it says is fanned out when it is the next offset; every
gap, and every tail that no message tells of, is read from history. So a hint that is lost, late,
repeated or out of order costs latency, never a notification.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from django.db import Error as DatabaseError

from ..conf import app_settings
from ..connect import admission
from ..database.lanes import CONNECTS, TICKER
from ..layer import announcer
from ..metrics import CONNECTIONS
from ..protocol import codes
from ..protocol.session import Close, Send
from ..publishing.sequencing import sequence_waiting
from ..streams.history import Page, Publication, Recent
from ..streams.names import is_topic, user_stream
from ..streams.subscriptions import Feed
from .acknowledgements import Acknowledgements, Mark
from .batches import Batcher
from .beginnings import Beginnings
from .delivery.catching_up import CatchUp
from .delivery.renewals import Renewals
from .delivery.repairs import SLICE, Repairs
from .delivery.stream import LocalStream
from .incarnation import Watch
from .layer.groups import Groups
from .layer.probe import Pulse
from .loops import Loops
from .position_check import PositionCheck
from .presence import BEAT, Presence
from .rights import Rights
from .sockets.addresses import Addresses
from .sockets.connection import Connection, Reader, Stream
from .sockets.deadlines import Wheel
from .sockets.drain import drain
from .turns import Turns

#: From being asked for a position check to making it, in seconds.
CHECK_DELAY = 0.1

#: How long a process that ends waits for what it still wants to write; seconds.
PATIENCE = 5.0


class Hub:
    """Everything of one process that outlives a connection. Lives on one event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.by_user: dict[Any, set[Connection]] = defaultdict(set)
        #: Users by the name of their own stream, which also carries what only concerns them.
        self.users: dict[str, Any] = {}
        self.streams: dict[str, LocalStream] = {}
        self.addresses = Addresses()
        #: The process is about to end: nobody new is admitted.
        self.is_draining = False
        self.acknowledgements = Acknowledgements()
        self.presence = Presence(socket.gethostname())
        self.rights = Rights(self)
        self.turns = Turns()
        self.beginnings = Beginnings(self._look_at, self.report)
        self.admit_callers = Batcher(admission.admit, CONNECTS)
        self.resume = Batcher(partial(admission.resume, recent=Recent()), CONNECTS)
        self._wheel = Wheel()
        self._loops = Loops(probe="ticker")
        self._groups = Groups(self.streams, self._layer_changed)
        self._pulse = Pulse(self._groups)
        self._watch = Watch()
        self.renewals = Renewals(self._loops, self._reset, self._check_soon)
        self._catch_up = CatchUp(self._loops, self._visit, self.renewals.add)
        self.repairs = Repairs(self.streams, self._loops, self.fall_behind, self.renewals.add)
        self._check = PositionCheck(
            self.streams, self.repairs, self.renewals, self.rights, self._reset, self._gone
        )
        self._is_check_due = False

    # Life

    async def start(self) -> None:
        announcer.use_loop(self.loop, self._groups.went_down)
        loops = self._loops
        loops.start("layer", 0, self._receive)
        loops.start("wheel", 1.0, self._turn)
        loops.start("check", self._check_interval, self.check)
        # Apart from the check, which has to go on while the layer takes its time.
        loops.start("groups", self._check_interval, self.tend_groups)
        loops.start("ticker", app_settings.TICK_INTERVAL, self._tick)
        loops.start("flush", app_settings.FLUSH_INTERVAL, self.flush)
        loops.start("beginnings", app_settings.FLUSH_INTERVAL, self.beginnings.retry)
        loops.start("presence", app_settings.WORKER_TIMEOUT * BEAT, self.presence.beat)
        loops.start("incarnation", self._watch.interval, self._watch.look)
        loops.start("rights", app_settings.RIGHTS_INTERVAL, self.rights.check_all)

    async def drain(self, hurry: asyncio.Event) -> None:
        """Send the clients elsewhere in waves, and write what they have acknowledged.

        Everything else goes on until :meth:`stop`.

        Args:
            hurry: ends all waiting when it is set.
        """
        await drain(self, hurry)
        await self._loops.guard("flush", partial(_in_time, self.flush))

    async def stop(self) -> None:
        """Close all sockets so that clients come back elsewhere; write what is not written."""
        self.is_draining = True
        for connection in list(self.connections):
            connection.close(codes.SHUTDOWN)
        await self._loops.stop()
        for connection in list(self.connections):
            self.leave(connection, codes.SHUTDOWN.code)
        await self.rights.stop()
        await self.beginnings.stop()
        await self.renewals.stop()
        await self.repairs.stop()
        await self._groups.stop()
        await self._loops.guard("flush", partial(_in_time, self.flush))
        await self._loops.guard("presence", partial(_in_time, self.presence.retire))
        await announcer.emptied(app_settings.LAYER_TIMEOUT)
        announcer.use_loop(None)

    def report(self, name: str, error: Exception) -> None:
        """See :meth:`Loops.report`."""
        self._loops.report(name, error)

    def works(self, name: str) -> None:
        """See :meth:`Loops.works`."""
        self._loops.works(name)

    def database_failed(self, error: DatabaseError) -> None:
        """See :meth:`Loops.database_failed`."""
        self._loops.database_failed(error)

    # Connections

    def watch(self, connection: Connection) -> None:
        """A socket has been accepted: see to its deadlines, or close it as one too many."""
        if not self.addresses.enter(connection):
            connection.close(codes.CONNECTION_LIMIT)
            return
        self._wheel.add(connection, connection.session.deadline)

    def admit(self, connection: Connection) -> None:
        """A connection has been authenticated.

        Raises:
            Disconnected: its user has too many connections here, or the process is about to end.
        """
        if self.is_draining:
            raise codes.Disconnected(codes.SHUTDOWN)
        if len(self.by_user.get(connection.user_id, ())) >= app_settings.MAX_CONNECTIONS_PER_USER:
            raise codes.Disconnected(codes.CONNECTION_LIMIT)
        self.by_user[connection.user_id].add(connection)
        self.users[user_stream(connection.user_id)] = connection.user_id
        self.connections.add(connection)
        CONNECTIONS.inc()

    def leave(self, connection: Connection, code: int) -> None:
        """A socket is gone. Safe to call twice, and for one that was never admitted."""
        connection.session.close(codes.NORMAL)
        connection.end()
        if connection.pump is not None:
            connection.pump.cancel()
        for reader in list(connection.readers.values()):
            self.detach(reader)
        connection.socket.when_gone(partial(self.addresses.leave, connection))
        self.dismiss(connection, code)

    def dismiss(self, connection: Connection, code: int) -> None:
        """Take back :meth:`admit`, if it was admitted."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        mine = self.by_user[connection.user_id]
        mine.discard(connection)
        if not mine:
            del self.by_user[connection.user_id]
            del self.users[user_stream(connection.user_id)]
        if connection.own is not None:
            self.unpin(connection.own)
            connection.own = None
        connection.is_ready = False
        self.presence.remove(connection, code)
        CONNECTIONS.dec()

    def arrived(self, connection: Connection, positions: dict[str, int]) -> None:
        """The client has everything up to these offsets."""
        if connection.socket.has_failed:
            connection.close(codes.SERVER_ERROR)
            return
        for name, offset in positions.items():
            reader = connection.readers.get(name)
            if reader is None or offset <= reader.acked:
                continue
            reader.acked = offset
            stream = reader.stream
            mark = Mark(stream.name, stream.epoch, offset)
            self.acknowledgements.add(connection.user_id, stream.id, mark)

    # Streams

    async def join(self, name: str, until: float | None = None) -> LocalStream:
        """Make the process a member of the stream's layer group, and pin the stream here.

        Joining comes before reading: what is published from now on is heard. Whoever calls must
        :meth:`unpin`.

        Args:
            name: of the stream.
            until: when to go on although the group is not joined yet, on the loop's clock;
                None for ``LAYER_TIMEOUT`` from now.
        """
        if until is None:
            until = self.loop.time() + app_settings.LAYER_TIMEOUT
        stream = self.streams.get(name)
        if stream is None:
            stream = self.streams[name] = LocalStream(name)
        stream.pins += 1
        try:
            await self._groups.join(stream, until)
        except BaseException:
            self.unpin(stream)
            raise
        return stream

    def unpin(self, stream: Stream) -> None:
        stream.pins -= 1

    def attach(
        self,
        connection: Connection,
        stream: LocalStream,
        feed: Feed,
        page: Page,
        acked: int,
        *,
        topic: bool,
    ) -> None:
        """Let a connection read on from the end of ``page``, which has been written to it.

        Args:
            feed: what was read for it before, together with the page.
            acked: what the user is known to have; the next acknowledgement covers the rest.
            topic: the client has subscribed by itself.
        """
        if connection.closing is not None:
            return
        stream.learn(feed.stream_id, feed.epoch, feed.top, feed.revision, feed.at)
        if self.streams.get(stream.name) is not stream or stream.epoch != feed.epoch:
            # It was reset meanwhile, or is about to be.
            connection.close(codes.INSUFFICIENT_STATE)
            self._loops.hurry("check")
            return
        if stream.tip.contradicts(feed.top, feed.at):
            self.renewals.add(stream)
        reader = Reader(connection, stream, page.offset, acked, topic)
        connection.readers[stream.name] = reader
        stream.readers.add(reader)
        if page.more or reader.sent < stream.top:
            self.fall_behind(reader)
        else:
            stream.add_live(reader)
        if stream.heard > stream.top:
            self.repairs.start(stream)

    def detach(self, reader: Reader) -> None:
        reader.connection.readers.pop(reader.stream.name, None)
        reader.connection.behind.discard(reader)
        reader.stream.readers.discard(reader)
        reader.stream.remove_live(reader)

    def hear(
        self, name: str, epoch: str, offset: int, data: bytes, at: int = 0, previous: int = 0
    ) -> None:
        """A publication has been announced.

        Args:
            at: when it was published, in microseconds, and ``previous`` the one before it; 0 from
                workers of an earlier version.
        """
        stream = self.streams.get(name)
        if stream is None or stream.is_suspect or (stream.is_known and stream.epoch != epoch):
            return
        tip = stream.tip
        if tip.contradicts(offset, at) or tip.contradicts(offset - 1, previous):
            # Of another history: either the tip, or what was announced, is not there any more.
            self.renewals.add(stream)
            return
        stream.note(epoch, offset)
        if not stream.is_next(offset):
            if offset > stream.top:
                self.repairs.start(stream)
        elif len(stream.live) <= SLICE:
            self.repairs.fan_out(stream, Publication(offset, data), at)
        else:
            self.repairs.start(stream, Publication(offset, data), at)

    def fall_behind(self, reader: Reader) -> None:
        """Serve a reader from history from now on, at the speed of its socket."""
        reader.stream.remove_live(reader)
        reader.connection.behind.add(reader)
        self._catch_up.start(reader.connection)

    # What the loops do

    async def check(self) -> None:
        """The position check: one query tells what the layer did not (P4)."""
        await self._check.run()

    async def tend_groups(self) -> None:
        """Be in the groups of the streams read here, and see whether the layer works."""
        self._groups.forget()
        if await self._groups.reconnect():
            await self._groups.sweep()
            await self._pulse.beat()

    async def flush(self) -> None:
        """Write acknowledged positions and connection rows, each in one batch."""
        try:
            await self.acknowledgements.flush()
        finally:
            await self.presence.flush()

    async def _tick(self) -> None:
        await TICKER.run(sequence_waiting)

    def _look_at(self, user_id: Any) -> None:
        self.rights.suspect(user_stream(user_id))

    async def _turn(self) -> None:
        self.turns.tend()
        self._wheel.turn(time.monotonic(), self._visit)

    def _visit(self, connection: Connection) -> None:
        """Look at a connection whose deadline has passed, or whose socket has drained."""
        session, now = connection.session, time.monotonic()
        effects = session.tick(now, None if connection.is_blocked else connection.positions())
        pings = [effect.text for effect in effects if isinstance(effect, Send)]
        if not all(connection.write(ping) for ping in pings):
            effects = session.take_back_ping(now)
        for effect in effects:
            if isinstance(effect, Close):
                connection.close(effect.disconnect)
        if session.owes_ping:
            # It waits for the socket, and the ping goes first when that drains.
            self._catch_up.start(connection)

    def _check_interval(self) -> float:
        """Shorter while nothing but the check finds what is new (P4)."""
        usual = app_settings.check_interval
        return usual if self._groups.is_up else min(usual, app_settings.CHECK_INTERVAL_DOWN)

    def _check_soon(self) -> None:
        """A publisher to very many has asked, and may go on asking with each part of them."""
        self._check.asked()
        if not self._is_check_due:
            self._is_check_due = True
            self.loop.call_later(CHECK_DELAY, self._check_now)

    def _check_now(self) -> None:
        self._is_check_due = False
        self._loops.hurry("check")

    def _layer_changed(self) -> None:
        """Down: find by the check what was not heard. Up again: what came before that."""
        self._loops.hurry("check")

    async def _receive(self) -> None:
        await self._groups.receive(self._dispatch)

    def _dispatch(self, message: dict[str, Any]) -> None:
        try:
            self._take(message)
        except Exception as error:  # a worker of another version may say it differently
            self.report("a message of the channel layer", error)

    def _take(self, message: dict[str, Any]) -> None:
        kind, stream = message["type"], message["stream"]
        if kind == "notifications.publication":
            times = message.get("at", 0), message.get("previous", 0)
            self.hear(stream, message["epoch"], message["offset"], message["data"], *times)
        elif kind == "notifications.message":
            # Workers of an earlier version tell nothing of the count.
            counted = message.get("unread"), message.get("revision"), message.get("recounted")
            self.rights.tell(stream, message["data"], message["origin"], *counted)
        elif kind == "notifications.changed":
            self.rights.suspect(stream, message.get("session", ""))
        elif kind == "notifications.session_ended":
            self.rights.end_session(message["session"])
        elif kind == "notifications.check":
            self._check_soon()
        elif kind == "notifications.beat":
            self._pulse.hear(message)

    def _gone(self, stream: LocalStream) -> None:
        """The row of this stream is gone."""
        if is_topic(stream.name):
            self._dissolve(stream)
        else:
            self._reset(stream)

    def _dissolve(self, stream: LocalStream) -> None:
        """A topic is gone with its last follower: whoever reads it here has left it elsewhere.

        Perhaps somebody has made it again since: the look at rights tells who reads what.
        """
        del self.streams[stream.name]
        for reader in list(stream.readers):
            self.rights.suspect(user_stream(reader.connection.user_id))

    def for_row(self, stream: LocalStream, stream_id: int) -> LocalStream:
        """The stream that stands for this row of a topic; mostly the one that was joined.

        A topic's row is deleted with its last follower, and another one may be made at once.
        """
        current = self.streams.get(stream.name)
        if current is not None and (not current.is_known or current.id >= stream_id):
            return current
        if current is not None:
            self._dissolve(current)
        fresh = self.streams[stream.name] = LocalStream(stream.name)
        # The process is in the group of this name.
        fresh.is_joined, fresh.joined_at = stream.is_joined, stream.joined_at
        return fresh

    def _reset(self, stream: Stream) -> None:
        """The history is gone or another one: positions in it mean nothing any more."""
        if self.streams.get(stream.name) is not stream:
            return
        del self.streams[stream.name]
        for reader in list(stream.readers):
            reader.connection.close(codes.INSUFFICIENT_STATE)
        # Who has muted his own stream only holds it, to be found by what is told of him.
        for connection in list(self.by_user.get(self.users.get(stream.name), ())):
            if connection.own is stream:
                connection.close(codes.INSUFFICIENT_STATE)


async def _in_time(work: Callable[[], Awaitable[None]]) -> None:
    """Do what is done at the end, unless the database keeps it too long."""
    async with asyncio.timeout(PATIENCE):
        await work()
