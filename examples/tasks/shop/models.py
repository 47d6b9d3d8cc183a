from django.conf import settings
from django.db import models


class Order(models.Model):
    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    is_shipped = models.BooleanField(default=False)
