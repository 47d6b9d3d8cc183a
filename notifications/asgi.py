"""The whole host as one ASGI application: its pages, the sockets, and the lifespan."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import URLPattern, path, re_path

from .consumers import NotificationConsumer
from .lifespan import lifespan
from .logs import quoted
from .origin import AllowedOriginValidator, Refusals, refuse
from .transports.durable_streams.application import durable_streams
from .transports.emulated import SSE, HTTPStream
from .transports.emulation import Emulate
from .transports.one_way import OneWayHTTPStream, OneWaySSE
from .transports.query import QueryHider
from .transports.uni_websocket import OneWayConsumer

logger = logging.getLogger(__name__)

#: An ASGI 3 application: scope, receive, send.
ASGIApplication = Callable[[Any, Any, Any], Awaitable[None]]

websocket_urlpatterns = [
    path("connection/websocket", NotificationConsumer.as_asgi()),
    path("connection/uni_websocket", OneWayConsumer.as_asgi()),
]

#: What is answered over HTTP without Django's handlers and middleware: responses that stay open.
http_urlpatterns: list[URLPattern] = [
    path("streams/<path:name>", cast(Any, durable_streams)),
    path("connection/http_stream", HTTPStream.as_asgi()),
    path("connection/sse", SSE.as_asgi()),
    path("emulation", Emulate.as_asgi()),
    path("connection/uni_sse", OneWaySSE.as_asgi()),
    path("connection/uni_http_stream", OneWayHTTPStream.as_asgi()),
]


def compose(http: ASGIApplication, more: Sequence[URLPattern]) -> ASGIApplication:
    """Compose what :func:`notifications.routing.application` promises.

    Args:
        http: answers requests.
        more: routes to the host's own consumers.
    """
    # The last one: URLRouter raises for an unknown path, and servers answer that with 500.
    routes = [*websocket_urlpatterns, *more, re_path("", cast(Any, _Nothing()))]
    sockets = QueryHider(AllowedOriginValidator(_BelowPrefix(URLRouter(routes))))
    application: ASGIApplication = ProtocolTypeRouter(
        {"http": _requests(http), "websocket": sockets, "lifespan": lifespan}
    )
    return application


def _requests(django_application: ASGIApplication) -> ASGIApplication:
    if not http_urlpatterns:
        return django_application
    return _OwnPaths(QueryHider(_BelowPrefix(URLRouter(http_urlpatterns))), django_application)


class _OwnPaths:
    """Passes requests for a path of ours to the router, and all others to Django, as they are."""

    def __init__(self, ours: ASGIApplication, others: ASGIApplication) -> None:
        self._ours = ours
        self._others = others

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = path_below_prefix(scope)
        is_ours = any(pattern.pattern.match(path) for pattern in http_urlpatterns)
        await (self._ours if is_ours else self._others)(scope, receive, send)


def path_below_prefix(scope: Any) -> str:
    """Return the path of a request below the site's prefix, without a slash at the beginning."""
    prefix = _prefix(scope)
    path: str = scope["path"]
    return (path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path).lstrip("/")


def _prefix(scope: Any) -> str:
    return (settings.FORCE_SCRIPT_NAME or scope.get("root_path") or "").rstrip("/")


class _BelowPrefix:
    """Lets a router find a path below the site's prefix, whether or not a proxy has removed it.

    The prefix is what Django's own handler takes for it: ``FORCE_SCRIPT_NAME``, else the server's
    ``root_path``. URLRouter insists that a path starts with ``root_path``; in Django, and with
    daphne's ``runserver``, it need not.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        prefix = _prefix(scope)
        path = scope["path"]
        if not path.startswith(f"{prefix}/"):
            path = prefix + path
        await self._application({**scope, "root_path": prefix, "path": path}, receive, send)


class _Nothing:
    """Refuses a websocket at a path where there is none, and tells the log of it."""

    def __init__(self) -> None:
        self._refusals = Refusals(logger)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._refusals.log(f"there is none at {quoted(scope['path'])}")
        await refuse(scope, receive, send)
