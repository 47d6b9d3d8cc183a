"""The hub of this process: made with its first connection, one per event loop."""

import asyncio

from ..database.lanes import close_threads
from .delivery.stream import LocalStream
from .hub import Hub
from .sockets.connection import Connection
from .sockets.writing import open_socket

__all__ = ["Connection", "Hub", "LocalStream", "drain", "get_hub", "open_socket", "shutdown"]

_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


async def get_hub() -> Hub:
    """The running hub of this event loop; starts it when there is none."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = hub = Hub()
        await hub.start()
    return _hubs[loop]


async def drain(hurry: asyncio.Event) -> None:
    """Send the clients of this event loop's hub elsewhere, in waves; see :meth:`Hub.drain`."""
    hub = _hubs.get(asyncio.get_running_loop())
    if hub is not None:
        await hub.drain(hurry)


async def shutdown() -> None:
    """Stop this event loop's hub in order; its connections are closed with 3001."""
    hub = _hubs.pop(asyncio.get_running_loop(), None)
    if hub is not None:
        await hub.stop()
        await asyncio.get_running_loop().run_in_executor(None, close_threads)
