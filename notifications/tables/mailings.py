"""What is still to be written of large calls."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone


class Mailing(models.Model):
    """A part of a large call: a notification, and the streams that it is still to be written to.

    :mod:`notifications.publishing.mailings` makes it, and deletes it when the rows are written.
    """

    #: The values of the notification's fields, as text or JSON, by the names of their attributes.
    notification: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(
        encoder=DjangoJSONEncoder
    )
    #: Names of streams, in the order of the call.
    names: models.JSONField[list[str], list[str]] = models.JSONField()
    #: The primary key that is reserved for the row in each of them.
    ids: models.JSONField[list[int], list[int]] = models.JSONField()
    #: Until then it is left to the process that made the call.
    own_until: models.DateTimeField[datetime, datetime] = models.DateTimeField(default=timezone.now)

    class Meta:
        # It lives for seconds, and nobody edits it.
        default_permissions = ()

    def __str__(self) -> str:
        return f"{len(self.names)} × {self.notification.get('title', '')}"
