"""The names of the channel layer's groups."""

import re
from hashlib import blake2b

from .conf import app_settings, layer_is_in_memory
from .namespaces import RESERVED

#: Keys that become part of a group name unchanged. Channels takes names of less than 100
#: characters; the longest prefix has 24.
PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")

#: The group of all private streams in the in-memory layer.
PRIVATE_STREAMS = "notifications.users"


def layer_group(stream: str) -> str:
    """The group through which hints about a stream travel in the configured layer.

    Channels' in-memory layer walks all its groups whenever a message is received. So there all
    private streams share a group, and the hub ignores hints about users who are not connected.
    That layer belongs to one process. In any other layer each stream has a group of its own, so
    that no process receives what only others need.
    """
    if stream.startswith("user:") and layer_is_in_memory(app_settings.CHANNEL_LAYER):
        return PRIVATE_STREAMS
    return group_name(stream)


def group_name(stream: str) -> str:
    """The group of this stream alone: ``user:7`` → ``notifications.user.7``.

    Group names allow letters, digits, ``-_.`` and less than 100 characters (Channels, *Channel
    layer specification*). User keys may be any text; those that do not fit are hashed.
    """
    kind, _, key = stream.partition(":")
    if kind not in RESERVED:
        return f"notifications.channel.{_hashed(stream)}"
    if not key:
        return f"notifications.{kind}"
    if not PLAIN.match(key) or key.startswith("hash-"):
        key = _hashed(key)
    return f"notifications.{kind}.{key}"


def _hashed(text: str) -> str:
    return f"hash-{blake2b(text.encode(), digest_size=16).hexdigest()}"
