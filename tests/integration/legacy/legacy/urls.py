from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import include, path

LOGIN = LoginView.as_view(template_name="admin/login.html", next_page="/inbox/notifications/")

urlpatterns = [
    path("accounts/login/", LOGIN),
    path("admin/", admin.site.urls),
    path("inbox/notifications/", include("notifications.urls", namespace="notifications")),
]
