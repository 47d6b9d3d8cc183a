"""The state of a notification: as a value, a query condition and a coloured badge."""

from datetime import datetime

from django.db.models import Q, TextChoices
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import Notification


class State(TextChoices):
    WAITING = "waiting", _("waiting")
    PUBLISHED = "published", _("published")
    EXPIRED = "expired", _("expired")
    WITHDRAWN = "withdrawn", _("withdrawn")


def state_of(notification: Notification, now: datetime) -> State:
    if notification.withdrawn_at is not None:
        return State.WITHDRAWN
    if notification.offset is None:
        return State.WAITING
    if notification.expires_at is not None and notification.expires_at <= now:
        return State.EXPIRED
    return State.PUBLISHED


def condition(state: State, now: datetime | Now) -> Q:
    """A condition that selects the notifications for which :func:`state_of` returns ``state``."""
    conditions = {
        State.WITHDRAWN: Q(withdrawn_at__isnull=False),
        State.WAITING: Q(withdrawn_at=None, offset=None),
        State.EXPIRED: Q(withdrawn_at=None, offset__isnull=False, expires_at__lte=now),
        State.PUBLISHED: Q(withdrawn_at=None, offset__isnull=False)
        & (Q(expires_at=None) | Q(expires_at__gt=now)),
    }
    return conditions[state]


def describe(notification: Notification, now: datetime) -> SafeString:
    """The state as a coloured badge, with the publication time if that is in the future."""
    state = state_of(notification, now)
    word = badge(state, capfirst(str(state.label)))
    if state != State.WAITING or notification.publish_at <= now:
        return word
    until = gettext("until %s") % moment(notification.publish_at)
    return format_html('{} <span class="quiet">{}</span>', word, until)


def moment(value: datetime) -> str:
    """Format a date and time in the current language and time zone."""
    return date_format(timezone.localtime(value), "DATETIME_FORMAT")


def badge(name: str, text: str) -> SafeString:
    """A coloured badge.

    Args:
        name: the value of ``data-mark``, which ``admin.css`` maps to a colour.
        text: the label.
    """
    return format_html('<span class="notifications-mark" data-mark="{}">{}</span>', name, text)
