"""The physical database, and the server processes with their connections and members."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Incarnation(models.Model):
    """The physical database that the epochs belong to: one row, with the primary key 1.

    A restored backup, or a replica that took over, has a copy of this row but another fingerprint.
    So it is known that its epochs are from a history that went on elsewhere.
    """

    fingerprint = models.CharField(max_length=255)
    suspected_at = models.DateTimeField(
        null=True, help_text=_("When a history that has gone back was first detected.")
    )

    class Meta:
        verbose_name = _("incarnation")
        verbose_name_plural = _("incarnations")

    def __str__(self) -> str:
        return self.fingerprint


class Worker(models.Model):
    """A server process with connections. Only this row is updated regularly, not one per socket."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class Connection(models.Model):
    """An authenticated connection of a client to a worker."""

    id = models.UUIDField(_("client"), primary_key=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="notification_connections",
        verbose_name=_("user"),
    )
    worker = models.ForeignKey(
        Worker, on_delete=models.CASCADE, related_name="connections", verbose_name=_("worker")
    )
    address = models.CharField(_("address"), max_length=64, blank=True)
    user_agent = models.CharField(_("browser"), max_length=255, blank=True)
    connected_at = models.DateTimeField(_("connected"), default=timezone.now)
    closing = models.BooleanField(
        _("closing"), default=False, help_text=_("An administrator has asked to disconnect it.")
    )
    #: How it is closed: a close code, 0 for the default one, and a reason (at most 123 bytes).
    close_code = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    close_reason = models.CharField(max_length=123, default="", db_default="", editable=False)
    #: When a backend has asked it to expire. What its token says is not stored.
    expires_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        indexes = [
            models.Index(F("connected_at").desc(), F("id").desc(), name="connection_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} from {self.address}"


class Member(models.Model):
    """A connection in a channel whose namespace keeps presence.

    It refers to the worker and not to the row of the connection: so the rows of a dead worker are
    deleted with one statement for each table, and both kinds of rows can be written on their own.
    """

    client = models.UUIDField(editable=False)
    channel = models.CharField(max_length=255)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    worker = models.ForeignKey(Worker, on_delete=models.CASCADE, related_name="members")
    info = models.TextField(
        blank=True,
        help_text="What the client's subscription token tells about it, as JSON.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["client", "channel"], name="member_once"),
        ]
        indexes = [
            # Lists the members of a channel, and counts its users without reading the table.
            models.Index(fields=["channel", "user"], name="member_channel"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.channel}"
