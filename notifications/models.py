"""Stream, Notification, Subscription, Receipt; Incarnation; Worker and Connection for presence.

Invariants kept by :mod:`notifications.publishing.sequencing`: within a stream offsets are
1, 2, 3 … without gaps, ``Stream.top`` is the highest one given, and a notification without an
offset is *waiting*.
"""

from __future__ import annotations

import re
import secrets
import uuid
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .database.clock import present

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")

validate_kind = RegexValidator(
    r"\A[a-z0-9_-](?:[a-z0-9_-]|\.(?=[a-z0-9_-]))*\Z",
    _("A kind is a dotted slug such as “order.shipped”."),
)


def validate_url(value: str) -> None:
    """Accept a path on this site, a relative reference or an http(s) URL; nothing else.

    Browsers drop tabs and line breaks inside a scheme and read ``\\`` as ``/``, so control
    characters, surrounding space and backslashes are refused rather than interpreted.
    """
    if not value:
        return
    validate_text(value)
    if CONTROL_CHARACTERS.search(value) or value != value.strip() or "\\" in value:
        raise ValidationError(_("A link holds no control characters, spaces around, or “\\”."))
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise ValidationError(_("This is not a link.")) from error
    if parts.scheme in {"http", "https"} and parts.netloc:
        return
    if parts.scheme or parts.netloc or value.startswith("//"):
        raise ValidationError(_("A link is a path on this site or starts with http(s)://."))


def validate_text(value: str) -> None:
    """Refuse what PostgreSQL cannot store although SQLite may: NUL and lone surrogates."""
    if "\x00" in value:
        raise ValidationError(_("Text holds no NUL character."))
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValidationError(_("This is not Unicode text.")) from error


def new_epoch() -> str:
    return secrets.token_hex(4)


class Level(models.TextChoices):
    """The level tags of :mod:`django.contrib.messages`."""

    DEBUG = "debug", _("debug")
    INFO = "info", _("info")
    SUCCESS = "success", _("success")
    WARNING = "warning", _("warning")
    ERROR = "error", _("error")


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
        _("published"), null=True, editable=False, help_text=_("When the newest one was.")
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


def receipt_of(user: Any, **having: Any) -> Exists:
    """Condition on a notification: ``user`` has a receipt for it, with these values."""
    return Exists(Receipt.objects.filter(user=user.pk, notification=OuterRef("pk"), **having))


def marked_unread(user: Any) -> Exists:
    """Condition on a notification: the user's receipt says that it is unread."""
    return receipt_of(user, read_at=None, archived_at=None)


class NotificationQuerySet(models.QuerySet["Notification"]):
    """Read states are per user: ``read``, ``unread``, ``archived`` and ``active`` ask for one.

    They are for reports and templates of other apps: they cover the streams that the user is
    subscribed to, muted ones too, and decide row by row. The pages of one user's inbox come from
    :mod:`notifications.inbox`, whose cost does not grow with the history.
    """

    def active(self, user: Any) -> NotificationQuerySet:
        """What the user's inbox and archive hold."""
        return self.visible().filter(_subscribed(user))

    def unread(self, user: Any) -> NotificationQuerySet:
        return self.active(user).filter(_is_unread(user))

    def read(self, user: Any) -> NotificationQuerySet:
        """What the user has read, archived or not."""
        return self.active(user).filter(~_is_unread(user))

    def archived(self, user: Any) -> NotificationQuerySet:
        by_mark = Q(_subscribed(user, archived__gte=OuterRef("offset"))) & ~Q(receipt_of(user))
        return self.active(user).filter(by_mark | Q(receipt_of(user, archived_at__isnull=False)))

    def published(self) -> NotificationQuerySet:
        return self.filter(offset__isnull=False)

    def waiting(self) -> NotificationQuerySet:
        return self.filter(offset__isnull=True, withdrawn_at__isnull=True)

    def visible(self, now: datetime | None = None) -> NotificationQuerySet:
        """Published, not withdrawn, not expired at ``now``, or by the database's clock."""
        return self.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=now or present(self.db)),
            offset__isnull=False,
            withdrawn_at__isnull=True,
        )


def _subscribed(user: Any, **having: Any) -> Exists:
    return Exists(
        Subscription.objects.filter(
            user=user.pk, stream=OuterRef("stream"), since__lt=OuterRef("offset"), **having
        )
    )


def _is_unread(user: Any) -> Q:
    past_marks = _subscribed(user, read__lt=OuterRef("offset"), archived__lt=OuterRef("offset"))
    return Q(marked_unread(user)) | (Q(past_marks) & ~Q(receipt_of(user)))


