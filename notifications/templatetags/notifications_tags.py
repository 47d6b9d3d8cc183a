"""``{% load notifications_tags %}``, as templates say it that come from django-notifications.

The same tags under the same names, with its defaults. What ``register_notify_callbacks`` was for,
the elements of this app do by themselves.
"""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context
from django.template.loader import render_to_string

from .. import inbox
from ..client_modules import module_urls
from ..options import Reader
from . import notifications

register = template.Library()


@register.simple_tag(takes_context=True)
def notifications_unread(context: Context) -> int | str:
    """Return the unread count of the request's user; nothing for an anonymous user."""
    return notifications.notifications_unread(context) if notifications.user_of(context) else ""


@register.simple_tag(takes_context=True)
def live_notify_badge(context: Context, badge_class: str = "live_notify_badge") -> str:
    """Render the unread count, which is updated live."""
    return notifications.live_notify_badge(context, badge_class)


@register.simple_tag(takes_context=True)
def live_notify_list(context: Context, list_class: str = "live_notify_list") -> str:
    """Render a list of the newest unread notifications, which is updated live."""
    return notifications.live_notify_list(context, list_class)


@register.simple_tag(takes_context=True)
def register_notify_callbacks(context: Context, *args: Any, **kwargs: Any) -> str:
    """Load the script that keeps badge and list up to date; all arguments are ignored."""
    values = {"nonce": notifications.notifications_nonce(context), "modules": module_urls()}
    return render_to_string("notifications/_assets.html", values, context.get("request"))


@register.filter
def has_notification(user: Reader | None) -> bool:
    """Has the user unread notifications?"""
    return bool(user and user.is_authenticated and inbox.unread_count(user))
