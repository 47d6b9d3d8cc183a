"""``/connection/http_stream`` and ``/connection/sse``: both directions, as SDKs emulate them.

The client receives over the response, and sends to ``/emulation``
(:mod:`notifications.transports.emulation`). Every error is one of the protocol, in the response:
SDKs take any other status than 200 for a broken network.
"""

from __future__ import annotations

from ..protocol.bodies import Events, Lines
from ..protocol.codec import Codec
from ..protocol.json import JSON
from ..protocol.protobuf import PROTOBUF
from .endpoint import BINARY, Refused
from .query import CONNECT_PARAMETER
from .stream import Stream

LINES = Lines(JSON)
EVENTS = Events(JSON)


class HTTPStream(Stream):
    """A POST with the connect command; the response has one reply or push per line.

    In the Protobuf form each message is preceded by its length, in both directions.
    """

    codec: Codec = LINES
    content_type = b"application/x-ndjson"
    preamble = b""
    is_emulated = True

    async def handle(self, body: bytes) -> None:
        if not self.is_binary:
            await self.serve(as_text(body))
            return
        self.codec, self.content_type = PROTOBUF, BINARY
        await self.serve(body)


class SSE(Stream):
    """A GET with the connect command in its query, or a POST; the response has events."""

    methods = ("GET", "POST")
    codec = EVENTS
    content_type = b"text/event-stream"
    preamble = b":\n\n"  # a comment, so that the headers are sent
    is_emulated = True

    async def handle(self, body: bytes) -> None:
        if self.scope["method"] == "POST":
            await self.serve(as_text(body))
            return
        command = self.connect_parameter()
        if not command:
            raise Refused(400, f"the parameter {CONNECT_PARAMETER} is missing")
        if "\n" in command:
            # Only connect may come first, so a link can change nothing.
            raise Refused(400, f"{CONNECT_PARAMETER} must be one command")
        await self.serve(command)


def as_text(body: bytes) -> str:
    """Decode a body.

    Raises:
        Refused: it is not UTF-8.
    """
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Refused(400, "the body is not UTF-8") from None
