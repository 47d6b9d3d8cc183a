"""Human-readable names of streams, such as “Everyone”, “Group Editors” or “reader”."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from ..streams import names as stream_names


def describe_streams(names: Iterable[str]) -> dict[str, str]:
    """Map names of streams to human-readable names, with at most two queries.

    Raises:
        UnknownStream: a name is not that of a stream.
    """
    keys: dict[str, set[str]] = defaultdict(set)
    parsed = {name: stream_names.parse(name) for name in names}
    for kind, key in parsed.values():
        keys[kind].add(key)
    groups = _groups(keys["group"]) if keys["group"] else {}
    users = _users(keys["user"]) if keys["user"] else {}
    return {name: _describe(kind, key, groups, users) for name, (kind, key) in parsed.items()}


def _describe(kind: str, key: str, groups: dict[str, str], users: dict[str, str]) -> str:
    if kind == "broadcast":
        return gettext("Everyone")
    if kind == "staff":
        return gettext("Staff")
    if kind == "topic":
        return gettext("Topic %s") % key
    if kind == "group":
        return gettext("Group %s") % groups.get(key, key)
    return users.get(key) or gettext("user %s") % key


def _groups(keys: Iterable[str]) -> dict[str, str]:
    rows = Group.objects.filter(pk__in=[int(key) for key in keys])
    return {str(pk): name for pk, name in rows.values_list("pk", "name")}


def _users(keys: Iterable[str]) -> dict[str, str]:
    users = get_user_model()
    rows = users._default_manager.filter(pk__in=_valid_keys(keys))
    return {str(user.pk): user.get_username() for user in rows}


def _valid_keys(keys: Iterable[str]) -> list[Any]:
    """Convert the keys that are valid for this user model; a stream may be named after any text."""
    field = get_user_model()._meta.pk
    found = []
    for key in keys:
        try:
            found.append(field.to_python(key))
        except (ValidationError, ValueError):
            continue
    return found
