from importlib.util import find_spec

from django.db import models

if find_spec("notifications.base"):
    from notifications.base.models import AbstractNotification

    class Note(AbstractNotification):
        details = models.CharField(max_length=64, blank=True, default="")

        class Meta(AbstractNotification.Meta):
            abstract = False
