"""The ASGI lifespan of the hub: ready before the first socket, stopped in good order."""

import logging
from typing import Any

from . import hub

logger = logging.getLogger(__name__)

DRAIN = "notifications.drain"


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application for the ``lifespan`` scope (ASGI lifespan protocol 2.0).

    Without it the hub starts with the first socket: until then nothing that is due is published
    by this process, and acknowledgements of the last second are lost when it stops.

    It changes nothing of the process itself, which may be the host's and serve more than this app.
    """
    await receive()
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
