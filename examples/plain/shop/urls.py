from django.contrib import admin
from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.orders, name="orders"),
    path("<int:pk>/ship/", views.ship, name="ship"),
    path("notifications/", include("notifications.urls")),
    path("admin/", admin.site.urls),
]
