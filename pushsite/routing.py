"""Where a websocket handshake goes."""

from typing import Any, cast

from channels.routing import URLRouter
from django.conf import settings
from django.urls import re_path

from notifications.origin import AllowedOriginValidator
from notifications.routing import websocket_urlpatterns


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """Answer the handshake of an unknown path with 403, which URLRouter would log as an error."""
    await receive()
    await send({"type": "websocket.close"})


_router = AllowedOriginValidator(
    URLRouter([*websocket_urlpatterns, re_path("", cast(Any, refuse))])
)


async def websocket(scope: Any, receive: Any, send: Any) -> None:
    """Route a websocket, whether or not the proxy has removed ``SCRIPT_NAME`` from its path.

    URLRouter insists that a path starts with ``root_path``, Django's own handler does not mind.
    """
    prefix = settings.FORCE_SCRIPT_NAME or ""
    below_prefix = scope["path"].startswith(f"{prefix}/")
    await _router({**scope, "root_path": prefix if below_prefix else ""}, receive, send)
