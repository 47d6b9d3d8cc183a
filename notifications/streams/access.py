"""Who may read and write which stream, and whether a stream has an audience.

====================  ==================================  ===============================
name                  who reads it                        who may write to it as a client
====================  ==================================  ===============================
``user:<id>``         that user                           ``notifications.send_private``
``broadcast``         every user                          ``notifications.send_broadcast``
``staff``             users with ``is_staff``             ``notifications.send_broadcast``
``group:<id>``        members of that Django group        ``notifications.send_broadcast``
``topic:<slug>``      see :mod:`notifications.streams.topics`     ``notifications.send_broadcast``
====================  ==================================  ===============================

Inactive users may neither read nor write.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError

from ..database.compiled import Compiled
from .names import BROADCAST, STAFF, group_stream, parse, user_stream
from .topics import may_read_topic, may_read_topics


def may_read(user: Any, name: str) -> bool:
    """Return whether ``user`` may read the stream ``name`` now.

    Groups are looked up in the database.

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
    """Filter the topic streams of each user by what the user may read now.

    Args:
        wanted: pairs of a user and stream names.
        patience: seconds to wait; see :func:`notifications.streams.topics.may_read_topics`.

    Returns:
        The readable names by primary key of the user, and the primary keys of the users whose
        answer is still pending.

    Raises:
        UnknownStream: see :func:`~notifications.streams.names.parse`.
        DatabaseError: see :func:`notifications.streams.topics.may_read_topics`.
    """
    slugs = [
        (user, {name: parse(name).key for name in names})
        for user, names in wanted
        if names and user.is_active
    ]
    answers = may_read_topics([(user, list(keys.values())) for user, keys in slugs], patience)
    found = {
        user.pk: [name for name, slug in keys.items() if answers.allowed[user.pk][slug]]
        for user, keys in slugs
        if user.pk in answers.allowed
    }
    return found, set(answers.undecided)


def may_publish(user: Any, name: str) -> bool:
    """Return whether ``user`` may write to the stream ``name`` as a client.

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
    """Return whether the user or group that the name refers to exists; True for other streams.

    The key must be canonical: ``user:07`` would find user 7, who reads ``user:7``.

    Raises:
        UnknownStream: see :func:`~notifications.streams.names.parse`.
    """
    kind, key = parse(name)
    if kind == "group":
        return Group.objects.filter(pk=int(key)).exists()
    if kind != "user":
        return True
    users = get_user_model()
    try:
        found = users._default_manager.filter(pk=key).values_list("pk", flat=True).first()
    except (ValueError, TypeError, OverflowError, ValidationError):  # not a key of this user model
        return False
    return found is not None and str(found) == key


def names_by_user(users: Iterable[Any]) -> dict[Any, list[str]]:
    """The streams that each user reads by default: own, broadcast, staff and groups.

    The groups of all users take one query. Inactive users are left out.
    """
    active = [user for user in users if user.is_active]
    names = {user.pk: [user_stream(user.pk), BROADCAST] for user in active}
    for user in active:
        if getattr(user, "is_staff", False):
            names[user.pk].append(STAFF)
    for user_id, group_ids in groups_by_user(list(names)).items():
        names[user_id].extend(group_stream(group_id) for group_id in group_ids)
    return names


def groups_by_user(user_ids: Sequence[Any]) -> dict[Any, list[int]]:
    """The primary keys of each user's groups, sorted, without users who have none."""
    membership = getattr(get_user_model(), "groups", None)
    if membership is None:
        return {}
    through = membership.through
    # A router may keep the host's tables elsewhere than those of the app.
    using = through._default_manager.db
    groups: dict[Any, list[int]] = defaultdict(list)
    for user_id, group_id in _memberships(membership).rows(using, user_ids):
        groups[user_id].append(group_id)
    return groups


@cache
def _memberships(membership: Any) -> Compiled:
    """The query for the groups of users, by the descriptor of the user model's field."""
    through, relation = membership.through, membership.field
    user, group = relation.m2m_field_name(), relation.m2m_reverse_field_name()
    field = through._meta.get_field(user)
    return Compiled(
        lambda using, condition: (
            through._default_manager.using(using)
            .filter(condition)
            .order_by(group)
            .values_list(user, group)
        ),
        lambda: field,
        f'"{through._meta.db_table}"."{field.column}"',
    )
