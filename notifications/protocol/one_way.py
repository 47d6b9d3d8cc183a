"""The one-way JSON form: the client sends one connect request, and then only listens.

Pushes come without the envelope that tells them from replies::

    {"connect":{"client":"…","subs":{…}}}
    {"channel":"user:7","pub":{"data":{…},"offset":44}}
    {}
    {"disconnect":{"code":3001,"reason":"shutdown","reconnect":true}}

Source: https://centrifugal.dev/docs/transports/uni_client_protocol.
"""

from collections.abc import Iterator

import msgspec

from .codec import BadFrame, Codec
from .commands import Command, ConnectRequest, Malformed
from .messages import PING, Push, Reply
from .prepared import Prepared, PreparedText

_decoder = msgspec.json.Decoder(ConnectRequest | None)
_encoder = msgspec.json.Encoder()


class OneWayJSON(Codec):
    """See :class:`~notifications.protocol.codec.Codec`. A frame is one connect request."""

    is_binary = False
    is_one_way = True

    def decode(self, frame: str | bytes) -> Iterator[Command | Malformed | None]:
        yield Command(id=1, connect=read_connect_request(frame))

    def encode(self, reply: Reply) -> Prepared:
        return Prepared(_encoder.encode(_unwrapped(reply)).decode())

    def encode_publication(self, channel: str, offset: int, data: bytes) -> Prepared:
        name = _encoder.encode(channel)
        return PreparedText(b'{"channel":%b,"pub":{"data":%b,"offset":%d}}' % (name, data, offset))


ONE_WAY_JSON = OneWayJSON()


def read_connect_request(text: str | bytes) -> ConnectRequest:
    """Decode a connect request; blank text and ``null`` stand for an empty one.

    Raises:
        BadFrame: it is not one.
    """
    try:
        return (_decoder.decode(text) if text.strip() else None) or ConnectRequest()
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadFrame("not a connect request") from error


def _unwrapped(reply: Reply) -> Push | Reply:
    """Return what is sent for a reply: only ``connect`` is answered, and errors are closes."""
    if reply.connect is not None:
        return Push(connect=reply.connect)
    return reply.push or PING
