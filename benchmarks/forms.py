"""The two forms of the protocol beside each other: bytes, and CPU time to encode them."""

import time
from collections.abc import Callable

import msgspec

from notifications.protocol.codec import Codec
from notifications.protocol.json import JSON
from notifications.protocol.messages import ConnectResult, Publication, Reply, SubscribeResult
from notifications.protocol.prepared import Prepared
from notifications.protocol.protobuf import PROTOBUF

from .results import ENCODED, FORMS, Row

#: A notification as an application sends it.
CONTENT = msgspec.json.encode(
    {
        "id": 123456,
        "kind": "order.shipped",
        "level": "success",
        "title": "Your order has shipped",
        "body": "It arrives on Thursday, between 10 and 12 o'clock.",
        "url": "/orders/123456/",
        "data": {"order": 123456},
        "created": "2026-01-02T03:04:05.678Z",
    }
)
CHANNEL = "user:123456"

#: Publications in the reply to a client that comes back.
MISSED = 300

#: Blocks of calls, of which the fastest counts, and the calls of each.
BLOCKS, CALLS = 60, 200


def encoding() -> list[Row]:
    """Measure how long each form takes, and how long its messages are."""
    return [
        Row(ENCODED, name, 1, _values(codec)) for name, codec in zip(FORMS, CODECS, strict=True)
    ]


CODECS = (JSON, PROTOBUF)


def _values(codec: Codec) -> dict[str, float]:
    reply = _reply()
    publication, one = _measured(lambda: codec.encode_publication(CHANNEL, 4321, CONTENT), CALLS)
    back, several = _measured(lambda: codec.encode(reply), 2)
    return {
        "µs per publication": one,
        "bytes": len(publication.frame),
        f"µs per reply with {MISSED}": several,
        "bytes of the reply": len(back.frame),
    }


def _reply() -> Reply:
    """What a client gets that has missed several hundred notifications."""
    missed = [Publication(msgspec.Raw(CONTENT), offset) for offset in range(1, MISSED + 1)]
    own = SubscribeResult(True, "ab12cd34", missed, True, MISSED, True, True)
    return Reply(1, connect=ConnectResult("2f3b0d5a", subs={CHANNEL: own}, ping=25, pong=True))


def _measured(encode: Callable[[], Prepared], calls: int) -> tuple[Prepared, float]:
    """Return a message, and the CPU time to encode and frame it in µs."""
    times = []
    for _ in range(BLOCKS):
        began = time.process_time()
        for _ in range(calls):
            encode()
        times.append(time.process_time() - began)
    return encode(), min(times) / calls * 1e6
