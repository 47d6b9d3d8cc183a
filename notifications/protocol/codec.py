"""The forms of the protocol: how commands are decoded, and how replies are encoded.

Nothing above a codec knows which one a client speaks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from .commands import Command, Malformed
from .messages import Reply
from .prepared import Prepared


class BadFrame(ValueError):
    """A frame that contains anything but commands."""


class Codec(ABC):
    """One form of the protocol. Codecs are stateless: one instance serves all connections."""

    #: Whether its messages are binary ones rather than texts.
    is_binary: bool

    #: Whether its clients only listen: after ``connect`` they send nothing, not even pongs.
    is_one_way: bool = False

    #: The whole frame of a client that only answers a ping; None if its clients never do.
    pong: str | bytes | None = None

    @abstractmethod
    def decode(self, frame: str | bytes) -> Iterator[Command | Malformed | None]:
        """Decode a frame of commands one by one, so that the caller can stop after any of them.

        Args:
            frame: bytes if the codec :attr:`is_binary`, else text.

        Yields:
            Commands in order. A :class:`~notifications.protocol.commands.Malformed` one has an id,
            so it can be answered. None stands for an empty command that is not even a pong.

        Raises:
            BadFrame: the rest of the frame cannot be decoded.
        """

    @abstractmethod
    def encode(self, reply: Reply) -> Prepared:
        """Encode one reply or push."""

    @abstractmethod
    def encode_publication(self, channel: str, offset: int, data: bytes) -> Prepared:
        """Encode the push of a publication.

        Args:
            channel: name of the stream.
            offset: offset of the publication in it.
            data: its content, which is already JSON.
        """


class Encodings(dict[Codec, Prepared]):
    """One push in the forms that its readers speak, each encoded when the first reader needs it.

    >>> messages = Encodings(lambda codec: codec.encode(reply))
    >>> socket.offer(messages[connection.codec])
    """

    def __init__(self, encode: Callable[[Codec], Prepared]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, codec: Codec) -> Prepared:
        message = self[codec] = self._encode(codec)
        return message


def is_longer(frame: str | bytes, size: int) -> bool:
    """Return whether a frame is longer than ``size`` bytes; text is counted as UTF-8."""
    if isinstance(frame, bytes):
        return len(frame) > size
    if len(frame) * 4 <= size:
        return False
    return len(frame.encode(errors="surrogatepass")) > size
