"""The process's membership in layer groups: one channel, a group for each stream read here."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from channels.layers import get_channel_layer

from ..conf import app_settings
from ..layer import group_name
from .loops import Loops
from .stream import LocalStream

#: Layers end a group membership after a day unless it is renewed; seconds.
MEMBERSHIP_TIME = 6 * 3600.0

RECEIVING = "receiving from the channel layer"
CHANGING = "changing groups of the channel layer"


class Groups:
    """Joins and leaves. What the layer refuses is reported and tried again (P4).

    Args:
        streams: the streams of this process, by name; idle ones are taken out when they are left.
    """

    def __init__(self, streams: dict[str, LocalStream], loops: Loops) -> None:
        self._streams = streams
        self._loops = loops
        self._loop = asyncio.get_running_loop()
        self._layer: Any = get_channel_layer(app_settings.CHANNEL_LAYER)
        self._channel = ""
        self._works = True
        # Membership changes one after the other: a group that is joined again while it is being
        # left must stay joined.
        self._lock = asyncio.Lock()

    async def receive(self, take: Callable[[dict[str, Any]], None]) -> None:
        """Hand over the layer's messages, one after the other, until the layer fails."""
        try:
            if not self._channel:
                self._channel = await self._layer.new_channel("notifications")
                await self._join_missing()
            while True:
                message = await self._layer.receive(self._channel)
                self._loops.works(RECEIVING)
                take(message)
        except Exception as error:  # whatever the layer's client library raises
            self._loops.report(RECEIVING, error, expected=True)
            await asyncio.sleep(1.0)

    async def join(self, stream: LocalStream) -> None:
        """Join the stream's group, unless the process is in it.

        While the layer fails this is left to :meth:`sweep`: nobody who connects waits for it.
        """
        if self._works and not stream.is_joined:
            await self._join(stream)

    async def sweep(self) -> None:
        """Leave the groups that nobody here reads any more; join what could not be joined.

        It ends with the first failure. The others would fail too, each after its time.
        """
        await self._join_missing()
        for stream in list(self._streams.values()):
            if stream.is_idle and not stream.busy:
                await self._leave(stream)
            elif self._loop.time() - stream.joined_at > MEMBERSHIP_TIME:
                stream.is_joined = False
            if not self._works:
                return

    async def _join_missing(self) -> None:
        for stream in list(self._streams.values()):
            if stream.is_joined or stream.is_idle:
                continue
            await self._join(stream)
            if not self._works:
                return

    async def _join(self, stream: LocalStream) -> None:
        async with self._lock:
            if stream.is_joined or not self._channel:
                return
            stream.joined_at = self._loop.time()
            # Meanwhile the position check stands in.
            stream.is_joined = await self._change(self._layer.group_add, stream)

    async def _leave(self, stream: LocalStream) -> None:
        async with self._lock:
            if not stream.is_idle or self._streams.get(stream.name) is not stream:
                return
            del self._streams[stream.name]
            if stream.is_joined:
                await self._change(self._layer.group_discard, stream)

    async def _change(self, change: Callable[..., Awaitable[None]], stream: LocalStream) -> bool:
        try:
            async with asyncio.timeout(app_settings.LAYER_TIMEOUT):
                await change(group_name(stream.name), self._channel)
        except Exception as error:  # whatever the layer's client library raises
            self._works = False
            self._loops.report(CHANGING, error, expected=True)
        else:
            self._works = True
            self._loops.works(CHANGING)
        return self._works
