"""Resolving ``to``: the users, or the shared stream."""

import logging
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import IntegerField, QuerySet
from django.utils.functional import Promise

from ..models import database_alias
from ..streams import access, topics
from ..streams import names as stream_names
from ..texts import plain

logger = logging.getLogger(__name__)

EVERYONE = "everyone"


def audience(to: Any) -> str:
    """The name of the shared stream for ``to``.

    Args:
        to: see :func:`notifications.publishing.notify.broadcast`.

    Raises:
        ValueError: ``to`` is not a shared stream, or its group does not exist.
    """
    if isinstance(to, Group):
        if to.pk is None:
            raise ValueError("to: the group is not saved")
        return stream_names.group_stream(to.pk)
    if isinstance(to, str | Promise):
        to = plain(to)
    if to in (EVERYONE, stream_names.BROADCAST):
        return stream_names.BROADCAST
    if not isinstance(to, str) or not _is_shared(to):
        raise ValueError(
            f"to: {to!r} is not “everyone”, “staff”, “topic:<slug>” or a Group "
            "(for users there is notify())"
        )
    if not access.has_audience(to):
        raise ValueError(f"to: {to!r} does not exist")
    kind, key = stream_names.parse(to)
    if kind == "topic" and settings.DEBUG and not topics.has_readers(key):
        logger.warning("Nobody can read %s: NOTIFICATIONS['TOPICS'] does not list it.", to)
    return to


def recipients(to: Any) -> list[Any]:
    """Primary keys of the users in ``to``, without duplicates.

    Args:
        to: see :func:`notifications.publishing.notify.notify`.

    Raises:
        ValueError: ``to`` contains anything other than saved users.
    """
    users = get_user_model()
    if isinstance(to, QuerySet):
        if not issubclass(to.model, users):
            raise ValueError(f"to: this must be a queryset of users, not of {to.model.__name__}")
        # Read at once: on SQLite an open cursor would see rows that are written meanwhile.
        return list(dict.fromkeys(to.values_list("pk", flat=True)))
    if isinstance(to, users):
        return [_user_id(to)]
    if isinstance(to, str | bytes | dict) or not isinstance(to, Iterable):
        raise ValueError(f"to: {to!r} is not a user, a list of users or a queryset")
    return list(dict.fromkeys(_user_id(user) for user in to))


def count_in_database(to: Any, at_most: int) -> int:
    """Count these recipients, if the database can write their rows by itself; else return 0.

    It can for a queryset of users of this database whose primary keys are whole numbers, because
    these have the same text in SQL and in Python.

    Args:
        to: see :func:`notifications.publishing.notify.notify`.
        at_most: where to stop counting. Users may be in a queryset more than once.
    """
    if not isinstance(to, QuerySet) or to.db != database_alias():
        return 0
    users, key = get_user_model(), to.model._meta.pk
    if to.model._meta.concrete_model is not users._meta.concrete_model:
        return 0
    if not isinstance(key, IntegerField) or hasattr(key, "from_db_value"):
        return 0
    # These select more columns than the primary key, or have an order of their own.
    if to.query.distinct or to.query.combinator:
        return 0
    return to.values_list("pk")[:at_most].count()


def _is_shared(name: str) -> bool:
    try:
        return stream_names.parse(name).kind in stream_names.SHARED_KINDS
    except stream_names.UnknownStream:
        return False


def _user_id(user: Any) -> Any:
    if not isinstance(user, get_user_model()):
        raise ValueError(f"to: {user!r} is not a user")
    if user.pk is None:
        raise ValueError(f"to: the user {user} is not saved")
    return user.pk
