"""Two response headers that restrict what browsers do on pages of this site."""

from collections.abc import Sequence

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

#: The first Django version with a middleware for the content security policy.
SINCE: tuple[int | str, ...] = (6, 0)


def middleware_for(version: Sequence[int | str]) -> str:
    """Return the dotted path of the middleware that sends ``SECURE_CSP``, if possible Django's own.

    Args:
        version: ``django.VERSION``, such as ``(5, 2, 19, "final", 0)``.
    """
    if tuple(version[:2]) >= SINCE:
        return "django.middleware.csp.ContentSecurityPolicyMiddleware"
    return "pushsite.policies.ContentSecurityPolicyMiddleware"


class ContentSecurityPolicyMiddleware(MiddlewareMixin):
    """A subset of the middleware of that name in Django 6.0: no nonces, no reports.

    ``SECURE_CSP`` maps directives to their sources (CSP level 3, section 6).
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        # As in Django 6.0: the debug pages have inline scripts and styles.
        if not (settings.DEBUG and response.status_code in (404, 500)):
            directives = settings.SECURE_CSP.items()
            policy = "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives)
            response.headers.setdefault("Content-Security-Policy", policy)
        return response


class PermissionsPolicyMiddleware(MiddlewareMixin):
    """Disable the features in ``DENIED_FEATURES`` (W3C Permissions Policy, section 5.2)."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        policy = ", ".join(f"{feature}=()" for feature in settings.DENIED_FEATURES)
        response.headers.setdefault("Permissions-Policy", policy)
        return response
