"""uvicorn's HTTP protocol with an end to everything that a client can make it wait for.

By itself it waits for ever for a request to be whole and for a response to be taken, keeps all of
a head that has no end, and starts as many requests at once as one read has brought.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .handshake import MOST_FIELDS, refuse
from .outlet import Outlet
from .pieces import next_piece
from .reading import Reading

#: Seconds until the head of a request has to be whole, and bytes that it may have. As many may
#: come between two bytes of a body, and after it: in what frames its chunks, and in trailers.
HEAD_TIMEOUT = 30.0
MAX_HEAD = 64 * 1024

#: Seconds in which a body has to be whole, or to go on by so many bytes. It may be as long, and
#: take as long, as the application lets it. (Apache's mod_reqtimeout: 500 bytes a second.)
BODY_TIMEOUT = 30.0
LEAST_BODY = 15_000

#: Fields, parts of a body and requests after which the loop gets its turn.
MOST_AT_ONCE = 64


class Http(HttpToolsProtocol):
    """One connection that is no websocket, or none yet."""

    #: What has come and is not parsed yet. Nothing is read from the socket meanwhile.
    _held: bytearray
    #: Bytes since the last one of a body.
    _size = 0
    #: Bytes of the body since the timer was started, None outside of a body.
    _progress: int | None = None
    #: What the parser has found in this turn of the loop.
    _found = 0
    _timer: asyncio.TimerHandle | None = None

    flow: Reading
    _outlet: Outlet

    # What the transport calls

    def connection_made(self, transport: Any) -> None:
        self._held = bytearray()
        self._outlet = Outlet(transport, self.loop)
        super().connection_made(self._outlet)  # type: ignore[arg-type]
        self.flow = Reading(transport)
        self._start_timer(HEAD_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        self._held.clear()
        self._stop_timer()
        self._outlet.lost()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """The transport closes when all has been written."""
        self._outlet.watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._outlet.watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._outlet.relax()

    def data_received(self, data: bytes) -> None:
        is_going_on = bool(self._held)
        self._held += data
        if not is_going_on:
            self._go_on()

    def _go_on(self) -> None:
        """Parse until it has been enough for one turn; the rest follows in the next.

        While a request waits for the one before it, nothing more is parsed.
        """
        self._found = 0
        while self._held and self._found < MOST_AT_ONCE and not self.pipeline:
            self._parse(next_piece(self._held))
            if self.transport.is_closing() or self.transport.get_protocol() is not self:
                self._held.clear()
        self.flow.hold(bool(self._held))
        if self._held and not self.pipeline:
            self.loop.call_soon(self._go_on)

    def _parse(self, piece: bytes) -> None:
        if self._timer is None:  # the next request begins, perhaps with empty lines
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

    def on_header(self, name: bytes, value: bytes) -> None:
        self._found += 1
        if len(self.headers) >= MOST_FIELDS:  # trailers are among them
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

    # What uvicorn calls

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._held and not self.pipeline:
            self.loop.call_soon(self._go_on)

    def handle_websocket_upgrade(self) -> None:
        self._stop_timer()
        self.transport = self._outlet.transport
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self._forget_request()

    # Time

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self.flow.look()
        self._timer = self.loop.call_later(seconds, self._is_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_late(self) -> None:
        if self._has_excuse():
            self._start_timer(HEAD_TIMEOUT if self._progress is None else BODY_TIMEOUT)
        elif self._progress is None:
            self.timeout_keep_alive_handler()
        else:
            self._give_up()

    def _has_excuse(self) -> bool:
        """Is it not the peer who is waited for, or is he getting on?"""
        if self.flow.was_paused:
            return True
        if self._progress is None:  # the head of the next request may come during a response
            return self.cycle is not None and not self.cycle.response_complete
        progress, self._progress = self._progress, 0
        return progress >= LEAST_BODY

    def _give_up(self) -> None:
        """The body does not come. Say so, if that can still be said (RFC 9110 section 15.5.9)."""
        if self.cycle is not None and not self.cycle.response_started and not self.pipeline:
            headers = self.server_state.default_headers
            self.transport.write(refuse(b"408 Request Timeout", headers))
        self._forget_request()
        self.timeout_keep_alive_handler()

    def _forget_request(self) -> None:
        """The application hears that nobody waits for its response."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
