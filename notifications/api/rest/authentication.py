"""Whose request it is: by a connection token or, without one, by Django's session.

The rules are those of the socket; see :mod:`notifications.connect.authentication`. A request with a
session can be caused by any page that the user visits, so one that changes something needs Django's
CSRF token. A token has to be sent on purpose.
"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from ...connect.authentication import Credentials, ExpiredToken, Identity, identify
from .limits import limits
from .problems import Problem, not_logged_in


class Token(HttpBearer):
    """``Authorization: Bearer <connection token>``. A token that is wrong is never passed over."""

    openapi_bearerFormat = "JWT"  # noqa: N815 - the name in OpenAPI follows the prefix
    openapi_description = "A connection token, as the socket takes it."

    def __call__(self, request: HttpRequest) -> Any:
        # Another scheme is not for us: a proxy may ask for a password of its own. (ninja would log
        # the header of such a request on a site with DEBUG.)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return self.authenticate(request, token.strip()) if scheme.lower() == "bearer" else None

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        (found,) = identify([Credentials(session_key="", token=token)])
        if isinstance(found, Identity):
            return _admit(found.user)
        is_late = isinstance(found, ExpiredToken)
        raise not_logged_in(
            "The token has expired: get a new one." if is_late else "The token is not valid.",
            'Bearer error="invalid_token"',
        )


class Session(APIKeyCookie):
    """Django's session cookie. A request that changes something needs the CSRF token too."""

    param_name = settings.SESSION_COOKIE_NAME
    openapi_description = "Django's session. POST needs the header X-CSRFToken too."

    def __init__(self) -> None:
        # ninja would check before it knows whether anybody is logged in.
        super().__init__(csrf=False)

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        user = getattr(request, "user", None)
        if user is None or not user.is_authenticated or not user.is_active:
            return None
        if check_csrf(request) is not None:
            raise Problem(403, "The CSRF token is missing or wrong.")
        return _admit(user)


def _admit(user: Any) -> Any:
    """Return the user, unless the user has made too many requests."""
    if wait := limits.take(user.pk):
        raise Problem(429, "Too many requests.", headers={"Retry-After": str(wait)})
    return user
