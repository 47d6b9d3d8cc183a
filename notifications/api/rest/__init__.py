"""The REST API for the apps of logged-in users.

It needs django-ninja: ``pip install "pushsite[api]"``. A site includes it by
``path("notifications/api/v1/", include("notifications.api.rest.urls"))``.
"""

from django.core.exceptions import ImproperlyConfigured

try:
    import ninja
except ModuleNotFoundError as error:
    raise ImproperlyConfigured(
        "notifications.api.rest needs django-ninja: pip install 'pushsite[api]'"
    ) from error

__all__ = ["ninja"]
