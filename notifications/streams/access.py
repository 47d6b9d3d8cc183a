"""Who may read and write which stream, and who is behind a name.

====================  ==================================  ===============================
name                  who reads it                        who may write to it as a client
====================  ==================================  ===============================
``user:<id>``         that user                           ``notifications.send_private``
``broadcast``         every active user                   ``notifications.send_broadcast``
``staff``             users with ``is_staff``             ``notifications.send_broadcast``
``group:<id>``        members of that Django group        ``notifications.send_broadcast``
``topic:<slug>``      see :mod:`notifications.streams.topics`     ``notifications.send_broadcast``
====================  ==================================  ===============================
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError

from .names import BROADCAST, STAFF, group_stream, parse, user_stream
from .rows import chunks
from .topics import may_read_topic, may_read_topics


def may_read(user: Any, name: str) -> bool:
    """May ``user`` read the stream ``name`` now? Asks the database for groups.

    Raises:
        UnknownStream: see :func:`~notifications.streams.names.parse`.
        Undecided: see :func:`notifications.streams.topics.may_read_topic`.
    """
    kind, key = parse(name)
    if not user.is_active:
        return False
    if kind == "user":
        return key == str(user.pk)
    if kind == "staff":
        return bool(getattr(user, "is_staff", False))
    if kind == "group":
        return hasattr(user, "groups") and user.groups.filter(pk=int(key)).exists()
    if kind == "topic":
        return may_read_topic(user, key)
    return True


def readable_topics(
    wanted: Iterable[tuple[Any, Sequence[str]]], patience: float
) -> tuple[dict[Any, list[str]], set[Any]]:
    """Those of these names of topics that each user may read now.

    Args:
        wanted: pairs of a user and names.
        patience: see :func:`notifications.streams.topics.may_read_topics`; and what it raises.

    Returns:
        The names by primary key, and the users of whom it is not known yet.
    """
    slugs = [
        (user, {name: parse(name).key for name in names})
        for user, names in wanted
        if names and user.is_active
    ]
    answers = may_read_topics([(user, list(keys.values())) for user, keys in slugs], patience)
    found = {
        user.pk: [name for name, slug in keys.items() if answers.readable[user.pk][slug]]
        for user, keys in slugs
        if user.pk in answers.readable
    }
    return found, set(answers.undecided)


def may_publish(user: Any, name: str) -> bool:
    """May ``user``, as a client, write to the stream ``name``?

    Raises:
        UnknownStream: see :func:`~notifications.streams.names.parse`.
    """
    if not user.is_active:
        return False
    private = parse(name).kind == "user"
    return bool(
        user.has_perm("notifications.send_private" if private else "notifications.send_broadcast")
    )


def has_audience(name: str) -> bool:
    """Is there a user or group behind the name? (A topic needs nobody to exist.)

    Only the name that the user reads will do: ``user:07`` finds user 7, but nobody reads it.
    """
    kind, key = parse(name)
    if kind == "group":
        return Group.objects.filter(pk=int(key)).exists()
    if kind != "user":
        return True
    users = get_user_model()
    try:
        found = users._default_manager.filter(pk=key).values_list("pk", flat=True).first()
    except (ValueError, TypeError, OverflowError, ValidationError):  # no key of this user model
        return False
    return found is not None and str(found) == key


def names_by_user(users: Iterable[Any]) -> dict[Any, list[str]]:
    """The streams that each active user reads without asking: own, broadcast, staff, groups.

    One query for the groups of all. Inactive users have none.
    """
    active = [user for user in users if user.is_active]
    names = {user.pk: [user_stream(user.pk), BROADCAST] for user in active}
    for user in active:
        if getattr(user, "is_staff", False):
            names[user.pk].append(STAFF)
    for user_id, group_ids in _groups_by_user(list(names)).items():
        names[user_id].extend(group_stream(group_id) for group_id in group_ids)
    return names


def _groups_by_user(user_ids: list[Any]) -> dict[Any, list[int]]:
    membership = getattr(get_user_model(), "groups", None)
    if membership is None:
        return {}
    user, group = membership.field.m2m_field_name(), membership.field.m2m_reverse_field_name()
    groups: dict[Any, list[int]] = defaultdict(list)
    for chunk in chunks(user_ids):
        rows = membership.through._default_manager.filter(**{f"{user}__in": chunk})
        for user_id, group_id in rows.order_by(group).values_list(user, group):
            groups[user_id].append(group_id)
    return groups
