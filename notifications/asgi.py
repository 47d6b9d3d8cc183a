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
from .paths import find, paths
from .transports.durable_streams.application import durable_streams
from .transports.emulated import SSE, HTTPStream
from .transports.emulation import Emulate
from .transports.one_way import OneWayHTTPStream, OneWaySSE
from .transports.query import QueryHider
from .transports.uni_websocket import OneWayConsumer

logger = logging.getLogger(__name__)

#: An ASGI 3 application: scope, receive, send.
ASGIApplication = Callable[[Any, Any, Any], Awaitable[None]]

#: What opens sockets, by the name of the transport.
SOCKETS: dict[str, ASGIApplication] = {
    "websocket": NotificationConsumer.as_asgi(),
    "uni_websocket": OneWayConsumer.as_asgi(),
}

#: What is answered over HTTP without Django's handlers and middleware: responses that stay open.
REQUESTS: dict[str, ASGIApplication] = {
    "http_stream": QueryHider(HTTPStream.as_asgi()),
    "sse": QueryHider(SSE.as_asgi()),
    "emulation": Emulate.as_asgi(),
    "uni_sse": QueryHider(OneWaySSE.as_asgi()),
    "uni_http_stream": QueryHider(OneWayHTTPStream.as_asgi()),
    "streams": durable_streams,
}


def compose(http: ASGIApplication, more: Sequence[URLPattern]) -> ASGIApplication:
    """Compose what :func:`notifications.routing.application` promises.

    Args:
        http: answers requests.
        more: routes to the host's own consumers.
    """
    # The last one: URLRouter raises for an unknown path, and servers answer that with 500.
    routes = [*more, re_path("", cast(Any, _Nothing()))]
    sockets = _OwnPaths(SOCKETS, _BelowPrefix(URLRouter(routes)))
    application: ASGIApplication = ProtocolTypeRouter(
        {
            "http": _OwnPaths(REQUESTS, http),
            "websocket": QueryHider(AllowedOriginValidator(sockets)),
            "lifespan": lifespan,
        }
    )
    return application


def socket_urlpatterns() -> list[URLPattern]:
    """Return routes to the sockets that are on, as ``URLRouter`` takes them."""
    known = paths()
    return [
        path(known[name].removeprefix("/"), cast(Any, application))
        for name, application in SOCKETS.items()
        if name in known
    ]


class _OwnPaths:
    """Passes what is for a path of ours to its application, and all else on, as it is.

    Args:
        ours: by the names of transports.
        others: gets what is not for any of these.
    """

    def __init__(self, ours: dict[str, ASGIApplication], others: ASGIApplication) -> None:
        self._ours = ours
        self._others = others

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        # Not awaited here: thousands of sockets would keep a frame each of this method.
        found = find(path_below_prefix(scope), self._ours)
        if found is None:
            return self._others(scope, receive, send)
        if found.rest:
            scope = {**scope, "url_route": {"args": (), "kwargs": {"name": found.rest}}}
        return self._ours[found.name](scope, receive, send)


def path_below_prefix(scope: Any) -> str:
    """Return the path of a request below the site's prefix, whether or not a proxy has removed it.

    The prefix is what Django's own handler takes for it: ``FORCE_SCRIPT_NAME``, else the server's
    ``root_path``.
    """
    prefix = _prefix(scope)
    path: str = scope["path"]
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def _prefix(scope: Any) -> str:
    return (settings.FORCE_SCRIPT_NAME or scope.get("root_path") or "").rstrip("/")


class _BelowPrefix:
    """Lets a router find a path below the site's prefix, as :func:`path_below_prefix` does.

    URLRouter insists that a path starts with ``root_path``; in Django, and with daphne's
    ``runserver``, it need not.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        prefix = _prefix(scope)
        path = prefix + path_below_prefix(scope)
        application: ASGIApplication = self._application
        return application({**scope, "root_path": prefix, "path": path}, receive, send)


class _Nothing:
    """Refuses a websocket at a path where there is none, and tells the log of it."""

    def __init__(self) -> None:
        self._refusals = Refusals(logger)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._refusals.log(f"there is none at {quoted(scope['path'])}")
        await refuse(scope, receive, send)
