"""The JSON form: one command or reply per line, several lines per frame."""

import json
from collections.abc import Iterator

import msgspec

from .codec import BadFrame, Codec
from .commands import Command, Malformed
from .messages import Reply
from .prepared import Prepared, PreparedText

_decoder = msgspec.json.Decoder(Command)
_id_decoder = msgspec.json.Decoder(Malformed)
_encoder = msgspec.json.Encoder()


class JSONCodec(Codec):
    """See :class:`~notifications.protocol.codec.Codec`. None stands for a blank line.

    A trailing line break adds no blank line. A line that is not a JSON object, or is malformed
    and has no id, is a :class:`~notifications.protocol.codec.BadFrame`.
    """

    is_binary = False
    pong = "{}"

    def decode(self, frame: str | bytes) -> Iterator[Command | Malformed | None]:
        assert isinstance(frame, str)
        for line in frame.removesuffix("\n").split("\n"):
            yield _decode(line) if line and not line.isspace() else None

    def encode(self, reply: Reply) -> Prepared:
        return PreparedText(_encoder.encode(reply))

    def encode_publication(self, channel: str, offset: int, data: bytes) -> Prepared:
        name = _encoder.encode(channel)
        # The encoder would take three times as long. A test compares the results.
        return PreparedText(
            b'{"push":{"channel":%b,"pub":{"data":%b,"offset":%d}}}' % (name, data, offset)
        )


JSON = JSONCodec()


def _decode(line: str) -> Command | Malformed:
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _malformed(line)


def _malformed(line: str) -> Malformed:
    try:
        command = _read_id(line)
    except (ValueError, RecursionError) as error:
        raise BadFrame("not a command") from error
    if command.id == 0:
        raise BadFrame("not a command")
    return command


def _read_id(line: str) -> Malformed:
    """Read the id of a command, even if the line is JSON only to JavaScript or Python.

    Applications that cut a text within an emoji send half of a surrogate pair, and Python's SDK
    sends ``NaN``. SDKs never connect again after a bad frame, so such a command is answered.
    """
    try:
        return _id_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return msgspec.convert(json.loads(line), Malformed)
