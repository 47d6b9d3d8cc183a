"""Django's ASGI handler, with an answer to requests that Django itself stumbles over."""

import codecs
import logging
from collections.abc import Mapping
from typing import Any

from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.http import HttpResponseBadRequest
from django.http.response import HttpResponseBase

logger = logging.getLogger("django.request")

#: What forms come in (WHATWG URL standard, section 5.1); ASCII is a part of it.
ENCODINGS = ("utf-8", "ascii")


class Handler(ASGIHandler):
    """Spares the log a traceback for each request of a stranger who knows where Django raises.

    A ``Content-Type`` that names another encoding than UTF-8 is answered with 400: ``charset=hex``
    encodes no text, ``charset*=nope''x`` (RFC 2231) is in no encoding at all, and each kind raises
    somewhere else, some even while the error page is made. A cookie with a NUL, which quotes can
    hide (``"\\000"``), is none: PostgreSQL takes no such key of a session.
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
    """Is what Django would decode forms with one of ``ENCODINGS``, or nothing said?"""
    return request.encoding is None or codecs.lookup(request.encoding).name in ENCODINGS