class Notification(models.Model):
    """One message in a stream.

    It waits until :mod:`notifications.publishing.sequencing` gives it an offset.

    It is *unplaced* while it has the name of its stream in ``channel`` instead of a ``stream``:
    see :mod:`notifications.publishing.placing`.
    """

    id = models.BigAutoField(primary_key=True)
    stream = models.ForeignKey(
        Stream,
        on_delete=models.CASCADE,
        null=True,
        related_name="notifications",
        db_index=False,
        verbose_name=_("stream"),
    )
    channel = models.CharField(
        _("channel"),
        max_length=255,
        null=True,
        editable=False,
        help_text=_("The name of the stream, until the notification is placed in it."),
    )
    offset = models.PositiveBigIntegerField(_("offset"), null=True, editable=False)
    kind = models.CharField(
        _("kind"), max_length=100, default="message", validators=[validate_kind]
    )
    level = models.CharField(_("level"), max_length=10, choices=Level, default=Level.INFO)
    title = models.CharField(_("title"), max_length=200, validators=[validate_text])
    body = models.TextField(_("text"), blank=True, max_length=10_000, validators=[validate_text])
    url = models.CharField(_("link"), max_length=2000, blank=True, validators=[validate_url])
    data = models.JSONField(_("data"), default=dict, blank=True, encoder=DjangoJSONEncoder)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        verbose_name=_("actor"),
    )
    key = models.CharField(_("key"), max_length=200, null=True, blank=True)
    # Pruning deletes the first one without looking for those that lead to it; and a table in
    # partitions has no unique id that a foreign key could refer to.
    duplicate_of = models.ForeignKey(
        "self",
        on_delete=models.DO_NOTHING,
        null=True,
        editable=False,
        related_name="+",
        db_index=False,
        db_constraint=False,
        verbose_name=_("duplicate of"),
        help_text=_("Dropped, because this one was the first with the same key."),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    publish_at = models.DateTimeField(_("publish at"), default=timezone.now)
    published_at = models.DateTimeField(_("published"), null=True, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    withdrawn_at = models.DateTimeField(_("withdrawn"), null=True, editable=False)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        permissions = [
            ("send_private", _("Can send private messages")),
            ("send_broadcast", _("Can send broadcasts")),
        ]
        # A row is written twice, when it waits and when it gets its offset: an index holds no more
        # than its queries ask for.
        constraints = [
            models.UniqueConstraint(fields=["stream", "offset"], name="notification_offset"),
            models.UniqueConstraint(
                fields=["stream", "key"],
                condition=Q(key__isnull=False),
                name="notification_key",
            ),
        ]
        indexes = [
            # What the ticker looks for: nothing to do is the common answer and must cost nothing.
            models.Index(
                fields=["publish_at", "id"],
                condition=Q(offset__isnull=True, withdrawn_at__isnull=True),
                name="notification_waiting",
            ),
            # Unplaced rows, by the stream they are for, and whether a key is among them.
            models.Index(
                fields=["channel", "key"],
                condition=Q(channel__isnull=False),
                name="notification_unplaced",
            ),
            # Waiting rows of the streams that a commit has touched.
            models.Index(
                fields=["stream"],
                condition=Q(offset__isnull=True, withdrawn_at__isnull=True),
                name="notification_stream_waiting",
            ),
            # The inbox: newest first over a few streams.
            models.Index(
                fields=["stream", "-published_at", "-id"],
                condition=Q(offset__isnull=False),
                name="notification_inbox",
            ),
            # What a user who is deleted has sent.
            models.Index(
                fields=["actor"], condition=Q(actor__isnull=False), name="notification_actor"
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def stream_name(self) -> str:
        """The name of its stream, whether or not it is placed in it already."""
        return self.channel or (self.stream.name if self.stream else "")

    @property
    def original(self) -> Notification:
        """The first one with the same key if this one was dropped as its duplicate, else itself."""
        if self.duplicate_of_id is None:
            return self
        rows = Notification.objects.using(self._state.db)
        return rows.filter(pk=self.duplicate_of_id).first() or self


class Broadcast(Notification):
    """A notification in a shared stream, as the admin composes and follows it."""

    class Meta:
        proxy = True
        # Who may send has ``send_broadcast``; what has been sent is withdrawn, never changed.
        default_permissions = ("view",)
        verbose_name = _("broadcast")
        verbose_name_plural = _("broadcasts")


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
        default=0, help_text=_("Some device of the user has acknowledged up to here.")
    )
    read = models.PositiveBigIntegerField(
        default=0, help_text=_("All up to here is read, unless a receipt says otherwise.")
    )
    archived = models.PositiveBigIntegerField(
        default=0, help_text=_("All up to here is archived, unless a receipt says otherwise.")
    )
    muted = models.BooleanField(default=False)
    unmuted = models.PositiveBigIntegerField(
        default=0,
        # Workers of the version before write rows without it while they are replaced.
        db_default=0,
        help_text=_("All up to here passed before the subscription was last unmuted."),
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("subscription")
        verbose_name_plural = _("subscriptions")
        constraints = [
            models.UniqueConstraint(fields=["user", "stream"], name="subscription_once"),
        ]
        indexes = [
            # How many have been reached by, or have read, a broadcast.
            models.Index(fields=["stream", "delivered"], name="subscription_delivered"),
            models.Index(fields=["stream", "read"], name="subscription_read"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.stream_id}"


class Receipt(models.Model):
    """One user's own word on one notification.

    Where a receipt exists, it alone says whether the notification is read and archived; where
    none exists, the marks ``read`` and ``archived`` of the subscription do.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="notification_receipts",
        db_index=False,
    )
    notification = models.ForeignKey(
        Notification, on_delete=models.CASCADE, related_name="receipts"
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


class Incarnation(models.Model):
    """The physical database that the epochs belong to: one row, with the primary key 1.

    A backup that was restored, or a replica that took over, has this row too, but another
    fingerprint: so the epochs in it are known to be of a history that went on elsewhere.
    """

    fingerprint = models.CharField(max_length=255)
    suspected_at = models.DateTimeField(
        null=True, help_text=_("When a stream was first found whose history had gone back.")
    )

    class Meta:
        verbose_name = _("incarnation")
        verbose_name_plural = _("incarnations")

    def __str__(self) -> str:
        return self.fingerprint


class Worker(models.Model):
    """A server process that holds connections. One row to keep fresh, however many sockets."""

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
    """An authenticated socket: who, from where, since when, held by which worker."""

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

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        indexes = [
            models.Index(F("connected_at").desc(), F("id").desc(), name="connection_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} from {self.address}"
