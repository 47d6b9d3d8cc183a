"""Orders."""

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import models, transaction

from notifications import notify


class Order(models.Model):
    """An order of a customer."""

    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    in_stock = models.BooleanField(default=True)
    shipped = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"order {self.pk}"

    @transaction.atomic
    def ship(self) -> None:
        """Ship the order and tell the customer.

        Raises:
            ValueError: it is not in stock.
        """
        self.shipped = True
        self.save()
        notify(
            self.customer,
            "Your order has shipped",
            kind="order.shipped",
            level="success",
            url=f"/orders/{self.pk}/",
            data={"order": self.pk},
        )
        if not self.in_stock:
            raise ValueError("not in stock")

    async def aship(self) -> None:
        """:meth:`ship` for asynchronous code."""
        await sync_to_async(self.ship)()
