"""One line in the host's ``asgi.py``: pages, sockets and lifespan as one ASGI application.

Nothing that needs Django is imported before it is asked for (PEP 562), so ``asgi.py`` may have all
its imports at the top, before ``get_asgi_application()`` has filled the app registry.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.urls import URLPattern

    from .asgi import ASGIApplication

    websocket_urlpatterns: list[URLPattern]

__all__ = ["application", "websocket_urlpatterns"]


def application(
    django_application: "ASGIApplication", websocket_urlpatterns: "Sequence[URLPattern]" = ()
) -> "ASGIApplication":
    """Make the ASGI application of a project with notifications.

    >>> application = notifications.routing.application(get_asgi_application())

    It opens sockets, and answers requests of the transports over HTTP, at the paths in the setting
    ``TRANSPORTS`` (``docs/transports.md``). They are below ``FORCE_SCRIPT_NAME`` or the server's
    ``root_path``, whether or not a proxy removes that prefix. Only pages of this site may use them
    (see :class:`notifications.origin.AllowedOriginValidator`). A socket at any other path is
    refused with 403; any other request is Django's. The hub starts and stops with the server (see
    :func:`notifications.lifespan.lifespan`).

    Args:
        django_application: answers all other HTTP requests.
        websocket_urlpatterns: routes to consumers of your own, as ``URLRouter`` takes them. To
            wrap a whole router in middleware: ``[re_path("", AuthMiddlewareStack(URLRouter(…)))]``.
    """
    composed: ASGIApplication = import_module(".asgi", __package__).compose(
        django_application, websocket_urlpatterns
    )
    return composed


def __getattr__(name: str) -> Any:
    """Load ``websocket_urlpatterns``, for hosts that put the parts together themselves."""
    if name == "websocket_urlpatterns":
        return import_module(".asgi", __package__).socket_urlpatterns()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
