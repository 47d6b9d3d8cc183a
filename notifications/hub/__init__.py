"""The hub of this process: one per event loop, created for its first connection."""

import asyncio
import atexit
import logging
import os

from ..database.lanes import close_threads
from .delivery.stream import LocalStream
from .hub import Hub
from .sockets.connection import Connection
from .sockets.writing import Socket, open_socket

__all__ = [
    "Connection",
    "Hub",
    "LocalStream",
    "Socket",
    "drain",
    "get_hub",
    "open_socket",
    "shutdown",
]

#: Seconds in which a hub must have stopped when the process ends.
PATIENCE = 8.0

#: Seconds in which close frames leave, and consumers take their disconnect.
FAREWELL = 0.1

logger = logging.getLogger(__name__)

_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}

# A child has no part in the loop of its parent.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_hubs.clear)


async def get_hub() -> Hub:
    """Return the running hub of this event loop; create and start one if there is none."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        for other in [other for other in list(_hubs) if other.is_closed()]:
            _hubs.pop(other, None)  # it was closed without a shutdown
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


@atexit.register
def _stop_at_exit() -> None:
    """Stop the hubs of servers that do not announce their end by the ASGI lifespan, as daphne.

    Such a server leaves its loop behind with consumers that wait in it, or the loop still runs in
    a thread (``runserver`` with its reloader). Positions would not be written, and CPython 3.11
    crashes (SIGSEGV) when it clears a waiting ``asyncio.Queue.get`` away at the very end.
    """
    for loop, hub in list(_hubs.items()):
        if loop.is_closed():
            continue
        try:
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(_stop(hub), loop).result(PATIENCE)
            else:
                loop.run_until_complete(_stop(hub))
        except Exception:
            logger.exception("The hub could not stop in good order.")


async def _stop(hub: Hub) -> None:
    async with asyncio.timeout(PATIENCE):
        await hub.stop()
        await asyncio.sleep(FAREWELL)
