"""The server behind the sockets of a test: one for all that an event loop has open."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.conf import settings
from django.test import override_settings

from ..conf import IN_MEMORY_LAYER, app_settings
from ..hub import shutdown
from .commits import catch_up, committing
from .threads import close_connections, give_back_lanes, use_thread_of_test


class Server:
    """What the sockets of one event loop share: the hub, and settings that suit a test."""

    def __init__(self) -> None:
        self._clients = 0
        self._lock = asyncio.Lock()
        self._stack = ExitStack()

    async def enter(self) -> None:
        """Start for the first client."""
        async with self._lock:
            if self._clients == 0:
                await self._start()
            self._clients += 1

    async def leave(self) -> None:
        """Stop after the last client."""
        async with self._lock:
            self._clients -= 1
            if self._clients == 0:
                await self._stop()

    async def _start(self) -> None:
        layer = {"BACKEND": IN_MEMORY_LAYER, "CONFIG": {"capacity": 10_000}}
        layers = {**getattr(settings, "CHANNEL_LAYERS", {}), app_settings.CHANNEL_LAYER: layer}
        self._stack.enter_context(override_settings(CHANNEL_LAYERS=layers))
        self._stack.enter_context(committing())
        use_thread_of_test()
        await sync_to_async(catch_up)()

    async def _stop(self) -> None:
        with self._stack:
            await shutdown()
            give_back_lanes()  # without a hub, as after a refused socket, nothing else has done so
            await sync_to_async(close_connections)()


_servers: WeakKeyDictionary[asyncio.AbstractEventLoop, Server] = WeakKeyDictionary()


def server() -> Server:
    return _servers.setdefault(asyncio.get_running_loop(), Server())
