"""The two forms of the protocol as a client encodes and decodes them: as dicts, whichever form.

They share no code with the server: the Protobuf messages are those of a foreign SDK, so a test
cannot repeat a mistake of the server's schema.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import centrifuge.protocol.client_pb2 as foreign  # type: ignore[import-untyped]
import pytest


class Form(Protocol):
    """One form. Commands and replies are dicts with the field names of ``client.proto``."""

    name: str
    subprotocol: str

    def encode(self, commands: Iterable[Any]) -> Any:
        """Encode commands as one frame: text, or bytes."""

    def decode(self, frame: Any) -> list[dict[str, Any]]:
        """Decode the replies in a frame."""


class JSONForm:
    name = "json"
    subprotocol = "centrifuge-json"

    def encode(self, commands: Iterable[Any]) -> str:
        return "\n".join(compact(command) for command in commands)

    def decode(self, frame: Any) -> list[dict[str, Any]]:
        assert isinstance(frame, str), "a binary frame"
        return [json.loads(line) for line in frame.split("\n")]


class ProtobufForm:
    """Fields of the type ``bytes`` hold any JSON; fields that the schema lacks are left out.

    Args:
        schema: the generated module with the messages.
    """

    name = "protobuf"
    subprotocol = "centrifuge-protobuf"

    def __init__(self, schema: Any = foreign) -> None:
        self._schema = schema

    def encode(self, commands: Iterable[Any]) -> bytes:
        """Encode commands as one frame.

        Raises:
            One of ``UNENCODABLE``: Protobuf cannot express one of the values.
        """
        return b"".join(self._encode(self._schema.Command(), command) for command in commands)

    def encode_replies(self, replies: Iterable[Any]) -> bytes:
        return b"".join(self._encode(self._schema.Reply(), reply) for reply in replies)

    def decode(self, frame: Any) -> list[dict[str, Any]]:
        assert isinstance(frame, bytes), "a text frame"
        return [_plain(self._schema.Reply.FromString(message)) for message in split(frame)]

    def _encode(self, message: Any, fields: Any) -> bytes:
        _fill(message, fields)
        return whole(message.SerializeToString())


JSON = JSONForm()
PROTOBUF = ProtobufForm()
FORMS: tuple[Form, ...] = (JSON, PROTOBUF)

#: What ``PROTOBUF.encode`` raises if Protobuf cannot express a value.
UNENCODABLE = (TypeError, ValueError, AttributeError, OverflowError)

#: Runs a test with each form, as the argument ``form``.
in_each_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


def compact(value: Any) -> str:
    """Encode JSON without spaces. Only lone surrogates are escaped, which UTF-8 cannot express."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "".join(f"\\u{ord(char):04x}" if "\ud800" <= char <= "\udfff" else char for char in text)


def whole(message: bytes) -> bytes:
    """Put the length of a message before it."""
    return varint(len(message)) + message


def varint(number: int) -> bytes:
    """Encode a number in base 128, the lowest digit first; negative ones in 64 bits."""
    number %= 2**64
    digits = []
    while number >= 128:
        digits.append(number % 128 + 128)
        number //= 128
    return bytes([*digits, number])


def field(number: int, content: bytes | int) -> bytes:
    """Encode a field: a number as a varint, bytes with their length before them."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + whole(content)


def split(frame: bytes) -> Iterator[bytes]:
    """Yield the messages of a frame."""
    while frame:
        size = shift = 0
        while True:
            digit, frame = frame[0], frame[1:]
            size += digit % 128 << shift
            shift += 7
            if digit < 128:
                break
        assert size <= len(frame), "the frame ends in the middle of a message"
        yield frame[:size]
        frame = frame[size:]


def _fill(message: Any, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        known = message.DESCRIPTOR.fields_by_name.get(name)
        if known is not None:
            _set(message, known, value)


def _set(message: Any, known: Any, value: Any) -> None:
    current = getattr(message, known.name)
    if known.type == known.TYPE_BYTES:
        setattr(message, known.name, compact(value).encode())
    elif hasattr(current, "extend"):
        _extend(current, value)
    elif known.message_type is None:
        setattr(message, known.name, value)
    elif hasattr(current, "keys"):
        _update(current, value)
    elif value is not None:  # null stands for an absent message
        current.SetInParent()
        _fill(current, value)


def _update(target: Any, items: Mapping[str, Any]) -> None:
    for key, item in items.items():
        if isinstance(item, Mapping):
            _fill(target[key], item)
        else:
            target[key] = item


def _extend(target: Any, items: list[Any]) -> None:
    if not isinstance(items, list):
        raise TypeError("not a list")
    for item in items:
        if isinstance(item, Mapping):
            _fill(target.add(), item)
        else:
            target.append(item)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return json.loads(value)
    if isinstance(value, str | int):
        return value
    if hasattr(value, "ListFields"):
        return {known.name: _plain(item) for known, item in value.ListFields()}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value]
