"""A faulty channel layer; see the *Channel layer specification* of Channels.

It loses, duplicates, delays and therefore reorders messages. It hangs, goes down and comes back,
forgets group members, and becomes unreachable for single processes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from channels.layers import BaseChannelLayer

from .process import Process, current

#: Messages that one channel holds; more are dropped, as in other layers.
CAPACITY = 1000

Trace = Callable[..., None]


class LayerDown(ConnectionError):
    """The error that the client library of a layer raises while the layer is unreachable."""


class FaultyLayer(BaseChannelLayer):
    """The channel layer of all processes of a run.

    Args:
        chance: decides how each message is lost, duplicated and delayed.
        trace: records what happens to each message.
    """

    def __init__(self, chance: Random, trace: Trace) -> None:
        super().__init__()
        self._chance = chance
        self._trace = trace
        self._groups: dict[str, dict[str, None]] = {}
        self._queues: dict[str, deque[dict[str, Any]]] = {}
        self._owners: dict[str, Process | None] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._count = 0
        self.heal()

    def heal(self) -> None:
        """End all faults."""
        self.is_down = False
        self.is_hanging = False
        #: Shares of the messages that are lost and that are duplicated.
        self.loss = 0.0
        self.doubling = 0.0
        #: Maximum latency of a message in seconds.
        self.delay = 0.005
        #: Names of the processes that cannot reach the layer. Their calls hang without an error.
        self.cut_off: set[str] = set()

    # Faults

    def go_down(self) -> None:
        """Refuse all calls, fail pending receives, and lose the queues and the groups."""
        self.is_down = True
        for channel, waiting in list(self._waiting.items()):
            if not waiting.done():
                waiting.set_exception(LayerDown())
            self._queues[channel].clear()
        self._groups.clear()

    def forget(self, process: Process | None = None) -> None:
        """Forget the group memberships of one process, or of all."""
        for members in self._groups.values():
            for channel in list(members):
                if process is None or self._owners[channel] is process:
                    del members[channel]

    # The interface of a channel layer

    async def new_channel(self, prefix: str = "specific") -> str:
        await self._reach()
        self._count += 1
        name = f"{prefix}.{self._count}"
        self._queues[name] = deque(maxlen=CAPACITY)
        self._owners[name] = current.get()
        return name

    async def group_add(self, group: str, channel: str) -> None:
        await self._reach()
        self._trace("layer adds", channel, to=group)
        self._groups.setdefault(group, {})[channel] = None

    async def group_discard(self, group: str, channel: str) -> None:
        await self._reach()
        self._trace("layer takes", channel, out_of=group)
        self._groups.get(group, {}).pop(channel, None)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._reach()
        for channel in self._groups.get(group, {}):
            copies = 2 if self._chance.random() < self.doubling else 1
            for _ in range(copies):
                if self._chance.random() < self.loss:
                    self._trace("layer loses", group, message["type"], to=channel)
                else:
                    self._post(channel, message)

    async def receive(self, channel: str) -> dict[str, Any]:
        await self._reach()
        queue = self._queues[channel]
        while not queue:
            self._waiting[channel] = asyncio.get_running_loop().create_future()
            await self._waiting[channel]
        return queue.popleft()

    def _post(self, channel: str, message: dict[str, Any]) -> None:
        delay = self._chance.uniform(0.0005, self.delay)
        asyncio.get_running_loop().call_later(delay, self._arrive, channel, dict(message))

    def _arrive(self, channel: str, message: dict[str, Any]) -> None:
        owner = self._owners[channel]
        if self.is_down or (owner is not None and owner.name in self.cut_off):
            return
        self._trace("layer brings", message["type"], message.get("offset", ""), to=channel)
        self._queues[channel].append(message)
        waiting = self._waiting.get(channel)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def _reach(self) -> None:
        process = current.get()
        if process is not None and not process.is_alive:
            raise LayerDown
        await asyncio.sleep(self._chance.uniform(0.0002, 0.002))
        cut_off = self.cut_off
        while self.is_hanging or (process and process.name in cut_off):  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        if self.is_down:
            raise LayerDown
