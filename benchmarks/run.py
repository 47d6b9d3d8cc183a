"""The order of a run: each server in turn, with the references before each run of ours."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from . import forms, measures, processes, results, senders, servers, site, stores
from .herd import Herd
from .processes import Missing
from .results import Results, Row
from .servers import Opener, Server

#: Publications per second and number of users in the latency measurements.
RATE, USERS = 200, 100
#: Broadcasts that clients have missed when they connect again.
MISSED = 10


@dataclass(frozen=True)
class Plan:
    """The sizes of the measurements."""

    #: Sockets of the connect measurements, and of the fan-out of most servers.
    main: int
    #: Sockets of the fan-out of our server and of the floor, in descending order.
    flat: tuple[int, ...]
    #: Sockets of the stock consumer in memory, whose broadcasts have quadratic cost.
    stock: int
    #: Seconds of each latency measurement.
    seconds: float
    #: Recipients of the bulk measurement.
    bulk: int
    #: Blocks of a fan-out, whose median is reported.
    blocks: int

    @property
    def max_sockets(self) -> int:
        return max(self.main, *self.flat)

    @property
    def users(self) -> int:
        return max(self.max_sockets, self.bulk)


QUICK = Plan(main=2000, flat=(2000, 500), stock=500, seconds=4, bulk=5000, blocks=3)
FULL = Plan(
    main=5000, flat=(10_000, 5000, 2000, 1000, 500), stock=1000, seconds=20, bulk=100_000, blocks=5
)


class Run:
    """Measures all servers, and collects the rows and the servers that are missing."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._rows: list[Row] = []
        self._missing: list[str] = []
        self._began = time.monotonic()

    async def run_all(self) -> Results:
        """Measure all servers one after another, and return the results."""
        plan = self.plan
        await self._measure_references()
        await self._measure_site(results.OURS, with_stores=False)
        for row in forms.encoding():
            self._add(row)
        await self._measure_references()
        await self._measure_site(results.OURS_PG, with_stores=True)
        await self._measure_references()
        await self._measure_site(results.OURS_PG_2, with_stores=True, workers=2)
        await self._measure_peer(lambda: servers.node("ws.js", results.WS), (plan.main,))
        await self._measure_peer(servers.nchan, (plan.main,))
        await self._measure_peer(
            lambda: servers.node("socketio.js", results.SOCKET_IO, servers.SOCKET_IO_PATH),
            (plan.main,),
        )
        await self._measure_peer(servers.stock, (plan.stock,), plan.stock)
        await self._measure_stock_on_redis()
        rows = results.merged(self._rows)
        remarks = [remark for row in rows for remark in measures.remarks(row)]
        return Results(rows, self._missing, remarks, processes.machine())

    async def _measure_references(self) -> None:
        """Measure the references. They are repeated, because a machine's speed varies over time."""
        await self._measure_peer(servers.floor, self.plan.flat)
        await self._measure_peer(servers.bare, ())

    async def _measure_stock_on_redis(self) -> None:
        with ExitStack() as stack:
            try:
                redis = stack.enter_context(stores.redis_server())
            except Missing:
                return  # the run of our server with Redis has reported it
            await self._measure_peer(lambda: servers.stock(redis), (self.plan.main,))

    async def _measure_peer(
        self, opener: Opener, fan_outs: tuple[int, ...], sockets: int = 0
    ) -> None:
        """Measure another server: connect and memory, then fan-out.

        Args:
            opener: starts the server.
            fan_outs: numbers of sockets of the fan-out, in descending order.
            sockets: number of sockets to connect; 0 for that of the plan.
        """
        with self._opened(opener) as server:
            if server is None:
                return
            herd = _herd(server)
            if server.name != results.FLOOR:
                self._add(await measures.connect(server, herd, sockets or self.plan.main))
            if fan_outs:
                send = await _sender(server)
                await self._fan_out(server, herd, fan_outs, send)
            herd.close()

    async def _measure_site(self, name: str, *, with_stores: bool, workers: int = 1) -> None:
        """Measure the site: connects without and with missed broadcasts, fan-out, publishing."""
        plan = self.plan
        with ExitStack() as stack:
            try:
                own = stack.enter_context(stores.both()) if with_stores else None
            except Missing as reason:
                self._report_missing(f"{name}: {reason}")
                return
            server = stack.enter_context(self._opened(lambda: servers.ours(name, own, workers)))
            if server is None:
                return
            site.make_users(server, plan.users)
            await measures.wait_until_idle(server)
            herd = await self._measure_connects(server)
            send = senders.ByPublish(server, plan.users + 1)
            await send.open()
            flat = plan.flat if workers == 1 else (plan.main,)
            await self._fan_out(server, herd, flat, send)
            herd.close()
            if server.name == results.OURS:
                await self._fan_out_in_protobuf(server, send)
            send.herd.close()
            await measures.wait_until_idle(server)
            if workers == 1:
                await self._measure_publishing(server)

    async def _measure_connects(self, server: Server) -> Herd:
        main = self.plan.main
        herd = site.herd(server, site.greet(range(1, self.plan.max_sockets + 1)))
        self._add(await measures.connect(server, herd, main))
        if server.name == results.OURS_PG_2:
            return herd
        herd.close()
        await measures.wait_until_idle(server)
        site.broadcast(server, MISSED)
        await measures.wait_until_idle(server)
        back = await measures.connect(server, herd, main, "connect, 10 missed")
        for name in (results.KILOBYTES, "KB including connect peak"):
            del back.values[name]  # memory from the first connects is used again
        self._add(back)
        return herd

    async def _fan_out(
        self, server: Server, herd: Herd, fan_outs: tuple[int, ...], send: senders.Send
    ) -> None:
        await herd.open(max(0, max(fan_outs) - len(herd.clients)))
        for size in fan_outs:
            herd.shrink(size)
            await measures.wait_until_idle(server)
            self._add(await measures.fan_out(server, herd, send, self.plan.blocks))

    async def _fan_out_in_protobuf(self, server: Server, send: senders.Send) -> None:
        """Measure the fan-out to clients that speak Protobuf, for comparison with that in JSON."""
        main = self.plan.main
        herd = site.protobuf_herd(server, range(1, main + 1))
        await herd.open(main)
        await measures.wait_until_idle(server)
        row = await measures.fan_out(server, herd, send, self.plan.blocks)
        self._add(replace(row, benchmark=results.FAN_OUT_PROTOBUF))
        herd.close()

    async def _measure_publishing(self, server: Server) -> None:
        seconds = self.plan.seconds
        if server.stores.redis_url:
            self._add(await measures.notified(server, USERS, RATE, seconds))
        else:  # without Redis, only the position check finds what another process publishes
            self._add(await measures.published(server, self.plan.users + 1, USERS, RATE, seconds))
        await measures.wait_until_idle(server)
        self._add(measures.bulk(server))

    @contextmanager
    def _opened(self, opener: Opener) -> Iterator[Server | None]:
        with ExitStack() as stack:
            try:
                server = stack.enter_context(opener())
            except Missing as reason:
                self._report_missing(str(reason))
                yield None
                return
            yield server

    def _report_missing(self, reason: str) -> None:
        if reason not in self._missing:
            self._missing.append(reason)
            print(f"missing: {reason}", flush=True)

    def _add(self, row: Row) -> None:
        self._rows.append(row)
        values = ", ".join(f"{name} {value:.4g}" for name, value in row.values.items())
        seconds = time.monotonic() - self._began
        print(
            f"{seconds:4.0f} s {row.benchmark}: {row.server}, {row.sockets} sockets: {values}",
            flush=True,
        )


def _herd(server: Server) -> Herd:
    herd = Herd("127.0.0.1", server.port, server.path)
    if server.name == results.SOCKET_IO:
        # Engine.IO 4: the server opens with "0…", the client joins with "40" and gets a reply,
        # "2" is a ping and "3" its pong.
        herd.greeting = lambda number: [b"40"]
        herd.ready_after = 2
        herd.answer = lambda payload: b"3" if payload == b"2" else None
        herd.ignore = lambda payload: payload == b"2"
    return herd


async def _sender(server: Server) -> senders.Send:
    if server.name == results.NCHAN:
        return await senders.by_http(server)
    return senders.by_line(server)
