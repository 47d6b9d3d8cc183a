"""What is announced of notifications that have just got their offsets, and how many are packed.

Thousands of streams may get the same notification at once. Then one message of the channel layer
carries its content once, and an entry for each stream. The entries are packed to bytes here: layers
copy or pack a message value by value.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec


class Numbered(NamedTuple):
    """A notification that has just got its offset.

    The order of the fields is that of a packed entry.
    """

    #: Name and epoch of the stream.
    name: str
    epoch: str
    offset: int
    #: Primary key of the notification.
    id: int
    #: When it was published, in microseconds since 1970.
    at: int
    #: When the previous entry of the stream was published, likewise; 0 if there is none.
    previous: int = 0


_decoder = msgspec.msgpack.Decoder(list[tuple[str, str, int, int, int, int]])


def pack(entries: Sequence[Numbered]) -> bytes:
    """Pack entries for a message of the channel layer, as a MessagePack array of arrays."""
    return msgspec.msgpack.encode(entries)


def unpack(packed: bytes) -> list[tuple[str, str, int, int, int, int]]:
    """Unpack what :func:`pack` has made: tuples with the fields of :class:`Numbered`.

    Raises:
        msgspec.MsgspecError: it is anything else, as of a worker of another version.
    """
    return _decoder.decode(packed)


def with_id(content: bytes, pk: int) -> bytes:
    """Put the id into the content of a notification, as its first member.

    Args:
        content: a JSON object with at least one member, and without ``id``.
        pk: primary key of the notification.
    """
    return b'{"id":%d,%b' % (pk, content[1:])
