"""Many devices in one thread, each of which is dropped repeatedly while messages flow."""

import asyncio
import json
import random
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from tests.client import Position, Received
from tests.faults.ledger import Seen

#: Seconds that a device stays away, and the range of seconds that it stays connected.
SECONDS_AWAY = 2.0
SECONDS_CONNECTED = (1.0, 4.0)


class Visitor:
    """A device that loses its connection, stays away, and comes back with its positions."""

    def __init__(self, url: str, token: str, channel: str) -> None:
        self.url = url
        self.token = token
        self.channel = channel
        self.publications: list[Received] = []
        self.positions: dict[str, Position] = {}
        #: Channels that the server could not recover.
        self.unrecovered: list[str] = []
        self.violations: list[str] = []
        self.drops = 0
        #: Its current state, for the message of a failure.
        self.what = ""

    async def come_and_go(self, until: asyncio.Event, chance: random.Random) -> None:
        """Reconnect and get dropped until ``until`` is set; then stay until cancelled."""
        await asyncio.sleep(chance.uniform(0, SECONDS_AWAY))
        while not until.is_set():
            with suppress(OSError, WebSocketException, TimeoutError):
                async with asyncio.timeout(chance.uniform(*SECONDS_CONNECTED)):
                    await self._stay()
            self.drops += 1
            await asyncio.sleep(SECONDS_AWAY)
        while True:
            with suppress(OSError, WebSocketException, InvalidHandshake):
                await self._stay()
            await asyncio.sleep(0.1)

    async def _stay(self) -> None:
        self.what = "opens"
        socket = await connect(
            self.url, compression=None, ping_interval=None, max_size=None, proxy=None
        )
        try:
            self.what = "connects"
            await socket.send(json.dumps({"id": 1, "connect": self._request()}))
            async for frame in socket:
                for line in str(frame).split("\n"):
                    await self._take(json.loads(line), socket)
        finally:
            # No closing handshake: what is in transit is lost.
            socket.transport.abort()

    def _request(self) -> dict[str, Any]:
        subs = {
            name: {"recover": True, "epoch": epoch, "offset": offset}
            for name, (epoch, offset) in self.positions.items()
        }
        return {"token": self.token, "subs": subs}

    async def _take(self, reply: dict[str, Any], socket: ClientConnection) -> None:
        if not reply:
            await socket.send("{}")
        elif "error" in reply:
            if not reply["error"].get("temporary"):
                self.violations.append(f"an error: {reply}")
            raise ConnectionError("to come back")
        elif "connect" in reply:
            self.what = "is connected"
        for name, sub in reply.get("connect", {}).get("subs", {}).items():
            self._resume(name, sub)
        push = reply.get("push", {})
        if "pub" in push:
            self._publication(push["channel"], push["pub"])

    def _resume(self, name: str, sub: dict[str, Any]) -> None:
        if sub.get("was_recovering") and not sub.get("recovered"):
            self.unrecovered.append(name)
        if name not in self.positions:
            self.positions[name] = Position(sub["epoch"], 0)
        for publication in sub.get("publications", []):
            self._publication(name, publication)
        self.positions[name] = Position(sub["epoch"], sub.get("offset", 0))

    def _publication(self, name: str, publication: dict[str, Any]) -> None:
        offset = publication["offset"]
        if offset <= self.positions[name].offset:
            return  # the wire may repeat a publication; SDKs drop the duplicate
        self.positions[name] = self.positions[name]._replace(offset=offset)
        received = Received(name, offset, publication["data"], time.monotonic())
        self.publications.append(received)

    def __repr__(self) -> str:
        return f"<Visitor {self.channel} {self.drops} drops {self.positions} {self.what}>"

    @property
    def seen(self) -> Seen:
        return Seen(self.channel, list(self.publications))


class Crowd:
    """All visitors. Call :meth:`run` in a thread of its own; the other methods are thread-safe."""

    def __init__(self, visitors: Iterable[Visitor], seed: int) -> None:
        self.visitors = list(visitors)
        self._chance = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._calm = asyncio.Event()
        self._over = asyncio.Event()

    def run(self) -> None:
        try:
            self._loop.run_until_complete(self._run())
        finally:
            self._loop.close()

    @property
    def fewest_drops(self) -> int:
        """The smallest number of drops of any visitor."""
        return min(visitor.drops for visitor in self.visitors)

    def stop_dropping(self) -> None:
        """Stop dropping visitors."""
        self._loop.call_soon_threadsafe(self._calm.set)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._calm.set)
        self._loop.call_soon_threadsafe(self._over.set)

    async def _run(self) -> None:
        tasks = [
            asyncio.create_task(
                visitor.come_and_go(self._calm, random.Random(self._chance.random()))
            )
            for visitor in self.visitors
        ]
        await self._over.wait()
        for task, visitor in zip(tasks, self.visitors, strict=True):
            if task.done():
                visitor.violations.append(f"it has given up: {task.exception()!r}")
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
