from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import include, path

urlpatterns = [
    path("accounts/login/", LoginView.as_view(template_name="admin/login.html", next_page="/")),
    path("admin/", admin.site.urls),
    path("inbox/notifications/", include("notifications.urls", namespace="notifications")),
]
