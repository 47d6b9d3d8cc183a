"""Routing of websocket handshakes."""

from typing import Any, cast

from channels.routing import URLRouter
from django.conf import settings
from django.urls import re_path

from notifications.origin import AllowedOriginValidator, refuse
from notifications.routing import websocket_urlpatterns

# The last pattern matches any path; without it, URLRouter raises for an unknown one.
_router = AllowedOriginValidator(
    URLRouter([*websocket_urlpatterns, re_path("", cast(Any, refuse))])
)


async def websocket(scope: Any, receive: Any, send: Any) -> None:
    """Route a websocket, whether or not the proxy has removed ``SCRIPT_NAME`` from its path.

    URLRouter requires a path that starts with ``root_path``; Django's own handler does not.
    """
    prefix = settings.FORCE_SCRIPT_NAME or ""
    below_prefix = scope["path"].startswith(f"{prefix}/")
    await _router({**scope, "root_path": prefix if below_prefix else ""}, receive, send)
