"""The site as an ASGI application."""

import os

from django import setup

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pushsite.settings")
# Populates the app registry, which the imports below need.
setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter  # noqa: E402

from notifications.lifespan import lifespan  # noqa: E402
from pushsite.handler import Handler  # noqa: E402
from pushsite.routing import websocket  # noqa: E402

application = ProtocolTypeRouter({"http": Handler(), "websocket": websocket, "lifespan": lifespan})
