"""What is measured, each as one coroutine over a running server."""

import asyncio
import statistics
from dataclasses import dataclass

from . import site
from .herd import Herd, cpu_seconds, now
from .servers import Server

#: Time for a server to come to rest between two measurements, in seconds.
REST = 0.5


@dataclass
class Row:
    """One line of the report; µs of CPU are user and system together."""

    benchmark: str
    server: str
    sockets: int
    values: dict[str, float]


async def fan_out(server: Server, herd: Herd, rounds: int, send: "Sender") -> Row:
    """One broadcast to all sockets of the herd, again and again, each after the one before."""
    count = len(herd.clients)
    await send.warm_up(herd)
    walls: list[float] = []
    server_cpu, client_cpu = server.cpu(), cpu_seconds()
    for number in range(rounds):
        herd.expect(count)
        began = now()
        send(number)
        await herd.arrived(60)
        walls.append(now() - began)
    deliveries = count * rounds
    return Row(
        "fan-out",
        server.name,
        count,
        {
            "µs per delivery": (server.cpu() - server_cpu) / deliveries * 1e6,
            "median ms": statistics.median(walls) * 1e3,
            "client µs": (cpu_seconds() - client_cpu) / deliveries * 1e6,
        },
    )


class Sender:
    """How a broadcast is triggered; for a peer by a line to its process."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def __call__(self, number: int) -> None:
        self.server.broadcast("x" * 254)

    async def warm_up(self, herd: Herd) -> None:
        for number in range(3):
            herd.expect(len(herd.clients))
            self(-1 - number)
            await herd.arrived(60)


class SiteSender(Sender):
    """For the site by a permitted client's ``publish``: stored, sequenced, announced."""

    def __init__(self, server: Server, sender: Herd) -> None:
        super().__init__(server)
        self.sender = sender
        self.sent = 1

    def __call__(self, number: int) -> None:
        self.sent += 1
        self.sender.clients[0].send(site.publish("broadcast", self.sent))


async def connect(server: Server, herd: Herd, count: int, tokens: list[bytes] | None) -> Row:
    """Open ``count`` sockets, on the site authenticated and replayed; CPU and memory of each."""
    await asyncio.sleep(REST)
    cpu, memory, began = server.cpu(), server.memory(), now()
    await herd.open(count, site.greeting(tokens) if tokens else None)
    wall = now() - began
    await asyncio.sleep(REST * 3)  # what is written in batches belongs to it
    return Row(
        "connect",
        server.name,
        count,
        {
            "µs per connection": (server.cpu() - cpu) / count * 1e6,
            "KB per connection": (server.memory() - memory) / count / 1024,
            "seconds": wall,
        },
    )


async def latency(server: Server, sender_id: int, rate: int, seconds: float) -> Row:
    """From a client's ``publish`` to another user's socket, at a steady rate."""
    count = 20
    receivers, sender = site.herd(server), site.herd(server)
    arrivals: list[float] = []
    took = receivers.took

    def arrived(frames: int) -> None:
        arrivals.extend([now()] * frames)
        took(frames)

    receivers.took = arrived  # type: ignore[method-assign]
    await receivers.open(count, site.greeting([site.connect_as(n + 1) for n in range(count)]))
    tokens = [site.connect_as(sender_id)] * 8
    await sender.open(len(tokens), site.greeting(tokens))
    await asyncio.sleep(REST)
    sent: list[float] = []
    receivers.expect(int(rate * seconds))
    began = now()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - now()))
        sent.append(now())
        # One user after the other, so that order within a stream pairs sending and arrival.
        client = sender.clients[number % len(tokens)]
        client.send(site.publish(f"user:{number % count + 1}", number + 2))
    await receivers.arrived(30)
    delays = sorted(arrival - start for start, arrival in zip(sent, arrivals, strict=False))
    receivers.close()
    sender.close()
    return Row(
        "latency",
        server.name,
        count,
        {
            "median ms": statistics.median(delays) * 1e3,
            "p99 ms": delays[int(len(delays) * 0.99)] * 1e3,
        },
    )
