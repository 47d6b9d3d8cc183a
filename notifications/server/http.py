"""uvicorn's HTTP protocol with a limit on everything that a client can make it wait for.

uvicorn itself waits for ever for a request to be complete and for a response to be read, buffers
a head of any length, and starts all the requests of one read at once.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .flow_control import ParsingFlowControl
from .handshake import MAX_FIELDS, refuse
from .pieces import next_piece
from .timed_transport import TimedTransport

#: Seconds in which the head of a request must be complete, and bytes that it may have. The same
#: number of bytes may separate or follow the bytes of a body: chunk framing and trailers.
HEAD_TIMEOUT = 30.0
MAX_HEAD = 64 * 1024

#: Seconds in which a body must be complete or grow by ``MIN_BODY_PROGRESS`` bytes. Its size and
#: total time are up to the application. (Apache's mod_reqtimeout: 500 bytes a second.)
BODY_TIMEOUT = 30.0
MIN_BODY_PROGRESS = 15_000

#: The extension of a request's scope that drops its connection.
ABORT = "notifications.abort"

#: Fields, body parts and requests that are parsed in one turn of the event loop.
MAX_PER_TURN = 64


class Http(HttpToolsProtocol):
    """One connection that is not a websocket, or not yet."""

    #: Bytes that are not parsed yet. While there are any, the socket is not read.
    _held: bytearray
    #: Bytes since the request began, its head ended or the last part of its body arrived.
    _size = 0
    #: Bytes of the body since the timer was started; None outside a body.
    _progress: int | None = None
    #: Fields, body parts and requests found in this turn of the event loop.
    _found = 0
    _timer: asyncio.TimerHandle | None = None

    flow: ParsingFlowControl
    _timed_transport: TimedTransport

    # What the transport calls

    def connection_made(self, transport: Any) -> None:
        self._held = bytearray()
        self._timed_transport = TimedTransport(transport, self.loop)
        super().connection_made(self._timed_transport)  # type: ignore[arg-type]
        self.flow = ParsingFlowControl(transport)
        self._start_timer(HEAD_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        self._held.clear()
        self._stop_timer()
        self._timed_transport.lost()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Limit the time for the rest of the response; the transport closes after it."""
        self._timed_transport.watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._timed_transport.watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._timed_transport.unwatch()

    def data_received(self, data: bytes) -> None:
        is_going_on = bool(self._held)
        self._held += data
        if not is_going_on:
            self._parse_held()

    def _parse_held(self) -> None:
        """Parse as much as one turn of the event loop allows; the rest follows in the next.

        Nothing more is parsed while a pipelined request waits for the one before it.
        """
        self._found = 0
        while self._held and self._found < MAX_PER_TURN and not self.pipeline:
            self._parse(next_piece(self._held))
            if self.transport.is_closing() or self.transport.get_protocol() is not self:
                self._held.clear()
        self.flow.hold(bool(self._held))
        if self._held and not self.pipeline:
            self.loop.call_soon(self._parse_held)

    def _parse(self, piece: bytes) -> None:
        if self._timer is None:  # the next request begins, perhaps with blank lines
            self._start_timer(HEAD_TIMEOUT)
        self._size += len(piece)
        if self._size > MAX_HEAD:
            self.send_400_response("This request is too large.")
        else:
            super().data_received(piece)

    # What the parser calls

    def on_message_begin(self) -> None:
        self._found += 1
        self._size = 0
        self._start_timer(HEAD_TIMEOUT)
        super().on_message_begin()
        self.scope["extensions"] = cast(Any, {ABORT: self.abort})

    def on_header(self, name: bytes, value: bytes) -> None:
        self._found += 1
        if len(self.headers) >= MAX_FIELDS:  # including trailers
            raise ValueError("too many fields")  # answered with 400
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._size, self._progress = 0, 0
        self._start_timer(BODY_TIMEOUT)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._found += 1
        self._size = 0
        if self._progress is not None:
            self._progress += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._progress = None
        self._stop_timer()
        super().on_message_complete()

    # What the application calls

    def abort(self) -> None:
        """Drop the connection with what it has not sent: the client of an open response is slow."""
        self._forget_request()
        self.transport.abort()

    # What uvicorn calls

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._held and not self.pipeline:
            self.loop.call_soon(self._parse_held)

    def handle_websocket_upgrade(self) -> None:
        self._stop_timer()
        self.transport = self._timed_transport.transport
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self._forget_request()

    # Timeouts

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self.flow.reset_was_paused()
        self._timer = self.loop.call_later(seconds, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        if self._may_continue():
            self._start_timer(HEAD_TIMEOUT if self._progress is None else BODY_TIMEOUT)
        elif self._progress is None:
            self.timeout_keep_alive_handler()
        else:
            self._give_up()

    def _may_continue(self) -> bool:
        """Return whether the delay is the server's, or the body makes enough progress."""
        if self.flow.was_paused:
            return True
        if self._progress is None:  # the next head may arrive during a response
            return self.cycle is not None and not self.cycle.response_complete
        progress, self._progress = self._progress, 0
        return progress >= MIN_BODY_PROGRESS

    def _give_up(self) -> None:
        """Close after a body timeout, with 408 if possible (RFC 9110 section 15.5.9)."""
        if self.cycle is not None and not self.cycle.response_started and not self.pipeline:
            headers = self.server_state.default_headers
            self.transport.write(refuse(b"408 Request Timeout", headers))
        self._forget_request()
        self.timeout_keep_alive_handler()

    def _forget_request(self) -> None:
        """Let the application receive ``http.disconnect``."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
