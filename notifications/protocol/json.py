"""The JSON form: one command or reply per line, several lines per frame."""

from collections.abc import Iterator

import msgspec

from .codec import BadFrame, Codec
from .commands import Command, Malformed
from .messages import Reply
from .prepared import Prepared

_decoder = msgspec.json.Decoder(Command)
_id_decoder = msgspec.json.Decoder(Malformed)
_encoder = msgspec.json.Encoder()


class JSONCodec(Codec):
    """See :class:`~notifications.protocol.codec.Codec`. None stands for a blank line.

    A trailing line break adds no blank line. A line that is not a JSON object, or is malformed
    and has no id, is a :class:`~notifications.protocol.codec.BadFrame`.
    """

    is_binary = False

    def decode(self, frame: str | bytes) -> Iterator[Command | Malformed | None]:
        assert isinstance(frame, str)
        for line in frame.removesuffix("\n").split("\n"):
            yield _decode(line) if line and not line.isspace() else None

    def encode(self, reply: Reply) -> Prepared:
        return Prepared(_encoder.encode(reply).decode())

    def encode_publication(self, channel: str, offset: int, data: bytes) -> Prepared:
        name = _encoder.encode(channel).decode()
        publication = f'{{"data":{data.decode()},"offset":{offset}}}'
        return Prepared(f'{{"push":{{"channel":{name},"pub":{publication}}}}}')


JSON = JSONCodec()


def _decode(line: str) -> Command | Malformed:
    try:
        return _decoder.decode(line)
    except msgspec.ValidationError:
        return _malformed(line)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise BadFrame("not JSON") from error


def _malformed(line: str) -> Malformed:
    try:
        command = _id_decoder.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:  # past the point where _decoder stopped
        raise BadFrame("not a command") from error
    if command.id == 0:
        raise BadFrame("not a command")
    return command
