from django.urls import include, path
from rest_framework.routers import SimpleRouter

from . import api

router = SimpleRouter()
router.register("orders", api.Orders, basename="order")

urlpatterns = [path("api/", include(router.urls)), path("api/token/", api.token)]
