"""``/connection/uni_sse`` and ``/connection/uni_http_stream``: clients that only listen.

They need no SDK. Where their client is, they say when they connect again: by ``Last-Event-ID``, or
by ``subs`` of the connect request. That is also all that acknowledges what they have received.
"""

from __future__ import annotations

from ..hub.sockets.bodies import Answer
from ..protocol import codes
from ..protocol.bodies import Events, Lines
from ..protocol.codec import BadFrame
from ..protocol.codes import Disconnect
from ..protocol.one_way import ONE_WAY_JSON, read_connect_request
from ..protocol.prepared import Prepared
from .emulated import as_text
from .endpoint import Refused, error_answer
from .event_ids import EventIds, NotOurs, with_positions
from .stream import Stream

#: HTTP statuses for clients that are closed before they got anything. EventSource gives up after
#: any status but 200, so these are only for what it must not try again.
STATUSES = {
    codes.EXPIRED: 401,
    codes.INVALID_TOKEN: 401,
    codes.NOT_PERMITTED: 401,
    codes.BAD_FRAME: 400,
    codes.CONNECTION_LIMIT: 429,
}


class OneWay(Stream):
    """A response that begins with the answer to the connect request in the body or the query."""

    methods: tuple[str, ...] = ("GET", "POST")

    async def handle(self, body: bytes) -> None:
        is_post = self.scope["method"] == "POST"
        text = as_text(body) if is_post else self.connect_parameter()
        try:
            read_connect_request(text)
        except BadFrame:
            raise Refused(400, "this is not a connect request") from None
        await self.serve(text)

    def refuse(self, disconnect: Disconnect) -> Answer | None:
        status = STATUSES.get(disconnect)
        if status is None and disconnect.reconnect:
            return None
        answer = error_answer(status or 403, disconnect.reason, disconnect.code)
        return answer._replace(headers=[*answer.headers, *self.cors_headers()])


class OneWaySSE(OneWay):
    codec = Events(ONE_WAY_JSON)
    content_type = b"text/event-stream"

    async def serve(self, first: str | bytes) -> None:
        self._ids = EventIds()
        event_id = self.header(b"last-event-id").decode("latin-1").strip()
        try:
            await super().serve(with_positions(first, event_id) if event_id else first)
        except NotOurs as error:
            raise Refused(400, str(error)) from None

    def render(self, message: Prepared) -> bytes:
        return self._ids.stamp(message)


class OneWayHTTPStream(OneWay):
    methods = ("POST",)
    codec = Lines(ONE_WAY_JSON)
    content_type = b"application/x-ndjson"
