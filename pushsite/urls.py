"""Pages of the site."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from notifications.views.home import HomeView

urlpatterns = [
    path("", HomeView.as_view(), name="home"),
    path("notifications/", include("notifications.urls")),
    path("admin/", admin.site.urls),
    path(
        "accounts/login/",
        # Only a site with DEBUG has the demo accounts.
        LoginView.as_view(extra_context={"demo": settings.DEBUG}),
        name="login",
    ),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
]
