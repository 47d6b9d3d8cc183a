"""Decoding requests, and refusing what they ask for in vain."""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from ...protocol import codes
from ...protocol.codes import ClientError

T = TypeVar("T")

#: Characters of an explanation. It may quote names of fields, which may be of any length.
MAX_DETAIL = 500


def decode(data: bytes, kind: type[T]) -> T:
    """Decode JSON.

    Raises:
        ClientError: the bytes are not JSON, or do not match ``kind``; the error says where.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ClientError(codes.BAD_REQUEST, str(error)[:MAX_DETAIL]) from None


def refuse(request: msgspec.Struct, names: Iterable[str]) -> None:
    """Refuse a request that uses one of these fields: ignoring it would promise too much.

    Raises:
        ClientError: a field has another value than its default.
    """
    unused = type(request)()
    for name in names:
        if getattr(request, name) != getattr(unused, name):
            raise ClientError(codes.NOT_AVAILABLE, name)
