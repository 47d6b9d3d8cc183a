"""Form views that change the read state. Ids of other users' notifications change nothing."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from .. import inbox
from .redirects import redirect_back

View = Callable[..., HttpResponse]


def _change(view: Callable[..., Any]) -> View:
    """Turn a function that changes the user's inbox into a POST view that redirects back."""

    @require_POST
    @wraps(view)
    def changed(request: HttpRequest, **kwargs: int) -> HttpResponse:
        if not request.user.is_authenticated:
            # After the login go to the inbox: this view does not accept GET.
            return redirect_to_login(reverse("notifications:all"))
        view(request.user, **kwargs)
        return redirect_back(request)

    return changed


@_change
def mark_as_read(user: Any, pk: int) -> None:
    """Mark the notification as read."""
    inbox.mark_read(user, [pk])


@_change
def mark_as_unread(user: Any, pk: int) -> None:
    """Mark the notification as unread, and move it out of the archive."""
    inbox.mark_unread(user, [pk])


@_change
def archive(user: Any, pk: int) -> None:
    """Mark the notification as read, and move it to the archive."""
    inbox.archive(user, [pk])


@_change
def mark_all_as_read(user: Any) -> None:
    """Mark all notifications in the inbox as read."""
    inbox.read_all(user)


@_change
def archive_all(user: Any) -> None:
    """Archive all notifications in the inbox."""
    inbox.archive_all(user)
