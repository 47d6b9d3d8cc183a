"""The Protobuf form: messages preceded by their length as a varint, several in a frame."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from msgspec import UNSET, Raw, Struct

from . import client_pb2 as pb
from .codec import BadFrame, Codec
from .commands import Command, Malformed
from .messages import Publication, Reply
from .prepared import Prepared

#: Bytes of the longest varint.
MAX_VARINT = 10

#: Messages whose contents have no meaning here: that there is one decides about the request.
_OPAQUE = (pb.FilterNode, pb.TrackBatch)

_json_decoder = msgspec.json.Decoder(Raw)


class ProtobufCodec(Codec):
    """See :class:`~notifications.protocol.codec.Codec`. None stands for an empty frame.

    A message of no bytes is an empty command. One that is malformed and has no id, or is not whole,
    is a :class:`~notifications.protocol.codec.BadFrame`.
    """

    is_binary = True
    pong = b"\x00"

    def decode(self, frame: str | bytes) -> Iterator[Command | Malformed | None]:
        assert isinstance(frame, bytes)
        if not frame:
            yield None
        start = 0
        while start < len(frame):
            size, start = _read_varint(frame, start)
            if size > len(frame) - start:
                raise BadFrame("not whole")
            yield _decode(frame[start : start + size])
            start += size

    def encode(self, reply: Reply) -> Prepared:
        message = pb.Reply()
        _fill(message, reply)
        data = message.SerializeToString()
        return Prepared(_VARINTS[len(data)] + data)

    def encode_publication(self, channel: str, offset: int, data: bytes) -> Prepared:
        # The library would take two to three times as long. A test compares the results.
        name, position, content = _channel(channel), _VARINTS[offset], _FIELDS_4[len(data)]
        size = len(content) + len(data) + 1 + len(position)
        publication = _FIELDS_4[size]
        size += len(name) + len(publication)
        push = _FIELDS_4[size]
        size += len(push)
        parts = (_VARINTS[size], push, name, publication, content, data, b"\x30", position)
        return Prepared(b"".join(parts))


PROTOBUF = ProtobufCodec()


# Decoding


def _read_varint(frame: bytes, start: int) -> tuple[int, int]:
    """Read a varint; return its value and the place after it."""
    value = 0
    for place in range(start, min(len(frame), start + MAX_VARINT)):
        byte = frame[place]
        value |= (byte & 0x7F) << 7 * (place - start)
        if byte < 0x80:
            return value, place + 1
    raise BadFrame("no length")


def _decode(data: bytes) -> Command | Malformed:
    try:
        return msgspec.convert(_plain(pb.Command.FromString(data)), Command)
    except (DecodeError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _malformed(data)


def _malformed(data: bytes) -> Malformed:
    try:
        command_id = pb.Numbered.FromString(data).id
    except DecodeError as error:
        raise BadFrame("not Protobuf") from error
    if command_id == 0:
        raise BadFrame("not a command")
    return Malformed(command_id)


def _plain(message: Any) -> dict[str, Any]:
    """Return what is set in a message, by name; JSON in ``bytes`` fields stays as it is.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: such a field holds no JSON.
    """
    return {field.name: _plain_value(content) for field, content in message.ListFields()}


def _plain_value(value: Any) -> Any:
    # By the exact type: a chain of isinstance() took most of the time of decoding.
    return _CONVERSIONS.get(type(value), _plain_items)(value)


def _plain_items(items: Any) -> Any:
    """Convert a map or a repeated field."""
    if isinstance(items, Mapping):
        return {key: _plain_value(content) for key, content in items.items()}
    if isinstance(items[0], _OPAQUE):
        return [{}]
    return [_plain_value(item) for item in items]


def _sent(request: pb.SendRequest) -> dict[str, Any]:
    """A message without an answer may hold anything. What is not JSON counts as absent."""
    try:
        return {"data": _json(request.data)}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _json(data: bytes) -> Raw:
    """Check that the bytes are JSON; return it in one line, as it can be sent in the JSON form."""
    data.decode()
    content = _json_decoder.decode(data)
    return Raw(msgspec.json.format(data, indent=-1)) if b"\n" in data else content


def _itself(value: Any) -> Any:
    return value


def _nothing(message: Any) -> dict[str, Any]:
    return {}


_CONVERSIONS: dict[type, Callable[[Any], Any]] = {
    **{getattr(pb, name): _plain for name in pb.DESCRIPTOR.message_types_by_name},
    **dict.fromkeys(_OPAQUE, _nothing),
    **dict.fromkeys((bool, int, str), _itself),
    bytes: _json,
    pb.SendRequest: _sent,
}


# Encoding


def _fill(message: Any, content: Struct) -> None:
    """Copy the fields of a struct that are set into the message of the same name."""
    for name in content.__struct_fields__:
        value = getattr(content, name)
        if value is None or value is UNSET:
            continue
        if isinstance(value, str | int):
            setattr(message, name, value)
        elif isinstance(value, Raw):
            setattr(message, name, bytes(value))
        else:
            _fill_inner(getattr(message, name), value)


def _fill_inner(target: Any, value: Any) -> None:
    if isinstance(value, Struct):
        target.SetInParent()
        _fill(target, value)
    elif isinstance(value, list):
        for publication in value:
            _add(target, publication)
    else:
        for key, item in value.items():
            if isinstance(item, str):
                target[key] = item
            else:
                _fill(target[key], item)


def _add(target: Any, publication: Publication) -> None:
    if publication == Publication(publication.data, publication.offset):
        # As most are, several hundred in one reply. This takes half the time.
        target.add(data=bytes(publication.data), offset=publication.offset)
    else:
        _fill(target.add(), publication)


class _Varints(dict[int, bytes]):
    """Varints of numbers that are not negative. Those of most sizes are kept."""

    def __missing__(self, number: int) -> bytes:
        if number < 0x80:
            return bytes((number,))
        return bytes((number & 0x7F | 0x80,)) + self[number >> 7]


class _Fields4(dict[int, bytes]):
    """The beginnings of fields of the number 4, by their length, likewise.

    Such fields are Reply.push, Push.pub and Publication.data.
    """

    def __missing__(self, size: int) -> bytes:
        return b"\x22" + _VARINTS[size]


_VARINTS = _Varints()
_FIELDS_4 = _Fields4()
for _size in range(1024):
    _VARINTS[_size] = _VARINTS[_size]
    _FIELDS_4[_size] = _FIELDS_4[_size]


@lru_cache(1024)
def _channel(name: str) -> bytes:
    """Encode the field Push.channel."""
    encoded = name.encode()
    return b"\x12" + _VARINTS[len(encoded)] + encoded
