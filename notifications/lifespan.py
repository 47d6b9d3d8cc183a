"""The ASGI lifespan of the hub: started before the first socket, stopped gracefully."""

import logging
from typing import Any

from . import hub

logger = logging.getLogger(__name__)

DRAIN = "notifications.drain"


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application for the ``lifespan`` scope (ASGI lifespan protocol 2.0).

    Without it, the hub starts with the first socket. Until then, this process publishes nothing
    that is due; and when it stops, the acknowledgements of the last second are lost.

    It changes no settings of the process, which may belong to the host and serve other apps.
    """
    await receive()
    await hub.get_hub()
    # For servers that drain before they close the sockets: see notifications.server.stopping.
    scope.get("state", {})[DRAIN] = hub.drain
    await send({"type": "lifespan.startup.complete"})
    await receive()
    try:
        await hub.shutdown()
    except Exception:
        # If it were raised, uvicorn would assume a site without lifespan and log nothing.
        logger.exception("The hub could not stop in good order.")
        await send({"type": "lifespan.shutdown.failed"})
    else:
        await send({"type": "lifespan.shutdown.complete"})
