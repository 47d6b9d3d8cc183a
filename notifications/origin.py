"""Which pages may open a socket: cross-site WebSocket hijacking stops here (RFC 6455, 10.2)."""

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import OriginValidator
from django.conf import settings

from .conf import app_settings


class AllowedOriginValidator:
    """ASGI middleware: refuses upgrades whose ``Origin`` is not a page of this site.

    Allowed are the hosts of ``ALLOWED_HOSTS`` and the origins of the setting
    ``ALLOWED_ORIGINS``. A request without ``Origin`` does not come from a browser, which always
    sends one, and is let through: native clients authenticate by token.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if _origin(scope) is None:
            await self.application(scope, receive, send)
            return
        await OriginValidator(self.application, _allowed())(scope, receive, send)


def _origin(scope: Any) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == b"origin"), None)


def _allowed() -> list[str]:
    hosts = list(settings.ALLOWED_HOSTS)
    if settings.DEBUG and not hosts:
        hosts = ["localhost", "127.0.0.1", "[::1]"]
    return [*hosts, *(origin for origin in app_settings.ALLOWED_ORIGINS if urlsplit(origin).scheme)]
