"""Probes whether messages of the channel layer still reach this process.

A layer does not report a lost membership: the pub/sub layer of channels-redis waits silently on a
dead connection, and the core layer loses its groups when Redis loses its data. So each process
sends small messages to groups of its own and waits for them.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from django.conf import settings

from ...conf import app_settings
from ...layer import group_send
from .groups import MEMBERSHIP_TIME, Groups

#: Groups per shard: enough that the layer's hash almost certainly puts one on each shard.
PER_SHARD = 8


class ProbeLost(Exception):
    """A probe message has not come back."""


class Probe:
    """Marks the layer as down when a round of messages is lost, and as up when it comes back.

    A round sends one message to each group of the probe. While the layer is up, a round that fails
    is repeated once.

    Args:
        groups: joins the groups of the probe, and is told the result.
    """

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._loop = asyncio.get_running_loop()
        name = f"notifications.beat.{uuid.uuid4().hex}"
        self._names = [f"{name}.{number}" for number in range(count_groups())]
        #: The process has joined the groups of the probe, and so would notice that the layer fails.
        self.is_joined = False
        self._joined_at = 0.0
        self._number = 0
        self._missing: set[str] = set()
        self._all_received = asyncio.Event()

    def receive(self, message: dict[str, Any]) -> None:
        """Record that a message has come back; ignore those of earlier rounds."""
        if message["number"] == self._number:
            self._missing.discard(message["group"])
            if not self._missing:
                self._all_received.set()

    async def run(self) -> None:
        """Run one round, unless the process does not receive yet or groups are still missing."""
        groups = self._groups
        if not groups.is_receiving or not (groups.is_up or groups.has_joined_all):
            return
        try:
            await self._round()
        except Exception as error:  # whatever the layer's client library raises
            self.is_joined = False
            groups.went_down(error)
        else:
            groups.came_back()

    async def _round(self) -> None:
        await self._join()
        # One message may be lost among many messages, or the event loop may have been blocked.
        if not await self._send_and_wait() and not (
            self._groups.is_up and await self._send_and_wait()
        ):
            raise ProbeLost

    async def _join(self) -> None:
        """Join the groups, but not in each round: that would hide a lost membership."""
        if not self._groups.is_up or self._loop.time() - self._joined_at > MEMBERSHIP_TIME:
            self.is_joined = False
        if self.is_joined:
            return
        self._joined_at = self._loop.time()
        async with asyncio.timeout(app_settings.LAYER_TIMEOUT):
            for name in self._names:
                await self._groups.join_group(name)
        self.is_joined = True
        if self._groups.is_up:
            # Until now, the loss of other memberships would have gone unnoticed.
            self._groups.rejoin_all()

    async def _send_and_wait(self) -> bool:
        self._number += 1
        self._missing = set(self._names)
        self._all_received.clear()
        try:
            async with asyncio.timeout(app_settings.LAYER_TIMEOUT):
                for name in self._names:
                    message = {"type": "notifications.beat", "stream": "", "group": name}
                    await group_send(name, {**message, "number": self._number})
                await self._all_received.wait()
        except TimeoutError:
            return False
        return True


def count_groups() -> int:
    """Return the number of groups that a probe of the configured layer joins."""
    layers: dict[str, Any] = getattr(settings, "CHANNEL_LAYERS", {})
    hosts = layers.get(app_settings.CHANNEL_LAYER, {}).get("CONFIG", {}).get("hosts")
    shards = len(hosts) if isinstance(hosts, list | tuple) else 1
    return PER_SHARD * shards if shards > 1 else 1
