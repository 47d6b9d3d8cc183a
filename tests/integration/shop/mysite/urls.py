"""The addresses of the host project."""

from django.urls import include, path
from orders.views import ship_order

urlpatterns = [
    path("orders/<int:pk>/ship/", ship_order),
    path("notifications/", include("notifications.urls")),
]
