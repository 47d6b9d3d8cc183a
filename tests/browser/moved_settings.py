"""The site's settings, without the WebSocket, and with the other transports at paths of its own."""

from pushsite.settings import *  # noqa: F403
from pushsite.settings import NOTIFICATIONS

NOTIFICATIONS["TRANSPORTS"] = {
    "websocket": None,
    "http_stream": "/live/lines/",
    "sse": "/live/events",
    "emulation": "/live/send",
}
