"""What is measured, each as one coroutine over a running server."""

import asyncio
import re
import statistics
from collections.abc import Awaitable, Callable

from . import site
from .herd import OPENING, Collector, Herd, cpu_seconds, now
from .results import CONNECTION, DELIVERY, KILOBYTES, P99, RECIPIENT, Row, percentile
from .servers import Server

#: A block is so many rounds at least, and lasts so long at least, in seconds.
ROUNDS, BLOCK_TIME = 3, 0.4
#: Blocks whose median counts.
BLOCKS = 5
#: How long one broadcast may take before it is given up.
PATIENCE = 120.0
#: A server that uses less than this part of a processor is at rest.
AT_REST = 0.04
#: Sockets opened and closed before anything is measured.
WARM_UP = 100

TIMES = re.compile(rb'"body":"([\d.]+) ([\d.]+)"')

Send = Callable[[int], None]


async def rest(server: Server, seconds: float = 4.0) -> None:
    """Wait, so long at most, until the server does nothing: what it writes in batches is done."""
    deadline = now() + seconds
    quiet = 0
    while quiet < 3 and now() < deadline:
        before, began = server.cpu(), now()
        await asyncio.sleep(0.25)
        used = (server.cpu() - before) / (now() - began)
        quiet = quiet + 1 if used < AT_REST else 0


async def fan_out(server: Server, herd: Herd, send: Send, blocks: int = BLOCKS) -> Row:
    """One broadcast to all sockets of the herd, again and again, each after the one before."""
    found: list[dict[str, float]] = []
    with Collector(herd) as collector:
        broadcasts = _Broadcasts(herd, collector, send)
        await broadcasts.one()
        for _ in range(blocks):
            found.append(await _block(server, herd, broadcasts))
    values = {name: statistics.median(block[name] for block in found) for name in found[0]}
    return Row("fan-out", server.name, len(herd.clients), values)


class _Broadcasts:
    """Sends one after the other and keeps how long each took."""

    def __init__(self, herd: Herd, collector: Collector, send: Send) -> None:
        self._herd = herd
        self._collector = collector
        self._send = send
        self._sent = 0
        self.walls: list[float] = []

    async def one(self) -> None:
        frames = self._herd.frames + len(self._herd.clients)
        began = now()
        self._sent += 1
        self._send(self._sent)
        await asyncio.sleep(0)  # the loop writes when it comes to it, and then has to wait
        self._collector.collect(frames, PATIENCE)
        self.walls.append(now() - began)


async def _block(server: Server, herd: Herd, broadcasts: _Broadcasts) -> dict[str, float]:
    count = len(herd.clients)
    broadcasts.walls.clear()
    usage = Usage(server)
    frames, size = herd.frames, herd.size
    while len(broadcasts.walls) < ROUNDS or now() - usage.began < BLOCK_TIME:
        await broadcasts.one()
    deliveries = len(broadcasts.walls) * count
    return {
        DELIVERY: usage.server() / deliveries * 1e6,
        "wall ms": statistics.median(broadcasts.walls) * 1e3,
        **usage.others(deliveries),
        "bytes": (herd.size - size) / (herd.frames - frames),
    }


