"""``python -m benchmarks``: all servers in one run, on one machine, with one client.

The servers stay on processor 0, the client on processor 1. Times differ from run to run on shared
machines; ratios within a run do not, much.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import uvloop

from . import measures, report, servers, site
from .herd import Herd, pin
from .measures import Row, Sender, SiteSender
from .servers import Missing, Server

RESULTS = Path(__file__).parent / "results"
Open = Callable[[], AbstractContextManager[Server]]


class Run:
    """The rows so far, and the peers that could not be had."""

    def __init__(self, sizes: list[int], rounds: int) -> None:
        self.sizes = sizes
        self.rounds = rounds
        self.rows: list[Row] = []
        self.missing: list[str] = []

    def add(self, row: Row) -> None:
        self.rows.append(row)
        values = ", ".join(f"{name} {value:.4g}" for name, value in row.values.items())
        print(f"{row.benchmark}: {row.server}, {row.sockets} sockets: {values}", flush=True)

    async def peer(self, open_server: Open, *, fan_out: bool = True, most: int = 10**6) -> None:
        """Connect and fan-out of a server that broadcasts a line it is given."""
        try:
            with open_server() as server:
                herd = Herd("127.0.0.1", server.port, server.path)
                for size in (size for size in self.sizes if size <= most):
                    row = await measures.connect(server, herd, size - len(herd.clients), None)
                    if len(herd.clients) == self.sizes[0]:
                        self.add(row)
                    if fan_out:
                        rounds = self.rounds if most > 10**5 else 3
                        self.add(await measures.fan_out(server, herd, rounds, Sender(server)))
                herd.close()
        except Missing as reason:
            self.missing.append(str(reason))
            print(f"missing: {reason}", flush=True)

    async def ours(self, open_server: Open, *, latency: bool = False) -> None:
        """The site: a first connect, a storm that comes back to ten missed broadcasts, fan-out."""
        try:
            with open_server() as server:
                await self._ours(server, latency=latency)
        except Missing as reason:
            self.missing.append(str(reason))
            print(f"missing: {reason}", flush=True)

    async def _ours(self, server: Server, *, latency: bool) -> None:
        most = max(self.sizes)
        site.make_users(server, most)
        tokens = [site.connect_as(number + 1) for number in range(most)]
        sender = site.herd(server)
        await sender.open(1, site.greeting([site.connect_as(most + 1)]))
        await self._storm(server, tokens)
        herd = site.herd(server)
        for size in self.sizes:
            have = len(herd.clients)
            await herd.open(size - have, site.greeting(tokens[have:]))
            await asyncio.sleep(measures.REST * 3)
            sending = SiteSender(server, sender)
            sending.sent = size * 1000
            self.add(await measures.fan_out(server, herd, self.rounds, sending))
        herd.close()
        sender.close()
        await asyncio.sleep(measures.REST * 4)
        if latency:
            self.add(await measures.latency(server, most + 1, 200, 5))

    async def _storm(self, server: Server, tokens: list[bytes]) -> None:
        size = self.sizes[0]
        herd = site.herd(server)
        first = await measures.connect(server, herd, size, tokens)
        first.server += ", first time"
        self.add(first)
        herd.close()
        await asyncio.sleep(measures.REST * 4)
        site.broadcast(server, 10)
        herd = site.herd(server)
        back = await measures.connect(server, herd, size, tokens)
        back.server += ", back to 10 missed"
        self.add(back)
        herd.close()
        await asyncio.sleep(measures.REST * 4)

    async def bulk(self, recipients: int) -> None:
        with servers.ours() as server:
            site.make_users(server, recipients)
            count, seconds = site.bulk(server)
            values = {"seconds": seconds, "µs per recipient": seconds / count * 1e6}
            self.add(Row("bulk", "pushsite", count, values))


async def main(full: bool) -> None:
    pin(1)
    run = Run([2000, 5000, 10_000] if full else [1000, 2000], 20)
    await run.peer(servers.floor)
    await run.peer(servers.bare, fan_out=False)
    await run.ours(servers.ours, latency=True)
    await run.peer(lambda: servers.node("ws.js", "Node ws"))
    await run.peer(
        lambda: servers.node("socketio.js", "Socket.IO", "/socket.io/?EIO=4&transport=websocket"),
        fan_out=False,
    )
    await run.peer(servers.stock, most=1000 if not full else 2000)
    try:
        with servers.redis_server() as url:
            await run.ours(lambda: servers.ours(redis_url=url, name="pushsite, Redis"))
            await run.peer(lambda: servers.stock(url), most=1000 if not full else 5000)
    except Missing as reason:
        run.missing.append(str(reason))
    await run.bulk(100_000 if full else 10_000)
    report.save(run.rows, run.missing, RESULTS)
    print(report.table(run.rows))
    for reason in run.missing:
        print(f"missing: {reason}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="up to 10 000 sockets; ten minutes")
    options = parser.parse_args()
    sys.exit(uvloop.run(main(options.full)))
