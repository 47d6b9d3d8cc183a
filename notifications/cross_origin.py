"""Which pages of other origins may read responses, and the headers that tell browsers so (CORS).

The rules are those of sockets; see :mod:`notifications.origin`.

Source: the Fetch standard, section 3.3 (https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from collections.abc import Sequence
from typing import Any

from .origin import refusal

#: Values of ``Sec-Fetch-Site`` for requests of other sites' pages.
FOREIGN = (b"cross-site", b"same-site")


def reason_to_refuse(scope: Any) -> str | None:
    """Why a request for a foreign host, or from a foreign page, is refused; None if it is not.

    Args:
        scope: the ASGI scope of an HTTP request.
    """
    reason = refusal(scope)
    if reason is None and _is_embedded(scope):
        return "it comes from a page of another site, without an Origin"
    return reason


def headers(scope: Any, exposed: Sequence[str] = ()) -> dict[str, str]:
    """The headers with which a browser lets the page read the response.

    Args:
        scope: the ASGI scope of an HTTP request.
        exposed: names of the response headers that scripts may read.
    """
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    if len(origins) != 1 or refusal(scope) is not None:
        return {}
    return {
        "access-control-allow-origin": origins[0].decode("latin-1"),
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": ", ".join(exposed),
    }


def _is_embedded(scope: Any) -> bool:
    """Is this for an image or the like? Browsers send no ``Origin`` with those, but cookies."""
    found = dict(scope["headers"])
    return b"origin" not in found and found.get(b"sec-fetch-site") in FOREIGN
