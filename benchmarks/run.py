"""The order of a run: each server in turn, and the references first, last and between."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from . import (
    centrifugo,
    forms,
    measures,
    processes,
    publishing,
    results,
    scaling,
    senders,
    servers,
    site,
    stores,
)
from .herd import Greeting, Herd
from .plans import Plan
from .processes import Missing
from .quiet import Watch
from .results import Results, Row
from .servers import Opener, Server
from .stores import Stores

#: Publications per second and number of users in the latency measurements.
RATE, USERS = 200, 100
#: Broadcasts that clients have missed when they connect again.
MISSED = 10


class Run:
    """Measures all servers, and collects the rows and the servers that are missing."""

    def __init__(self, plan: Plan, watch: Watch) -> None:
        self.plan = plan
        self._watch = watch
        self._rows: list[Row] = []
        self._missing: list[str] = []
        self._began = time.monotonic()

    async def run_all(self) -> Results:
        """Measure all servers one after another, and return the results.

        The references come first, last, and between: a machine's speed varies over time.
        """
        await self._measure_references()
        await self._measure_site(results.OURS, with_stores=False)
        await self._measure_centrifugo(with_redis=False)
        for row in forms.encoding():
            self._add(row)
        await self._measure_references()
        await self._measure_site(results.OURS_PG, with_stores=True)
        await self._measure_centrifugo(with_redis=True)
        await self._measure_references()
        await self._measure_site(results.OURS_PG_2, with_stores=True, workers=2)
        await self._measure_peers()
        await self._measure_references()
        rows = results.merged(self._rows)
        remarks = [remark for row in rows for remark in measures.remarks(row)]
        load = self._watch.judge()
        return Results(rows, self._missing, remarks, processes.machine(), load)

    async def _measure_references(self) -> None:
        await self._measure_peer(servers.floor, self.plan.flat)
        await self._measure_peer(lambda: servers.floor("transports"), (self.plan.main,))
        await self._measure_peer(servers.bare, ())

    async def _measure_peers(self) -> None:
        plan = self.plan
        await self._measure_peer(lambda: servers.node("ws.js", results.WS), (plan.main,))
        await self._measure_peer(servers.nchan, (plan.main,))
        await self._measure_peer(
            lambda: servers.node("socketio.js", results.SOCKET_IO, servers.SOCKET_IO_PATH),
            (plan.main,),
        )
        await self._measure_peer(servers.stock, (plan.stock,), plan.stock)
        with self._redis() as redis:
            if redis is not None:
                await self._measure_peer(lambda: servers.stock(redis), (plan.main,))

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
            if server.name not in (results.FLOOR, results.FLOOR_LOOP):
                self._add(await measures.connect(server, herd, sockets or self.plan.main))
            if fan_outs:
                send = await _sender(server)
                await self._fan_out(server, herd, fan_outs, send)
            herd.close()

    async def _measure_centrifugo(self, *, with_redis: bool) -> None:
        """Measure Centrifugo as the site: the same clients and tokens, and history switched on."""
        main = self.plan.main
        users = range(1, main + 1)
        with ExitStack() as stack:
            redis = stack.enter_context(self._redis()) if with_redis else None
            if with_redis and redis is None:
                return
            server = stack.enter_context(self._opened(lambda: centrifugo.centrifugo(redis)))
            if server is None:
                return
            herd = site.herd(server, centrifugo.greet(users))
            await self._measure_resting(server, herd)
            await self._measure_return(
                server, herd, lambda: centrifugo.come_back(server, users, MISSED)
            )
            await self._private(server, herd, await centrifugo.private_sender(server, main))
            await self._fan_out(server, herd, (main,), await centrifugo.broadcaster(server))
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
            if own is not None:
                stack.callback(self._count_detached, own)
            server = stack.enter_context(self._opened(lambda: servers.ours(name, own, workers)))
            if server is None:
                return
            site.make_users(server, plan.users)
            if name == results.OURS:
                site.make_groups(server, plan.main)
            await measures.wait_until_idle(server)
            greeting = site.greet(range(1, plan.max_sockets + 1))
            herd = site.herd(server, greeting)
            send = senders.ByPublish(server, plan.users + 1)
            if workers > 1:
                self._add(await measures.connect(server, herd, plan.main))
                await send.open()
                await self._fan_out(server, herd, (plan.main,), send)
                if len(processes.ALL_CPUS) >= workers:
                    await measures.wait_until_idle(server)
                    self._add(await scaling.scaling(server, herd, send, plan.blocks))
                herd.close()
                return

            def come_back() -> Greeting:
                site.broadcast(server, MISSED)
                return greeting

            await self._measure_resting(server, herd)
            await self._measure_return(server, herd, come_back)
            await self._private(server, herd, await senders.by_view(server, plan.main))
            herd.close()
            await measures.wait_until_idle(server)
            # Before the fan-out, after which most clients have missed hundreds of broadcasts.
            self._add(await measures.storm(server, herd, plan.main))
            await send.open()
            await self._fan_out(server, herd, plan.flat, send)
            send.herd.close()
            herd.close()
            if name == results.OURS:
                await self._compare_forms(server)
            await measures.wait_until_idle(server)
            await self._measure_publishing(server)

    async def _measure_resting(self, server: Server, herd: Herd) -> None:
        """Measure the first connects and the memory, then what the resting connections cost."""
        self._add(await measures.connect(server, herd, self.plan.main))
        self._add(await measures.idle(server, self.plan.main, self.plan.rest, self.plan.idle))

    async def _measure_return(
        self, server: Server, herd: Herd, come_back: Callable[[], Greeting]
    ) -> None:
        """Measure the connects of the same clients after broadcasts that they have missed."""
        herd.close()
        await measures.wait_until_idle(server)
        herd.greeting = come_back()
        await measures.wait_until_idle(server)
        back = await measures.connect(server, herd, self.plan.main, results.BACK)
        for name in (results.KILOBYTES, "KB including connect peak"):
            del back.values[name]  # memory from the first connects is used again
        self._add(back)

    async def _private(self, server: Server, herd: Herd, send: senders.Send) -> None:
        """Measure one call that sends to each client on its own stream."""
        self._add(await measures.fan_out(server, herd, send, 1, results.PRIVATE))

    async def _fan_out(
        self, server: Server, herd: Herd, fan_outs: tuple[int, ...], send: senders.Send
    ) -> None:
        await herd.open(max(0, max(fan_outs) - len(herd.clients)))
        for size in fan_outs:
            herd.shrink(size)
            await measures.wait_until_idle(server)
            self._add(await measures.fan_out(server, herd, send, self.plan.blocks))

    async def _compare_forms(self, server: Server) -> None:
        """Measure the fan-out to clients that speak JSON and to as many that speak Protobuf."""
        main = self.plan.main
        first = self.plan.users + 1
        text = site.herd(server, site.greet(range(1, main + 1)))
        binary = site.protobuf_herd(server, range(main + 1, 2 * main + 1), "group:2")
        audiences = {}
        for name, herd, channel in zip(
            results.FORMS, (text, binary), ("group:1", "group:2"), strict=True
        ):
            await herd.open(main)
            send = senders.ByPublish(server, first, channel)
            await send.open()
            audiences[name] = (herd, send)
        await measures.wait_until_idle(server)
        blocks = 2 * self.plan.blocks  # the difference is small
        for row in await measures.fan_out_in_turn(server, audiences, blocks, results.BY_FORM):
            self._add(row)
        for herd, send in audiences.values():
            herd.close()
            send.herd.close()

    async def _measure_publishing(self, server: Server) -> None:
        plan = self.plan
        if server.stores.redis_url:
            self._add(await publishing.notified(server, USERS, RATE, plan.seconds))
        else:  # without Redis, only the position check finds what another process publishes
            first = plan.users + 1
            self._add(await publishing.published(server, first, USERS, RATE, plan.seconds))
        for count in plan.bulk:
            await measures.wait_until_idle(server)
            self._add(await publishing.bulk(server, count))

    def _count_detached(self, own: Stores) -> None:
        for pid in own.detached:
            self._watch.add_own(processes.cpu_seconds(processes.tree(pid)))

    @contextmanager
    def _redis(self) -> Iterator[Stores | None]:
        with ExitStack() as stack:
            try:
                redis = stack.enter_context(stores.redis_server())
            except Missing as reason:
                self._report_missing(str(reason))
                yield None
                return
            yield redis

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
        return await senders.by_http(server, "/publish", senders.LINE)
    return senders.by_line(server)
