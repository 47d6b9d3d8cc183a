"""The ASGI lifespan of the hub: ready before the first socket, stopped in good order."""

import gc
import logging
from typing import Any

from . import hub
from .conf import app_settings

logger = logging.getLogger(__name__)

DRAIN = "notifications.drain"


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application for the ``lifespan`` scope (ASGI lifespan protocol 2.0).

    Without it the hub starts with the first socket: until then nothing that is due is published
    by this process, and acknowledgements of the last second are lost when it stops.
    """
    await receive()
    spare_collector(app_settings.GC_THRESHOLD)
    await hub.get_hub()
    # For servers that ask before they close the sockets: see notifications.server.stopping.
    scope.get("state", {})[DRAIN] = hub.drain
    await send({"type": "lifespan.startup.complete"})
    await receive()
    try:
        await hub.shutdown()
    except Exception:
        # Raised from here, uvicorn would take it for a site without lifespan and say nothing.
        logger.exception("The hub could not stop in good order.")
        await send({"type": "lifespan.shutdown.failed"})
    else:
        await send({"type": "lifespan.shutdown.complete"})


def spare_collector(threshold: int) -> None:
    """Have the garbage collector look less often, and never again at what a start has loaded.

    Connections are many objects that live long, and Python would look through all of them every
    few hundred allocations. (Measured: 400 of the 1200 µs of CPU that a connect took.)

    Args:
        threshold: new objects after which the youngest are looked at; Python's own is 700.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(threshold, 10, 10)