class Usage:
    """CPU since it was made: of the server, its stores and the client."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.began = now()
        self._before = (server.cpu(), server.stores_cpu(), cpu_seconds())

    def server(self) -> float:
        return self._server.cpu() - self._before[0]

    def others(self, count: int) -> dict[str, float]:
        """What is printed beside: µs of the client and of the stores for each of ``count``."""
        client = cpu_seconds() - self._before[2]
        values = {
            "client µs": client / count * 1e6,
            "client %": client / (now() - self.began) * 100,
        }
        if self._server.stores.pids:
            values["stores µs"] = (self._server.stores_cpu() - self._before[1]) / count * 1e6
        return values


async def connect(server: Server, herd: Herd, count: int, benchmark: str = "connect") -> Row:
    """Open ``count`` sockets, as fast as they can be taken; CPU and memory of each.

    Memory is what the server's processes grow by from the first of the sockets to all, each time
    after a rest: what is there once, and what a storm needs in passing, the first have paid for.
    Beside it stands what they grow by from before the first socket, which includes both.
    """
    await herd.open(WARM_UP)
    herd.close()
    await rest(server)
    first, size, empty = min(OPENING, count // 2), herd.size, server.memory()
    usage = Usage(server)
    await herd.open(first)
    wall, others = now() - usage.began, usage.others(first)
    await rest(server)
    memory, more = server.memory(), Usage(server)
    await herd.open(count - first)
    wall, more_others = wall + now() - more.began, more.others(count - first)
    await rest(server)  # what is written in batches belongs to it
    values = {
        CONNECTION: usage.server() / count * 1e6,
        "seconds": wall,
        **{
            name: (others[name] * first + more_others[name] * (count - first)) / count
            for name in others
        },
        "bytes": (herd.size - size) / count,
        KILOBYTES: (server.memory() - memory) / (count - first) / 1024,
        "KB with the storm": (server.memory() - empty) / count / 1024,
    }
    return Row(benchmark, server.name, count, values)


async def published(server: Server, sender_id: int, users: int, rate: int, seconds: float) -> Row:
    """From a client's ``publish`` to another user's socket, at a steady rate."""
    sender = site.herd(server, site.greet(range(sender_id, sender_id + 1)))
    sender.greeting = lambda number: [site.connect_as(sender_id)]
    await sender.open(8)  # a connection may send 50 commands a second

    async def send() -> float:
        began = now()
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - now()))
            command = site.publish(f"user:{number % users + 1}", number + 2, f"{due} {now()}")
            sender.clients[number % len(sender.clients)].send(command)
        return int(rate * seconds) / (now() - began)

    row = await _latency(server, users, int(rate * seconds), send)
    sender.close()
    return Row("publish by a client at 200/s", *row)


async def notified(server: Server, users: int, rate: int, seconds: float) -> Row:
    """From ``notify()`` in another process to the user's socket, at a steady rate."""

    async def send() -> float:
        process = site.steady(server, users, rate, seconds)
        printed, _ = await asyncio.to_thread(process.communicate, timeout=60 + seconds * 4)
        return float(printed)

    row = await _latency(server, users, int(rate * seconds), send)
    return Row("notify() at 200/s", *row)


async def _latency(
    server: Server, users: int, count: int, send: Callable[[], Awaitable[float]]
) -> tuple[str, int, dict[str, float]]:
    """Delays by the times that the notifications carry, on the clock that all share."""
    delays: list[float] = []
    late: list[float] = []

    def hear(payload: bytes) -> None:
        # A busy server may send several publications in one frame.
        for due, sent in TIMES.findall(payload):
            if float(sent):
                delays.append(now() - float(sent))
                late.append(float(sent) - float(due))

    receivers = site.herd(server, site.greet(range(1, users + 1)))
    receivers.hear = hear
    await receivers.open(users)
    await rest(server)
    usage = Usage(server)
    rate = await send()
    deadline = now() + 30
    while len(delays) < count and now() < deadline:  # noqa: ASYNC110 - until the last, or too late
        await asyncio.sleep(0.05)
    receivers.close()
    if not delays:
        raise RuntimeError("nothing arrived")
    values = {
        "median ms": percentile(delays, 50) * 1e3,
        P99: percentile(delays, 99) * 1e3,
        "max ms": max(delays) * 1e3,
        "lost": float(count - len(delays)),
        "rate": rate,
        "sent late, p99 ms": percentile(late, 99) * 1e3,
        "server µs": usage.server() / count * 1e6,
    }
    return server.name, users, values


def bulk(server: Server) -> Row:
    """``notify()`` to everybody from another process, to the end of sequencing."""
    before = server.stores_cpu()
    count, seconds = site.bulk(server)
    values = {"seconds": seconds, RECIPIENT: seconds / count * 1e6}
    if server.stores.pids:
        values["stores µs"] = (server.stores_cpu() - before) / count * 1e6
    return Row("bulk", server.name, count, values)


def remarks(row: Row) -> list[str]:
    """Where the client may have been what was measured."""
    own = row.values.get(DELIVERY, row.values.get(CONNECTION))
    client, share = row.values.get("client µs"), row.values.get("client %")
    if own is None or client is None or share is None:
        return []
    which = f"{row.benchmark}, {row.server}, {row.sockets} sockets"
    if share > 90:
        return [f"{which}: the client is the bottleneck ({share:.0f} % of its processor)"]
    if client > own:
        return [
            f"{which}: the client used more CPU ({client:.3g} µs) than the server ({own:.3g} µs), "
            f"though only {share:.0f} % of its processor"
        ]
    return []
