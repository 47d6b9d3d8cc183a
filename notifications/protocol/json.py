"""The JSON form: one command or reply per line, several lines per frame."""

from collections.abc import Iterator

import msgspec

from .messages import Command, Malformed, Reply

PING = "{}"

_decoder = msgspec.json.Decoder(Command)
_id_decoder = msgspec.json.Decoder(Malformed)
_encoder = msgspec.json.Encoder()


class BadFrame(ValueError):
    """A frame that holds something else than commands."""


def decode_frame(frame: str) -> Iterator[Command | Malformed | None]:
    """The lines of a frame one by one, so that the next can be left alone.

    Returns:
        Commands in order; a :class:`Malformed` one can still be answered. None stands for a line
        that holds nothing; the end of the last line is none.

    Raises:
        BadFrame: a line is not a JSON object, or has no id to answer.
    """
    for line in frame.removesuffix("\n").split("\n"):
        yield _decode(line) if line and not line.isspace() else None


def is_longer(frame: str, size: int) -> bool:
    """Is a text frame longer than ``size`` bytes of UTF-8?"""
    if len(frame) * 4 <= size:
        return False
    return len(frame.encode(errors="surrogatepass")) > size


def encode_reply(reply: Reply) -> str:
    """One line, without a line break."""
    return _encoder.encode(reply).decode()


def encode_publication(channel: str, offset: int, data: bytes) -> str:
    """The push of a publication whose ``data`` is JSON already; built once for all readers."""
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
    except (msgspec.DecodeError, RecursionError) as error:  # the first look stopped before it
        raise BadFrame("not a command") from error
    if command.id == 0:
        raise BadFrame("not a command")
    return command
