"""Names of streams: ``user:<id>``, ``broadcast``, ``staff``, ``group:<id>``, ``topic:<slug>``.

Channels of durable namespaces are streams too; see :mod:`notifications.namespaces` for their names.

See :mod:`notifications.streams.access` for who may read and write which.
"""

import re
from typing import Any, NamedTuple

from ..conf import TOPIC_SLUG
from ..namespaces import RESERVED
from ..texts import is_storable, plain

BROADCAST = "broadcast"
STAFF = "staff"
#: Prefixes of the names of the streams of users, groups and topics.
USER_PREFIX = "user:"
GROUP_PREFIX = "group:"
TOPIC_PREFIX = "topic:"
SHARED_KINDS = ("broadcast", "staff", "group", "topic")

GROUP = re.compile(r"[1-9][0-9]{0,17}\Z")
TOPIC = TOPIC_SLUG


class UnknownStream(ValueError):
    """A name that no stream can have."""


class StreamName(NamedTuple):
    kind: str
    key: str


def parse(name: str) -> StreamName:
    """Split a name into kind and key.

    Raises:
        UnknownStream: the name has none of the five forms, is longer than 255 characters, or
            cannot be stored.
    """
    name = plain(name)
    if name in (BROADCAST, STAFF):
        return StreamName(name, "")
    kind, colon, key = name.partition(":")
    if not colon or not key or len(name) > 255 or not is_storable(name):
        raise UnknownStream(name)
    if kind == "topic" and TOPIC.match(key):
        return StreamName(kind, key)
    if kind == "group" and GROUP.match(key):
        return StreamName(kind, key)
    if kind == "user":
        return StreamName(kind, key)
    raise UnknownStream(name)


def user_stream(user_id: Any) -> str:
    return f"{USER_PREFIX}{user_id}"


def group_stream(group_id: Any) -> str:
    return f"{GROUP_PREFIX}{group_id}"


def topic_stream(slug: str) -> str:
    """The stream of a topic.

    Raises:
        UnknownStream: ``slug`` is not 1–100 letters, digits, ``-``, ``_`` or (not first) ``.``.
    """
    return TOPIC_PREFIX + parse(TOPIC_PREFIX + plain(slug)).key


def is_channel(name: str) -> bool:
    """Return whether this is the name of a channel of a namespace, declared or not."""
    return name.partition(":")[0] not in RESERVED


def is_topic(name: str) -> bool:
    return name.startswith(TOPIC_PREFIX)


def is_private(name: str) -> bool:
    return name.startswith(USER_PREFIX)
