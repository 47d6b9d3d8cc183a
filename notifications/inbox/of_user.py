"""``user.notifications``, as sites know it that come from django-notifications."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, cast

from django.contrib.auth import get_user_model

from ..models import Notification, NotificationQuerySet, database_alias
from .changes import MAX_IDS, archive, mark_read, mark_unread, read_all

#: The attribute of users.
NAME = "notifications"


class UserNotificationQuerySet(NotificationQuerySet):
    """Notifications of one user, whom the states need not be told.

    What is archived is what django-notifications calls deleted: ``all``, ``unread`` and ``read``
    leave it out.
    """

    user: Any = None

    def unread(self, user: Any = None) -> Self:
        return cast("Self", super().unread(self._owner(user)))

    def read(self, user: Any = None) -> Self:
        owner = self._owner(user)
        return cast("Self", super().read(owner).filter(~self.states["archived"](owner)))

    def active(self, user: Any = None) -> Self:
        owner = self._owner(user)
        return cast("Self", super().active(owner).filter(~self.states["archived"](owner)))

    def archived(self, user: Any = None) -> Self:
        return cast("Self", super().archived(self._owner(user)))

    #: Their name for it.
    deleted = archived

    def mark_all_as_read(self) -> int:
        """Mark those of these that are unread as read; see :func:`notifications.inbox.mark_read`.

        Returns:
            How many were unread.
        """
        return self._change(mark_read)

    def mark_all_as_unread(self) -> int:
        """Mark those of these that are read, or archived, as unread.

        Returns:
            How many were.
        """
        return self._change(mark_unread)

    def mark_all_as_deleted(self) -> int:
        """Archive those of these that are not archived.

        Returns:
            How many were not.
        """
        return self._change(archive)

    def _change(self, change: Callable[[Any, list[int]], list[int]]) -> int:
        ids = list(self.values_list("pk", flat=True))
        chunks = (ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS))
        return sum(len(change(self.user, chunk)) for chunk in chunks)

    def _owner(self, user: Any) -> Any:
        return self.user if user is None else user

    def _clone(self) -> Self:
        clone = cast("Self", super()._clone())  # type: ignore[misc]
        clone.user = self.user
        return clone


class UserNotifications:
    """The notifications of one user, newest first; has the methods of querysets."""

    def __init__(self, user: Any) -> None:
        self._user = user

    def all(self) -> UserNotificationQuerySet:
        """What the inbox shows: all that is neither archived, withdrawn nor expired."""
        return self._rows().active()

    def unread(self) -> UserNotificationQuerySet:
        return self.all().unread()

    def read(self) -> UserNotificationQuerySet:
        return self.all().read()

    def active(self) -> UserNotificationQuerySet:
        return self.all()

    def archived(self) -> UserNotificationQuerySet:
        return self._rows().archived()

    #: Their name for it.
    deleted = archived

    def mark_all_as_read(self) -> int:
        """Mark everything in the inbox as read, also what is above any count.

        Returns:
            How many notifications were unread.
        """
        count = self.unread().count()
        read_all(self._user)
        return count

    def _rows(self) -> UserNotificationQuerySet:
        # A replica may not know yet what the user has just done.
        rows = UserNotificationQuerySet(Notification, using=database_alias())
        rows.user = self._user
        return rows.order_by("-published_at", "-id")

    def __getattr__(self, name: str) -> Any:
        """Everything else that a queryset can do, such as ``count()`` or ``filter(…)``."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.all(), name)


class _OfUser:
    """The descriptor; an instance may have an attribute of the same name, which goes first."""

    def __get__(self, user: Any, owner: type) -> Any:
        return self if user is None else UserNotifications(user)


def attach(users: type | None = None) -> bool:
    """Give users the attribute, unless they have one of this name: a field, or a related name.

    It is no field, so queries cannot use it.

    Args:
        users: default the user model.

    Returns:
        Have they got it?
    """
    users = users or get_user_model()
    if hasattr(users, NAME):
        return False
    setattr(users, NAME, _OfUser())
    return True
