"""What browsers may do on pages of this site: two headers for every response."""

from collections.abc import Sequence

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

#: The first Django with a content security policy of its own.
SINCE: tuple[int | str, ...] = (6, 0)


def middleware_for(version: Sequence[int | str]) -> str:
    """The middleware that sends ``SECURE_CSP``: Django's own where it has one.

    Args:
        version: Django's, such as (5, 2, 19, "final", 0).
    """
    if tuple(version[:2]) >= SINCE:
        return "django.middleware.csp.ContentSecurityPolicyMiddleware"
    return "pushsite.policies.ContentSecurityPolicyMiddleware"


class ContentSecurityPolicyMiddleware(MiddlewareMixin):
    """Django 6.0's of the same name, as far as this site needs it: no nonces, no reports.

    ``SECURE_CSP`` has the sources by directive (CSP level 3, section 6).
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        # As Django 6.0: its pages for developers have scripts and styles of their own.
        if not (settings.DEBUG and response.status_code in (404, 500)):
            directives = settings.SECURE_CSP.items()
            policy = "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives)
            response.headers.setdefault("Content-Security-Policy", policy)
        return response


class PermissionsPolicyMiddleware(MiddlewareMixin):
    """Turns off the features of ``DENIED_FEATURES`` (W3C Permissions Policy, section 5.2)."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        policy = ", ".join(f"{feature}=()" for feature in settings.DENIED_FEATURES)
        response.headers.setdefault("Permissions-Policy", policy)
        return response
