"""``publish``: any JSON to a channel of a namespace; see :mod:`notifications.namespaces`.

A publication of a durable namespace goes the way of a notification: it is written in the caller's
transaction if there is one, and announced after the commit. It is a row of the same table, with the
publication as JSON in a column of its own. One of an ephemeral namespace goes to the channel layer
after the commit, and nowhere else.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django.utils import timezone

from ..conf import app_settings
from ..database.transactions import after_commit
from ..layer import announcer, ephemeral_message
from ..models import Notification, database_alias
from ..namespaces import find_namespace
from ..options import Text
from ..protocol import messages
from ..texts import TEXT, is_storable, plain, plain_json
from .inserting import insert

#: Most tags of a publication, and most characters of a name and of a value.
MAX_TAGS = 16
MAX_TAG = 255

#: Most characters of a key.
MAX_KEY = Notification._meta.get_field("key").max_length or 0


def publish(
    channel: Text, data: Any, *, tags: Mapping[str, str] | None = None, key: Text | None = None
) -> None:
    """Publish to a channel of a namespace. Rights are for clients: server code may always publish.

    Nothing is sent before the caller's transaction has committed, and nothing if it is rolled back.

    Args:
        channel: its name, such as ``chat:7``.
        data: what clients get, at most ``MAX_DATA_SIZE`` bytes as JSON; see
            :func:`notifications.texts.plain_json` for the values. ``None`` is JSON, too.
        tags: up to 16 short texts by name, which clients get beside the data.
        key: identifies the publication in its channel, at most 200 characters: publishing again
            with the same key does nothing, for as long as the first publication is kept. Of
            concurrent calls with one key, one is published. "" or None for no key. Only for
            durable namespaces: where nothing is stored, nothing can be compared.

    Raises:
        ValueError: the channel belongs to no namespace of ``NAMESPACES``, the data is too large, no
            JSON or refused by the namespace's ``schema``, a tag is no short text, or the key is no
            short text or for an ephemeral namespace.
    """
    channel = plain(channel)
    key = check_key(channel, key)
    content = compose(channel, data, tags)
    if find_namespace(channel).durable:
        store(channel, content, key)
    else:
        after_commit(database_alias(), _send, channel, content)


async def apublish(
    channel: Text, data: Any, *, tags: Mapping[str, str] | None = None, key: Text | None = None
) -> None:
    """:func:`publish` for asynchronous code; the same arguments and errors."""
    await sync_to_async(publish)(channel, data, tags=tags, key=key)


def check_key(channel: str, key: Text | None) -> str | None:
    """Check a key of :func:`publish`, and return it as it is stored; None for none.

    Raises:
        ValueError: it is no short text, or the namespace of the channel stores nothing.
    """
    if key is not None and not isinstance(key, TEXT):
        raise ValueError("key: this must be text")
    if key is None or not (key := plain(key)):
        return None
    namespace = find_namespace(channel)
    if not namespace.durable:
        raise ValueError(f"key: the namespace {namespace.name!r} stores nothing to compare it with")
    if len(key) > MAX_KEY:
        raise ValueError(f"key: at most {MAX_KEY} characters are allowed")
    if not is_storable(key):
        raise ValueError("key: this must be plain text")
    return key


def compose(
    channel: str,
    data: Any,
    tags: Mapping[str, str] | None = None,
    info: messages.ClientInfo | None = None,
) -> bytes:
    """Check a publication, and encode it as it is stored and announced.

    Args:
        channel: name of the channel.
        data: see :func:`publish`, also for the tags.
        info: the client that publishes it; None for server code.

    Raises:
        ValueError: see :func:`publish`.
        Exception: whatever else the namespace's ``schema`` raises.
    """
    namespace = find_namespace(channel)
    value = plain_json(data)
    encoded = msgspec.json.encode(value)
    if len(encoded) > app_settings.MAX_DATA_SIZE:
        size, maximum = len(encoded), app_settings.MAX_DATA_SIZE
        raise ValueError(f"data: {size} bytes, but at most {maximum} are allowed")
    namespace.check(value)
    whole = messages.Publication(data=msgspec.Raw(encoded), info=info, tags=_plain_tags(tags or {}))
    return msgspec.json.encode(whole)


def store(channel: str, content: bytes, key: str | None = None) -> None:
    """Write what :func:`compose` returned for a channel of a durable namespace."""
    store_in_each([channel], content, key)


def store_in_each(channels: Sequence[str], content: bytes, key: str | None = None) -> Sequence[int]:
    """Write one publication to each of these channels, in one transaction.

    Args:
        channels: names of channels of durable namespaces, each of them once.
        content: what :func:`compose` returned.
        key: what :func:`check_key` returned.

    Returns:
        The primary keys of the rows; see :func:`notifications.publishing.notify.originals`.
    """
    draft = Notification(
        kind="publication",
        title="",
        publish_at=timezone.now(),
        publication=content.decode(),
        key=key,
    )
    return insert(draft, channels, None)


def _send(channel: str, content: bytes) -> None:
    announcer.send(channel, ephemeral_message(channel, content, now()))


def now() -> int:
    """The present in microseconds since 1970, by this machine's clock."""
    return time.time_ns() // 1000


def _plain_tags(tags: Mapping[str, str]) -> dict[str, str]:
    if len(tags) > MAX_TAGS:
        raise ValueError(f"tags: {len(tags)}, but at most {MAX_TAGS} are allowed")
    for part in (part for item in tags.items() for part in item):
        if not isinstance(part, TEXT) or len(plain(part)) > MAX_TAG:
            raise ValueError(f"tags: names and values are texts of at most {MAX_TAG} characters")
    found: dict[str, str] = plain_json(dict(tags))
    return found
