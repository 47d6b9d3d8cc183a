"""The site as an ASGI application."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pushsite.settings")
# Fills the app registry, which everything imported below needs.
django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402

from notifications.lifespan import lifespan  # noqa: E402
from pushsite.routing import websocket  # noqa: E402

application = ProtocolTypeRouter(
    {"http": django_application, "websocket": websocket, "lifespan": lifespan}
)
