"""Streams, subscriptions and receipts."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


def new_epoch() -> str:
    return secrets.token_hex(4)


class Stream(models.Model):
    """An ordered, durable list of notifications."""

    name = models.CharField(_("name"), max_length=255, unique=True)
    epoch = models.CharField(_("epoch"), max_length=16, default=new_epoch)
    top = models.PositiveBigIntegerField(
        _("top"), default=0, help_text=_("Offset of the newest notification.")
    )
    floor = models.PositiveBigIntegerField(
        _("floor"), default=0, help_text=_("Offset up to which notifications were pruned.")
    )
    published_at = models.DateTimeField(
        _("published"),
        null=True,
        editable=False,
        help_text=_("When the newest notification was published."),
    )
    revision = models.PositiveBigIntegerField(
        _("revision"),
        default=0,
        help_text=_(
            "Counts changes of the user's read state and rights, so that every worker notices."
        ),
    )

    class Meta:
        verbose_name = _("stream")
        verbose_name_plural = _("streams")

    def __str__(self) -> str:
        return self.name


class Subscription(models.Model):
    """A user's relation to one stream; all positions are offsets of the stream."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="notification_subscriptions",
        db_index=False,
    )
    stream = models.ForeignKey(
        Stream, on_delete=models.CASCADE, related_name="subscriptions", db_index=False
    )
    since = models.PositiveBigIntegerField(
        default=0, help_text=_("The user joined after this offset and sees nothing up to it.")
    )
    delivered = models.PositiveBigIntegerField(
        default=0,
        help_text=_("A device of the user has acknowledged everything up to this offset."),
    )
    read = models.PositiveBigIntegerField(
        default=0,
        help_text=_("Everything up to this offset is read, unless a receipt says otherwise."),
    )
    archived = models.PositiveBigIntegerField(
        default=0,
        help_text=_("Everything up to this offset is archived, unless a receipt says otherwise."),
    )
    muted = models.BooleanField(default=False)
    unmuted = models.PositiveBigIntegerField(
        default=0,
        # During an upgrade, workers of the previous version write rows without this column.
        db_default=0,
        help_text=_(
            "Everything up to this offset was published before the subscription was last unmuted."
        ),
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("subscription")
        verbose_name_plural = _("subscriptions")
        constraints = [
            models.UniqueConstraint(fields=["user", "stream"], name="subscription_once"),
        ]
        indexes = [
            # For counting the users who have received or read a broadcast.
            models.Index(fields=["stream", "delivered"], name="subscription_delivered"),
            models.Index(fields=["stream", "read"], name="subscription_read"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.stream_id}"


class Receipt(models.Model):
    """The read state of one notification for one user.

    If a receipt exists, it alone says whether the notification is read and archived. Otherwise the
    marks ``read`` and ``archived`` of the subscription do.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="notification_receipts",
        db_index=False,
    )
    notification = models.ForeignKey(
        "Notification", on_delete=models.CASCADE, related_name="receipts"
    )
    read_at = models.DateTimeField(null=True)
    archived_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("receipt")
        verbose_name_plural = _("receipts")
        constraints = [
            models.UniqueConstraint(fields=["user", "notification"], name="receipt_once"),
        ]
        indexes = [
            models.Index(fields=["user"], condition=Q(read_at__isnull=True), name="receipt_unread"),
            models.Index(
                fields=["user", "-notification"],
                condition=Q(archived_at__isnull=False),
                name="receipt_archived",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} on {self.notification_id}"
