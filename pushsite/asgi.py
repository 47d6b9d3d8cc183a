"""The site as an ASGI application."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pushsite.settings")
# Fills the app registry, which everything imported below needs.
django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402

from notifications import hub  # noqa: E402
from pushsite.routing import websocket  # noqa: E402


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Stop the hub in good order when the server stops (ASGI lifespan protocol 2.0)."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await hub.shutdown()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


application = ProtocolTypeRouter(
    {"http": django_application, "websocket": websocket, "lifespan": lifespan}
)
