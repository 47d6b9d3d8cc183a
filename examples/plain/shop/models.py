from django.conf import settings
from django.db import models, transaction

from notifications import notify


class Order(models.Model):
    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    is_shipped = models.BooleanField(default=False)

    def ship(self) -> None:
        """Ship the order; its owner learns it when the transaction commits, and only then."""
        with transaction.atomic():
            self.is_shipped = True
            self.save()
            notify(self.user, f"Order {self.pk} has shipped", kind="order.shipped", url="/")
