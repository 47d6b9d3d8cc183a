"""The measurements, one function each, on a running server."""

import asyncio
import re
import statistics
from collections.abc import Awaitable, Callable

from . import site
from .herd import OPENING, Collector, Herd, cpu_seconds, now
from .results import CONNECTION, DELIVERY, KILOBYTES, P99, RECIPIENT, Row, percentile
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

TIMES = re.compile(rb'"body":"([\d.]+) ([\d.]+)"')

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


async def fan_out(server: Server, herd: Herd, send: Send, blocks: int = BLOCKS) -> Row:
    """Measure broadcasts to all sockets of the herd, one after another."""
    found: list[dict[str, float]] = []
    with Collector(herd) as collector:
        broadcasts = _Broadcasts(herd, collector, send)
        await broadcasts.send_one()
        for _ in range(blocks):
            found.append(await _block(server, herd, broadcasts))
    values = {name: statistics.median(block[name] for block in found) for name in found[0]}
    return Row("fan-out", server.name, len(herd.clients), values)


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
        "wall ms": statistics.median(broadcasts.walls) * 1e3,
        **usage.others(deliveries),
        "bytes": (herd.size - size) / (herd.frames - frames),
    }


class Usage:
    """CPU time since its creation, of the server, its stores and the client."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.began = now()
        self._before = (server.cpu(), server.stores_cpu(), cpu_seconds())

    def server(self) -> float:
        return self._server.cpu() - self._before[0]

    def others(self, count: int) -> dict[str, float]:
        """Return the CPU time of the client and of the stores, in µs for each of ``count``."""
        client = cpu_seconds() - self._before[2]
        values = {
            "client µs": client / count * 1e6,
            "client %": client / (now() - self.began) * 100,
        }
        if self._server.stores.pids:
            values["stores µs"] = (self._server.stores_cpu() - self._before[1]) / count * 1e6
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
        "bytes": (herd.size - size) / count,
        KILOBYTES: (server.memory() - memory) / (count - first) / 1024,
        "KB including connect peak": (server.memory() - empty) / count / 1024,
    }
    return Row(benchmark, server.name, count, values)


async def published(
    server: Server, first_sender: int, users: int, rate: int, seconds: float
) -> Row:
    """Measure the latency from a client's ``publish`` to another user's socket.

    Args:
        first_sender: primary key of the first of :data:`~benchmarks.site.SENDERS` users.
        users: number of receiving users.
        rate: publications per second.
        seconds: duration.
    """
    sender = site.herd(server, site.greet(range(first_sender, first_sender + site.SENDERS)))
    await sender.open(site.SENDERS)

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
    """Measure the latency from ``notify()`` in another process to the user's socket.

    Args:
        users: number of receiving users.
        rate: notifications per second.
        seconds: duration.
    """

    async def send() -> float:
        process = site.steady(server, users, rate, seconds)
        printed, _ = await asyncio.to_thread(process.communicate, timeout=60 + seconds * 4)
        return float(printed)

    row = await _latency(server, users, int(rate * seconds), send)
    return Row("notify() at 200/s", *row)


async def _latency(
    server: Server, users: int, count: int, send: Callable[[], Awaitable[float]]
) -> tuple[str, int, dict[str, float]]:
    """Measure delays by the times in the notifications, on the clock of :func:`now`."""
    delays: list[float] = []
    late: list[float] = []

    def on_payload(payload: bytes) -> None:
        # A busy server may send several publications in one frame.
        for due, sent in TIMES.findall(payload):
            if float(sent):
                delays.append(now() - float(sent))
                late.append(float(sent) - float(due))

    receivers = site.herd(server, site.greet(range(1, users + 1)))
    receivers.on_payload = on_payload
    await receivers.open(users)
    await wait_until_idle(server)
    usage = Usage(server)
    rate = await send()
    deadline = now() + 30
    while len(delays) < count and now() < deadline:  # noqa: ASYNC110 - no event to wait for
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
    """Measure one ``notify()`` to all users in another process, including the sequencing."""
    before = server.stores_cpu()
    count, seconds = site.bulk(server)
    values = {"seconds": seconds, RECIPIENT: seconds / count * 1e6}
    if server.stores.pids:
        values["stores µs"] = (server.stores_cpu() - before) / count * 1e6
    return Row("bulk", server.name, count, values)


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
