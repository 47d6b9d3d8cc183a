"""Which channels a key may use, and which of them have an audience."""

from collections.abc import Iterable

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import DataError

from ...connect.authentication import parse_key
from ...models import APIKey
from ...namespaces import namespace_of
from ...protocol import codes
from ...protocol.codes import ClientError
from ...streams import access
from ...streams import names as stream_names
from ...streams.rows import chunks


def check_channel(key: APIKey, name: str) -> None:
    """Check that this key may use a channel, and that there can be such a channel.

    The scope comes first, so that a key learns nothing about channels outside of it.

    Raises:
        ClientError: the name is empty, out of scope, or neither a stream's nor a namespace's.
    """
    if not name:
        raise ClientError(codes.BAD_REQUEST, "channel required")
    if not key.may_use(name):
        raise ClientError(codes.PERMISSION_DENIED)
    if namespace_of(name) is not None:
        return
    try:
        stream_names.parse(name)
    except stream_names.UnknownStream:
        raise ClientError(codes.UNKNOWN_CHANNEL) from None


def without_audience(names: Iterable[str]) -> set[str]:
    """Return the streams whose user or group does not exist, with one query per 500 of each kind.

    Args:
        names: names of built-in streams; see :func:`notifications.streams.access.has_audience`.
    """
    parsed = {name: stream_names.parse(name) for name in names}
    users = {name: key for name, (kind, key) in parsed.items() if kind == "user"}
    groups = {name: int(key) for name, (kind, key) in parsed.items() if kind == "group"}
    return _without_user(users) | _without_group(groups)


def _without_user(wanted: dict[str, str]) -> set[str]:
    keys = {name: key for name, text in wanted.items() if (key := parse_key(text)) is not None}
    users = get_user_model()._default_manager
    found: set[str] = set()
    for chunk in chunks(list(keys)):
        try:
            rows = users.filter(pk__in=[keys[name] for name in chunk]).values_list("pk", flat=True)
            found.update(stream_names.user_stream(pk) for pk in rows)
        except DataError:  # one of them is no key for this database
            found.update(name for name in chunk if access.has_audience(name))
    return wanted.keys() - found


def _without_group(wanted: dict[str, int]) -> set[str]:
    found: set[str] = set()
    for chunk in chunks(list(wanted)):
        rows = Group.objects.filter(pk__in=[wanted[name] for name in chunk])
        found.update(stream_names.group_stream(pk) for pk in rows.values_list("pk", flat=True))
    return wanted.keys() - found
