"""The names of the channel layer's groups."""

import re
from hashlib import blake2b

from .namespaces import RESERVED

#: Keys that become part of a group name unchanged. Channels takes names of less than 100
#: characters; the longest prefix has 24.
PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


def group_name(stream: str) -> str:
    """The layer group of a stream: ``user:7`` → ``notifications.user.7``.

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
