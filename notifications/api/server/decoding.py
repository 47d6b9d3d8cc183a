"""Decoding requests, and refusing what they ask for in vain."""

from collections.abc import Iterable
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

from ...protocol import codes
from ...protocol.codes import ClientError

T = TypeVar("T")
S = TypeVar("S", bound=Struct)

NULL = Raw(b"null")

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


def decode_object(data: bytes, kind: type[S]) -> S:
    """Decode a JSON object. A member that is null counts as left out.

    Many programs write null for what they have not set, and Centrifugo takes it. In a field that
    takes any JSON, null is a value like others.

    Raises:
        ClientError: as :func:`decode`.
    """
    if b"null" in data:
        any_json = {field.name for field in msgspec.structs.fields(kind) if field.type is Raw}
        members = {} if data.strip() == b"null" else decode(data, dict[str, Raw])
        kept = {name: v for name, v in members.items() if v != NULL or name in any_json}
        data = msgspec.json.encode(kept)
    return decode(data, kind)


def refuse(request: Struct, names: Iterable[str]) -> None:
    """Refuse a request that uses one of these fields: ignoring it would promise too much.

    Raises:
        ClientError: a field has a value that is neither its default nor null.
    """
    unused = type(request)()
    for name in names:
        if getattr(request, name) not in (getattr(unused, name), NULL):
            raise ClientError(codes.NOT_AVAILABLE, name)
