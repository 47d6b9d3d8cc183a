"""The REST API for the apps of logged-in users.

It needs django-ninja: ``pip install "pushsite[api]"``. A site includes it by
``path("notifications/api/v1/", include("notifications.api.rest.urls"))``.
"""

try:
    import ninja as ninja
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "notifications.api.rest needs django-ninja: pip install 'pushsite[api]'", name=error.name
    ) from error
