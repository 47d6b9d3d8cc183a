"""Which pages may open a socket: cross-site WebSocket hijacking stops here (RFC 6455, 10.2)."""

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import OriginValidator, WebsocketDenier
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
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if not origins:
            await self.application(scope, receive, send)
            return
        if not all(_can_be_read(origin) for origin in origins):
            await WebsocketDenier()(scope, receive, send)
            return
        await OriginValidator(self.application, _allowed())(scope, receive, send)


def _can_be_read(origin: bytes) -> bool:
    """Would Channels take it apart without an exception?"""
    try:
        urlsplit(origin.decode("latin-1")).port  # noqa: B018 - it is parsed when it is read
    except ValueError:
        return False
    return True


def _allowed() -> list[str]:
    hosts = list(settings.ALLOWED_HOSTS)
    if settings.DEBUG and not hosts:
        hosts = ["localhost", "127.0.0.1", "[::1]"]
    return [*hosts, *(origin for origin in app_settings.ALLOWED_ORIGINS if urlsplit(origin).scheme)]
