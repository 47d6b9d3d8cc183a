"""Django's ASGI handler, hardened against malformed headers that make Django raise."""

import codecs
import logging
from collections.abc import Mapping
from typing import Any

from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.http import HttpResponseBadRequest
from django.http.response import HttpResponseBase

logger = logging.getLogger("django.request")

#: Encodings of form data that are accepted (WHATWG URL standard, section 5.1: UTF-8). ASCII is a
#: subset of it.
ENCODINGS = ("utf-8", "ascii")


class Handler(ASGIHandler):
    """Keep malformed headers from filling the log with tracebacks.

    A ``Content-Type`` with another charset than UTF-8 or ASCII is answered with 400. For example,
    ``charset=hex`` is a codec that does not decode to text, and ``charset*=nope''x`` (RFC 2231) is
    itself in an unknown encoding. Django raises on these in various places, even while it renders
    the error page.

    A cookie whose value contains NUL, possibly escaped in quotes (``"\\000"``), is dropped:
    PostgreSQL raises when such a session key is looked up.
    """

    def create_request(
        self, scope: Mapping[str, Any], body_file: Any
    ) -> tuple[ASGIRequest, None] | tuple[None, HttpResponseBase]:
        try:
            request, response = super().create_request(scope, body_file)
        except (LookupError, ValueError):
            request = response = None  # the header itself cannot be decoded
        if response is not None:
            return None, response
        if request is None or not _is_readable(request):
            logger.warning("Bad Request (Content-Type)", extra={"status_code": 400})
            return None, HttpResponseBadRequest()
        cookies = request.COOKIES.items()
        request.COOKIES = {name: text for name, text in cookies if "\x00" not in text}
        return request, None


def _is_readable(request: ASGIRequest) -> bool:
    """Whether the request names no charset for its form data, or one of ``ENCODINGS``."""
    return request.encoding is None or codecs.lookup(request.encoding).name in ENCODINGS
