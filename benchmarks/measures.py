"""The measurements, one function each, on a running server."""

import asyncio
import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from .herd import OPENING, Collector, Herd, cpu_seconds, now
from .results import (
    CONNECTION,
    CORE,
    DELIVERY,
    IDLE,
    KILOBYTES,
    OVERTAKEN,
    SIZE,
    SLOWEST,
    STORM,
    WALL,
    Row,
    overtaken,
)
from .servers import Server

#: Minimum number of broadcasts in a block, and its minimum duration in seconds.
ROUNDS, BLOCK_TIME = 3, 0.4
#: Number of blocks, whose median is reported.
BLOCKS = 5
#: Seconds after which a broadcast that has not arrived everywhere fails.
PATIENCE = 120.0
#: A server that uses less than this share of a processor is idle.
IDLE_SHARE = 0.04
#: Sockets opened and closed before the measurement.
WARM_UP = 100

Send = Callable[[int], None]


async def wait_until_idle(server: Server, seconds: float = 4.0) -> None:
    """Wait up to ``seconds`` until the server is idle and has written its batches."""
    deadline = now() + seconds
    quiet = 0
    while quiet < 3 and now() < deadline:
        before, began = server.cpu(), now()
        await asyncio.sleep(0.25)
        used = (server.cpu() - before) / (now() - began)
        quiet = quiet + 1 if used < IDLE_SHARE else 0


async def fan_out(
    server: Server, herd: Herd, send: Send, blocks: int = BLOCKS, benchmark: str = "fan-out"
) -> Row:
    """Measure publications to all sockets of the herd, one after another."""
    (row,) = await fan_out_in_turn(server, {server.name: (herd, send)}, blocks, benchmark)
    return row


async def fan_out_in_turn(
    server: Server, audiences: Mapping[str, tuple[Herd, Send]], blocks: int, benchmark: str
) -> list[Row]:
    """Measure publications to several herds of one server, a block to each in turn.

    So the machine's speed, which varies over time, is the same for all.

    Args:
        server: what they are connected to.
        audiences: the herds by the name of their row, each with what publishes to it alone.
        blocks: blocks for each of them.
        benchmark: name of the benchmark in the rows.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in audiences}
    with ExitStack() as stack:
        turns = {
            name: _Broadcasts(herd, stack.enter_context(Collector(herd)), send)
            for name, (herd, send) in audiences.items()
        }
        for broadcasts in turns.values():
            await broadcasts.send_one()
        for _ in range(blocks):
            for name, broadcasts in turns.items():
                found[name].append(await _block(server, audiences[name][0], broadcasts))
    return [
        Row(
            benchmark,
            name,
            len(audiences[name][0].clients),
            {value: statistics.median(block[value] for block in own) for value in own[0]},
        )
        for name, own in found.items()
    ]


class _Broadcasts:
    """Sends broadcasts one after another, and records their durations in seconds."""

    def __init__(self, herd: Herd, collector: Collector, send: Send) -> None:
        self._herd = herd
        self._collector = collector
        self._send = send
        self._sent = 0
        self.walls: list[float] = []

    async def send_one(self) -> None:
        frames = self._herd.frames + len(self._herd.clients)
        began = now()
        self._sent += 1
        self._send(self._sent)
        await asyncio.sleep(0)  # let the loop write now, because collecting blocks it
        self._collector.collect(frames, PATIENCE)
        self.walls.append(now() - began)


async def _block(server: Server, herd: Herd, broadcasts: _Broadcasts) -> dict[str, float]:
    count = len(herd.clients)
    broadcasts.walls.clear()
    usage = Usage(server)
    frames, size = herd.frames, herd.size
    while len(broadcasts.walls) < ROUNDS or now() - usage.began < BLOCK_TIME:
        await broadcasts.send_one()
    deliveries = len(broadcasts.walls) * count
    return {
        DELIVERY: usage.server() / deliveries * 1e6,
        WALL: statistics.median(broadcasts.walls) * 1e3,
        **usage.others(deliveries),
        SIZE: (herd.size - size) / (herd.frames - frames),
    }


class Usage:
    """CPU time since its creation, of the server, its stores and the client."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.began = now()
        self._before = (server.cpu(), server.stores_cpu(), cpu_seconds())

    def server(self) -> float:
        return self._server.cpu() - self._before[0]

    def stores(self) -> float:
        return self._server.stores_cpu() - self._before[1]

    def others(self, count: int) -> dict[str, float]:
        """Return the CPU time of the client and of the stores, in µs for each of ``count``."""
        client = cpu_seconds() - self._before[2]
        values = {
            "client µs": client / count * 1e6,
            "client %": client / (now() - self.began) * 100,
        }
        if self._server.stores.pids:
            values["stores µs"] = self.stores() / count * 1e6
        return values


async def connect(server: Server, herd: Herd, count: int, benchmark: str = "connect") -> Row:
    """Open ``count`` sockets as fast as possible; measure CPU and memory per socket.

    The sockets are opened in two steps, with a rest after each. "KB per connection" is the growth
    of the server's processes in the second step, divided by its number of sockets. It excludes
    one-off allocations and memory that only a storm of connects needs, because the first step has
    caused those. "KB including connect peak" is the growth over both steps, which includes them.
    """
    await herd.open(WARM_UP)
    herd.close()
    await wait_until_idle(server)
    first, size, empty = min(OPENING, count // 2), herd.size, server.memory()
    usage = Usage(server)
    await herd.open(first)
    wall, others = now() - usage.began, usage.others(first)
    await wait_until_idle(server)
    memory, more = server.memory(), Usage(server)
    await herd.open(count - first)
    wall, more_others = wall + now() - more.began, more.others(count - first)
    await wait_until_idle(server)  # the CPU time of batched writes belongs to the connects
    values = {
        CONNECTION: usage.server() / count * 1e6,
        "seconds": wall,
        **{
            name: (others[name] * first + more_others[name] * (count - first)) / count
            for name in others
        },
        SIZE: (herd.size - size) / count,
        KILOBYTES: (server.memory() - memory) / (count - first) / 1024,
        "KB including connect peak": (server.memory() - empty) / count / 1024,
    }
    return Row(benchmark, server.name, count, values)


async def idle(server: Server, sockets: int, rest: float, seconds: float) -> Row:
    """Measure the CPU of a server whose clients are connected and to which nothing is sent.

    Args:
        server: the server.
        sockets: number of its clients.
        rest: seconds to wait before: what the connects have caused does not count.
        seconds: seconds to measure.
    """
    await wait_until_idle(server)
    await asyncio.sleep(rest)
    usage = Usage(server)
    await asyncio.sleep(seconds)
    took = now() - usage.began
    values = {CORE: usage.server() / took * 100, "seconds": took}
    if server.stores.pids:
        values["stores %"] = usage.stores() / took * 100
    return Row(IDLE, server.name, sockets, values)


async def storm(server: Server, herd: Herd, count: int) -> Row:
    """Measure how long each of ``count`` clients waits that connect at the same moment."""
    herd.waits.clear()
    await herd.open(count, at_once=count)
    durations = [ready - greeted for ready, greeted in herd.waits]
    values = {
        "median s": statistics.median(durations),
        SLOWEST: max(durations),
        OVERTAKEN: overtaken([greeted for _, greeted in herd.waits]) / count * 100,
    }
    return Row(STORM, server.name, count, values)


def remarks(row: Row) -> list[str]:
    """Return warnings about rows that the client may have limited."""
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
