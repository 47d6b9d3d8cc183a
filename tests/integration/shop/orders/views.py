"""The pages of the host project."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from .models import Order


def ship_order(request: HttpRequest, pk: int) -> HttpResponse:
    order = get_object_or_404(Order, pk=pk)
    try:
        order.ship()
    except ValueError:
        return HttpResponse("It is not in stock.", status=409)
    return HttpResponse("Shipped.")
