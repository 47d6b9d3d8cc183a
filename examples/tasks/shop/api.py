from functools import partial

from django.db import transaction
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action, api_view
from rest_framework.request import Request
from rest_framework.response import Response

from notifications.connect.authentication import make_token

from .models import Order
from .tasks import ship


class OrderSerializer(serializers.ModelSerializer):
    class Meta:
        model = Order
        fields = ["id", "is_shipped"]
        read_only_fields = ["is_shipped"]


class Orders(mixins.CreateModelMixin, mixins.ListModelMixin, viewsets.GenericViewSet):
    serializer_class = OrderSerializer

    def get_queryset(self):
        return Order.objects.filter(user=self.request.user).order_by("pk")

    def perform_create(self, serializer):
        serializer.save(user=self.request.user)

    @action(detail=True, methods=["post"])
    def ship(self, request: Request, pk: str) -> Response:
        transaction.on_commit(partial(ship.delay, self.get_object().pk))
        return Response(status=202)


@api_view(["POST"])
def token(request: Request) -> Response:
    """Return the token with which a mobile app opens its websocket."""
    return Response({"token": make_token(request.user)})
