"""Lets pages of other origins use the REST API: the rule is that of sockets (CORS).

A page of another origin sends a token: for its session, Django's CSRF check asks for an origin of
``CSRF_TRUSTED_ORIGINS``, and browsers often leave the cookie out.
"""

from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from ... import cross_origin

#: Headers of responses that scripts of other origins may read.
EXPOSED = ("Retry-After", "WWW-Authenticate")

#: What a page may send, and the seconds for which its browser remembers that.
PREFLIGHT = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "Authorization, Content-Type, X-CSRFToken",
    "access-control-max-age": "300",
}


def preflight(request: HttpRequest) -> HttpResponse | None:
    """Answer a browser that asks whether a page may send a request; None for any other request."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    return HttpResponse(status=204, headers=PREFLIGHT)


def let_pages_read(request: HttpRequest, response: HttpResponse) -> None:
    """Add the headers with which a browser lets an allowed page read a response."""
    for name, value in cross_origin.headers(_scope(request), EXPOSED).items():
        response.headers[name] = value
    patch_vary_headers(response, ("Origin",))


def _scope(request: HttpRequest) -> Any:
    """What decides about an origin, in the form in which ASGI has it."""
    if isinstance(request, ASGIRequest):
        return request.scope
    meta = request.META
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in request.headers.items()
    ]
    server = (meta["SERVER_NAME"], meta["SERVER_PORT"])
    return {"scheme": meta["wsgi.url_scheme"], "server": server, "headers": headers}
