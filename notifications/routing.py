"""The route of the websocket, for the site's ``URLRouter``."""

from django.urls import path

from .consumers import NotificationConsumer

websocket_urlpatterns = [
    path("connection/websocket", NotificationConsumer.as_asgi()),
]
