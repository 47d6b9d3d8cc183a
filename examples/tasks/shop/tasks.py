from celery import shared_task
from django.db import transaction

from notifications import notify

from .models import Order


@shared_task
def ship(pk: int) -> None:
    """Ship an order. A task that is run twice notifies once, because of the key."""
    with transaction.atomic(using="default"):
        order = Order.objects.using("default").select_for_update().get(pk=pk)
        order.is_shipped = True
        order.save(using="default")
        notify(order.user, f"Order {pk} has shipped", key=f"order-{pk}-shipped")
