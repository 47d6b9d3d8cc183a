"""``{% load notifications %}``: tags and filters that show the bell, the badge and the inbox."""

import json
from typing import Any

import django
from django import template
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.forms import Media
from django.template import Context
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from .. import inbox
from ..client_modules import module_urls
from ..client_texts import client_texts
from ..models import validate_url
from ..paths import addresses_for_browsers
from ..streams import access, subscriptions
from ..streams.encoding import describe_user

register = template.Library()

MAX_BADGE = 99
LIST_SIZE = 5

#: Attribute that caches the unread count on the request, so that a page runs the query once.
_COUNT = "_notifications_unread"


@register.simple_tag(takes_context=True)
def notifications_unread(context: Context) -> int:
    """Return the unread count of the request's user; 0 for an anonymous user."""
    user = user_of(context)
    if user is None:
        return 0
    request = context.get("request")
    if request is None:
        return inbox.unread_count(user)
    if not hasattr(request, _COUNT):
        setattr(request, _COUNT, inbox.unread_count(user))
    return int(getattr(request, _COUNT))


@register.simple_tag(takes_context=True)
def notification_bell(context: Context) -> str:
    """Render the bell: badge, panel and toasts. Without JavaScript it is a link to the inbox."""
    # Most pages have a bell, and only one. The other tags are also in fragments of pages.
    return _render(context, "bell.html", modules=module_urls())


@register.simple_tag(takes_context=True)
def live_notify_badge(context: Context, badge_class: str = "notification-badge") -> str:
    """Render the unread count, which is updated live and hidden when it is 0.

    Args:
        context: the context of the template.
        badge_class: CSS classes of the element.
    """
    return _render(context, "badge.html", badge_class=badge_class)


@register.simple_tag(takes_context=True)
def live_notify_list(context: Context, list_class: str = "", limit: int = LIST_SIZE) -> str:
    """Render a list of the newest unread notifications, which is updated live.

    Args:
        context: the context of the template.
        list_class: further CSS classes of the ``<ul>``.
        limit: the maximum number of notifications, 1 to 100.

    Raises:
        ValueError: ``limit`` is out of range.
    """
    user = user_of(context)
    if user is None:
        return ""
    entries = inbox.list_entries(user, "unread", limit=limit).entries
    return _render(context, "list.html", entries=entries, list_class=list_class, limit=limit)


@register.filter
def notification_link(url: object) -> str:
    """Return the URL if it is safe as a link (a path or http(s)), else "".

    Rows may have been written without validation.
    """
    try:
        validate_url(str(url or ""))
    except ValidationError:
        return ""
    return str(url or "")


@register.filter
def notification_actor(actor: AbstractBaseUser | None) -> str:
    """Return the name of the user on whose behalf a notification was sent, "" for nobody."""
    return describe_user(actor)["name"] if actor else ""


@register.simple_tag(takes_context=True)
def notifications_nonce(context: Context) -> str:
    """Return the nonce of the response's content security policy, "" if there is none.

    It comes from Django's own middleware (6.0 and later) or from django-csp. Either one generates
    it when it is used for the first time, and only then names it in the policy.
    """
    request = context.get("request")
    offers = (
        context.get("csp_nonce"),
        getattr(request, "csp_nonce", None),  # django-csp
        getattr(request, "_csp_nonce", None),  # django.middleware.csp.get_nonce()
    )
    # Not a test for truth: a nonce that has not been generated yet is false.
    return next((str(nonce) for nonce in offers if nonce is not None), "")


@register.simple_tag(takes_context=True)
def notifications_media(context: Context, media: Media) -> SafeString:
    """Render the media of a form with the nonce; Django before 6.1 renders them without."""
    nonce = notifications_nonce(context)
    if not nonce or django.VERSION < (6, 1):
        return media.render()
    return media.render(attrs={"nonce": nonce})


def user_of(context: Context) -> AbstractBaseUser | None:
    """Return the user whom the page is for; None for an anonymous user."""
    request = context.get("request")
    user = context.get("user") if request is None else getattr(request, "user", None)
    return user if user is not None and user.is_authenticated else None


def _render(context: Context, name: str, **values: Any) -> str:
    user = user_of(context)
    if user is None:
        return ""
    unread = notifications_unread(context)
    addresses = addresses_for_browsers()
    shared = {
        "unread": unread,
        "badge": _badge(unread),
        "socket": next(iter(addresses.values()), ""),
        "transports": json.dumps(addresses),
        "user_id": str(user.pk),
        "topics": " ".join(_topics(user)),
        "nonce": notifications_nonce(context),
        "texts": client_texts(),
    }
    return render_to_string(f"notifications/{name}", {**shared, **values}, context.get("request"))


def _badge(unread: int) -> str:
    if not unread:
        return ""
    return f"{MAX_BADGE}+" if unread > MAX_BADGE else str(unread)


def _topics(user: AbstractBaseUser) -> list[str]:
    """The readable, unmuted topics. The client subscribes to them, the server to other streams."""
    return [
        name
        for name, is_muted in subscriptions.topics_of(user.pk)
        if not is_muted and access.may_read(user, name)
    ]
