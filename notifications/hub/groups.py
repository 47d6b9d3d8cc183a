"""The process's membership in layer groups: one channel, a group for each stream read here."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from channels.layers import get_channel_layer

from ..conf import app_settings
from ..layer import group_name
from .stream import LocalStream

#: Layers end a group membership after a day unless it is renewed; seconds.
MEMBERSHIP_TIME = 6 * 3600.0


class Report(Protocol):
    """See :meth:`notifications.hub.loops.Loops.report`."""

    def __call__(self, name: str, error: Exception, *, expected: bool = False) -> None: ...


class Groups:
    """Joins and leaves. What the layer refuses is reported and tried again (P4).

    Args:
        streams: the streams of this process, by name; idle ones are taken out when they are left.
    """

    def __init__(self, streams: dict[str, LocalStream], report: Report) -> None:
        self._streams = streams
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._layer: Any = get_channel_layer(app_settings.CHANNEL_LAYER)
        self._channel = ""
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
                take(await self._layer.receive(self._channel))
        except Exception as error:  # whatever the layer's client library raises
            self._report("receiving from the channel layer", error, expected=True)
            await asyncio.sleep(1.0)

    async def join(self, stream: LocalStream) -> None:
        """Join the stream's group, unless the process is in it."""
        if stream.is_joined:
            return
        async with self._lock:
            if stream.is_joined or not self._channel:
                return
            stream.joined_at = self._loop.time()
            try:
                async with asyncio.timeout(app_settings.LAYER_TIMEOUT):
                    await self._layer.group_add(group_name(stream.name), self._channel)
            except Exception as error:
                # The position check stands in, and the next sweep tries again.
                self._report("joining a group", error, expected=True)
            else:
                stream.is_joined = True

    async def sweep(self) -> None:
        """Leave the groups that nobody here reads any more; join what could not be joined."""
        for stream in list(self._streams.values()):
            if stream.is_idle and not stream.busy:
                await self._leave(stream)
            elif self._loop.time() - stream.joined_at > MEMBERSHIP_TIME:
                stream.is_joined = False
        await self._join_missing()

    async def _join_missing(self) -> None:
        for stream in list(self._streams.values()):
            await self.join(stream)

    async def _leave(self, stream: LocalStream) -> None:
        async with self._lock:
            if not stream.is_idle:
                return
            del self._streams[stream.name]
            if not stream.is_joined:
                return
            try:
                async with asyncio.timeout(app_settings.LAYER_TIMEOUT):
                    await self._layer.group_discard(group_name(stream.name), self._channel)
            except Exception as error:
                self._report("leaving a group", error, expected=True)
