"""The site's settings, without the WebSocket, and with the other transports at paths of its own."""

from pushsite.settings import NOTIFICATIONS
from tests.site_settings import *  # noqa: F403

NOTIFICATIONS["TRANSPORTS"] = {
    "websocket": None,
    "http_stream": "/live/lines/",
    "sse": "/live/events",
    "emulation": "/live/send",
}
