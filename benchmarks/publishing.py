"""The measurements of publishing: latencies at a steady rate, and one call for many users."""

import asyncio
import re
from collections.abc import Awaitable, Callable

from . import site
from .herd import now
from .measures import Usage, wait_until_idle
from .results import CALLER, FIRST, P99, RECIPIENT, Row, percentile
from .servers import Server

TIMES = re.compile(rb'"body":"([\d.]+) ([\d.]+)"')


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


async def bulk(server: Server, count: int) -> Row:
    """Measure one ``notify()`` to ``count`` users in another process, including the sequencing.

    The first of them is connected, and the time from the commit to that socket is measured.
    """
    arrived: list[float] = []
    first = site.herd(server, site.greet(range(1, 2)))
    first.on_payload = lambda payload: arrived.append(now())
    await first.open(1)
    before = server.stores_cpu()
    seconds, committed, grown = await asyncio.to_thread(site.bulk, server, count)
    stores = server.stores_cpu() - before
    deadline = now() + 30
    while not arrived and now() < deadline:  # noqa: ASYNC110 - no event to wait for
        await asyncio.sleep(0.05)
    first.close()
    values = {"seconds": seconds, RECIPIENT: seconds / count * 1e6, CALLER: grown / 1e6}
    if arrived:
        values[FIRST] = (arrived[0] - committed) * 1e3
    if server.stores.pids:
        values["stores µs"] = stores / count * 1e6
    return Row("bulk", server.name, count, values)
