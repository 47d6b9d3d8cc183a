"""The site as an ASGI application."""

import logging
import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pushsite.settings")
# Fills the app registry, which everything imported below needs.
django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402

from notifications import hub  # noqa: E402
from pushsite.routing import websocket  # noqa: E402

logger = logging.getLogger(__name__)


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Start the hub with the server and stop it in good order (ASGI lifespan protocol 2.0).

    The hub would start with the first socket too; but what is due has to be published although
    nobody is connected yet.
    """
    await receive()
    await hub.get_hub()
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


application = ProtocolTypeRouter(
    {"http": django_application, "websocket": websocket, "lifespan": lifespan}
)
