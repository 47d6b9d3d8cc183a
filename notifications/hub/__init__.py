"""The hub of this process: one per event loop, created for its first connection."""

import asyncio

from ..database.lanes import close_threads
from .delivery.stream import LocalStream
from .hub import Hub
from .sockets.connection import Connection
from .sockets.writing import open_socket

__all__ = ["Connection", "Hub", "LocalStream", "drain", "get_hub", "open_socket", "shutdown"]

_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


async def get_hub() -> Hub:
    """Return the running hub of this event loop; create and start one if there is none."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = hub = Hub()
        await hub.start()
    return _hubs[loop]


async def drain(hurry: asyncio.Event) -> None:
    """Close the connections of this event loop's hub in waves; see :meth:`Hub.drain`.

    Args:
        hurry: cuts all waits short once it is set.
    """
    hub = _hubs.get(asyncio.get_running_loop())
    if hub is not None:
        await hub.drain(hurry)


async def shutdown() -> None:
    """Stop this event loop's hub and close its connections with 3001."""
    hub = _hubs.pop(asyncio.get_running_loop(), None)
    if hub is not None:
        await hub.stop()
        await asyncio.get_running_loop().run_in_executor(None, close_threads)
