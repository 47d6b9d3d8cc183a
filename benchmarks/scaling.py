"""Two workers on one processor and on two: the same sockets, and a client that sleeps meanwhile."""

import asyncio
import statistics
import time
from collections.abc import Sequence

from . import processes
from .herd import Collector, Herd, now
from .measures import PATIENCE, Send
from .results import SCALING, SPEED_UP, Row
from .servers import Server

#: Broadcasts of a block. The buffers of the sockets hold them, so the server never waits for the
#: client.
BROADCASTS = 10
#: Seconds between two looks at the server, and seconds without work after which it has written all.
PAUSE, SETTLED = 0.005, 0.1
#: A server that uses more than this share of a processor is still writing.
BUSY_SHARE = 0.2


async def scaling(server: Server, herd: Herd, send: Send, blocks: int) -> Row:
    """Measure how much faster two workers write to all sockets if each has its own processor.

    The client shares one of the two processors, so it sleeps until all is written. Blocks on one
    processor and on two take turns, so a change of the machine's speed touches both.
    """
    pids = processes.tree(server.process.pid)
    found: dict[str, list[float]] = {"one processor ms": [], "two processors ms": []}
    sent = 0
    try:
        with Collector(herd) as collector:
            for _ in range(blocks):
                for name, cpus in zip(
                    found, (processes.SERVER_CPUS, processes.ALL_CPUS), strict=True
                ):
                    processes.pin(pids, cpus)
                    frames = herd.frames + BROADCASTS * len(herd.clients)
                    began = now()
                    for _ in range(BROADCASTS):
                        sent += 1
                        send(sent)
                    await asyncio.sleep(0)  # let the loop write now
                    found[name].append((_all_written_at(pids) - began) * 1e3)
                    collector.collect(frames, PATIENCE)
    finally:
        processes.pin(pids, processes.SERVER_CPUS)
    values = {name: statistics.median(walls) for name, walls in found.items()}
    one, two = values.values()
    return Row(SCALING, server.name, len(herd.clients), {**values, SPEED_UP: one / two})


def _all_written_at(pids: Sequence[int]) -> float:
    """Wait until the processes rest, and return when they have last worked."""
    used, looked = processes.cpu_seconds(pids), now()
    last = looked
    while now() - last < SETTLED:
        time.sleep(PAUSE)
        found, at = processes.cpu_seconds(pids), now()
        if found - used > BUSY_SHARE * (at - looked):
            last = at
        used, looked = found, at
    return last
