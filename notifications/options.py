"""The types of the arguments that every function and signal that publishes takes.

No module that defines a model is imported here, so that settings may import the signals.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser, Group


class Level(models.TextChoices):
    """The level tags of :mod:`django.contrib.messages`."""

    DEBUG = "debug", _("debug")
    INFO = "info", _("info")
    SUCCESS = "success", _("success")
    WARNING = "warning", _("warning")
    ERROR = "error", _("error")


#: A text, or a lazy text such as that of ``gettext_lazy`` and ``reverse_lazy``.
Text: TypeAlias = str | Promise

#: One of the values of :class:`Level`.
LevelName: TypeAlias = Literal["debug", "info", "success", "warning", "error"]

#: Whom :func:`notifications.notify` sends to: a user, or an iterable or a queryset of users.
Recipients: TypeAlias = (
    "AbstractBaseUser | Iterable[AbstractBaseUser] | models.QuerySet[AbstractBaseUser, object]"
)

#: Whose inbox is read: a user's, or the empty one of the anonymous user of a request.
Reader: TypeAlias = "AbstractBaseUser | AnonymousUser"

#: Whom :func:`notifications.broadcast` sends to: the name of an audience, or a group.
Audience: TypeAlias = "Text | Group"


class Options(TypedDict, total=False):
    """What a notification may have besides its title.

    This is the one list of these names; :func:`notifications.notify` explains each of them.
    """

    body: Text
    url: Text
    kind: Text
    level: LevelName | Level
    data: dict[str, Any] | None
    actor: AbstractBaseUser | None
    key: Text | None
    publish_at: datetime | None
    expires_at: datetime | None
