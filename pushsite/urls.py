"""URL configuration of the site."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import include, path
from django.views.i18n import set_language

from pushsite.home import HomeView, SendView
from pushsite.views import health, metrics


def favicon(request: HttpRequest) -> HttpResponse:
    """Redirect to the icon. Browsers request this path on pages without one, as in the admin."""
    return redirect(static("notifications/favicon.svg"))


urlpatterns = [
    path("", HomeView.as_view(), name="home"),
    path("send/", SendView.as_view(), name="send"),
    path("notifications/api/v1/", include("notifications.api.rest.urls")),
    path("notifications/", include("notifications.urls")),
    path("api", include("notifications.api.server.urls")),
    path("admin/", admin.site.urls),
    path(
        "accounts/login/",
        # The demo accounts exist with DEBUG only.
        LoginView.as_view(extra_context={"demo": settings.DEBUG}),
        name="login",
    ),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("language/", set_language, name="set_language"),
    path("favicon.ico", favicon),
    path("health/", health, name="health"),
    path("metrics", metrics, name="metrics"),
]
