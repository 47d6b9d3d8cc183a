"""Notifications, and querysets of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..database.clock import present
from ..options import Level, Reader
from .streams import Stream
from .validators import validate_kind, validate_text, validate_url


class NotificationQuerySet(models.QuerySet["Notification"]):
    """Notifications, chosen by their own state or by their state for one user.

    ``active``, ``unread``, ``read`` and ``archived`` give what the inbox of a user gives, for
    reports and templates of other apps. Each call reads which streams the user may read now, and
    subscribes a user who has never connected; the condition is decided row by row. The pages of
    an inbox come from :mod:`notifications.inbox`, whose cost does not grow with the history.
    """

    #: Makes the condition for each of these states. The inbox sets it, because rights and
    #: subscriptions are decided in rooms above the tables.
    states: ClassVar[dict[str, Callable[[Reader], Q]]] = {}

    def active(self, user: Reader) -> NotificationQuerySet:
        """What the user's inbox and archive hold; nothing for an inactive user."""
        return self._in_state("active", user)

    def unread(self, user: Reader) -> NotificationQuerySet:
        """What :func:`notifications.inbox.unread_count` counts: muted streams are left out."""
        return self._in_state("unread", user)

    def read(self, user: Reader) -> NotificationQuerySet:
        """What the user has read, archived or not."""
        return self._in_state("read", user)

    def archived(self, user: Reader) -> NotificationQuerySet:
        """What the user has archived."""
        return self._in_state("archived", user)

    def _in_state(self, state: str, user: Reader) -> NotificationQuerySet:
        return self.visible().filter(self.states[state](user))

    def published(self) -> NotificationQuerySet:
        """Those that have an offset."""
        return self.filter(offset__isnull=False)

    def waiting(self) -> NotificationQuerySet:
        """Those that have no offset yet: scheduled ones, and those just written."""
        return self.filter(offset__isnull=True, withdrawn_at__isnull=True)

    def visible(self, now: datetime | None = None) -> NotificationQuerySet:
        """Those published, not withdrawn, and not expired.

        Args:
            now: aware datetime of the comparison; by default the database's clock.
        """
        return self.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=now or present(self.db)),
            offset__isnull=False,
            withdrawn_at__isnull=True,
        )


if TYPE_CHECKING:
    # What ``from_queryset`` makes, written out for type checkers that cannot run it.

    class NotificationManager(models.Manager["Notification"]):
        """Has the methods of :class:`NotificationQuerySet`."""

        def all(self) -> NotificationQuerySet: ...
        def none(self) -> NotificationQuerySet: ...
        def using(self, alias: str | None) -> NotificationQuerySet: ...
        def filter(self, *args: Any, **kwargs: Any) -> NotificationQuerySet: ...
        def exclude(self, *args: Any, **kwargs: Any) -> NotificationQuerySet: ...
        def order_by(self, *field_names: Any) -> NotificationQuerySet: ...
        def select_related(self, *fields: Any) -> NotificationQuerySet: ...
        def active(self, user: Reader) -> NotificationQuerySet: ...
        def unread(self, user: Reader) -> NotificationQuerySet: ...
        def read(self, user: Reader) -> NotificationQuerySet: ...
        def archived(self, user: Reader) -> NotificationQuerySet: ...
        def published(self) -> NotificationQuerySet: ...
        def waiting(self) -> NotificationQuerySet: ...
        def visible(self, now: datetime | None = None) -> NotificationQuerySet: ...

else:
    NotificationManager = models.Manager.from_queryset(NotificationQuerySet)


class Notification(models.Model):
    """One message in a stream.

    It waits until :mod:`notifications.publishing.sequencing` gives it an offset.

    It is *unplaced* while it has the name of its stream in ``channel`` instead of a ``stream``:
    see :mod:`notifications.publishing.placing`.
    """

    # Pyright infers no types of attributes in packages, so what a host reads is annotated. Only
    # mypy's plugin knows the type of ``actor``, the host's user model.

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    stream: models.ForeignKey[Stream | None, Stream | None] = models.ForeignKey(
        Stream,
        on_delete=models.CASCADE,
        null=True,
        related_name="notifications",
        db_index=False,
        verbose_name=_("stream"),
    )
    channel: models.CharField[str | None, str | None] = models.CharField(
        _("channel"),
        max_length=255,
        null=True,
        editable=False,
        help_text=_("The name of the stream, until the notification is placed in it."),
    )
    offset: models.PositiveBigIntegerField[int | None, int | None] = models.PositiveBigIntegerField(
        _("offset"), null=True, editable=False
    )
    kind: models.CharField[str, str] = models.CharField(
        _("kind"), max_length=100, default="message", validators=[validate_kind]
    )
    level: models.CharField[str, str] = models.CharField(
        _("level"), max_length=10, choices=Level, default=Level.INFO
    )
    title: models.CharField[str, str] = models.CharField(
        _("title"), max_length=200, validators=[validate_text]
    )
    body: models.TextField[str, str] = models.TextField(
        _("text"), blank=True, max_length=10_000, validators=[validate_text]
    )
    url: models.CharField[str, str] = models.CharField(
        _("link"), max_length=2000, blank=True, validators=[validate_url]
    )
    data: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(
        _("data"), default=dict, blank=True, encoder=DjangoJSONEncoder
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        verbose_name=_("actor"),
    )
    key: models.CharField[str | None, str | None] = models.CharField(
        _("key"), max_length=200, null=True, blank=True
    )
    # Pruning deletes the first one without looking for those that lead to it; and a table in
    # partitions has no unique id that a foreign key could refer to.
    duplicate_of: models.ForeignKey[Notification | None, Notification | None] = models.ForeignKey(
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
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(
        _("created"), default=timezone.now, editable=False
    )
    publish_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(
        _("publish at"), default=timezone.now
    )
    published_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("published"), null=True, editable=False
    )
    expires_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("expires"), null=True, blank=True
    )
    withdrawn_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(
        _("withdrawn"), null=True, editable=False
    )

    objects: ClassVar[NotificationManager] = NotificationManager()

    # Text, so that every client gets exactly the JSON that was published: jsonb would rewrite it.
    publication: models.TextField[str | None, str | None] = models.TextField(
        null=True,
        editable=False,
        help_text=(
            "The publication of a channel, as JSON with data, info and tags. Such a row is no "
            "notification: no inbox has it."
        ),
    )

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
            # The admin's list of notifications, among any number of publications of channels.
            models.Index(
                fields=["-id"],
                condition=Q(publication__isnull=True, duplicate_of__isnull=True),
                name="notification_listed",
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
