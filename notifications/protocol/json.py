"""The JSON encoding: one command or reply per line, several lines per frame."""

from collections.abc import Iterator

import msgspec

from .messages import Command, Malformed, Reply

PING = "{}"

_decoder = msgspec.json.Decoder(Command)
_id_decoder = msgspec.json.Decoder(Malformed)
_encoder = msgspec.json.Encoder()


class BadFrame(ValueError):
    """A frame that contains anything but commands."""


def decode_frame(frame: str) -> Iterator[Command | Malformed | None]:
    """Decode a frame line by line, so that the caller can stop after any command.

    Yields:
        Commands in order. A :class:`~notifications.protocol.messages.Malformed` one has an id, so
        it can be answered. None stands for a blank line; a trailing line break adds none.

    Raises:
        BadFrame: a line is not a JSON object, or is malformed and has no id.
    """
    for line in frame.removesuffix("\n").split("\n"):
        yield _decode(line) if line and not line.isspace() else None


def is_longer(frame: str, size: int) -> bool:
    """Return whether a text frame is longer than ``size`` bytes of UTF-8."""
    if len(frame) * 4 <= size:
        return False
    return len(frame.encode(errors="surrogatepass")) > size


def encode_reply(reply: Reply) -> str:
    """Encode a reply as one line, without a line break."""
    return _encoder.encode(reply).decode()


def encode_publication(channel: str, offset: int, data: bytes) -> str:
    """Encode the push of a publication whose ``data`` is already JSON, once for all readers."""
    name = _encoder.encode(channel).decode()
    return f'{{"push":{{"channel":{name},"pub":{{"data":{data.decode()},"offset":{offset}}}}}}}'


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
