"""The ASGI application, as the README shows it."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from notifications.lifespan import lifespan  # noqa: E402
from notifications.origin import AllowedOriginValidator  # noqa: E402
from notifications.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": AllowedOriginValidator(URLRouter(websocket_urlpatterns)),
        "lifespan": lifespan,
    }
)
