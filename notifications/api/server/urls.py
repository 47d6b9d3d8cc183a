"""Addresses of the server API: ``path("api", include("notifications.api.server.urls"))``.

That path has no slash at its end, because the old route is ``POST /api``.
"""

from django.urls import re_path

from .views import serve

urlpatterns = [
    re_path(r"^\Z", serve, name="server_api"),
    re_path(r"^(?:/(?P<method>[a-z_]+))\Z", serve, name="server_api_method"),
]
