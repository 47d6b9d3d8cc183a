"""uvicorn's HTTP protocol with an end to the head of a request, in time and in size.

By itself it waits for ever for a head to be whole, and keeps all of it: whoever sends nothing
would hold a socket, and whoever sends headers without end the memory.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Seconds until the head of a request has to be whole, and bytes that it may have.
HEAD_TIMEOUT = 30.0
MAX_HEAD = 64 * 1024


class Http(HttpToolsProtocol):
    """One connection that is no websocket, or none yet."""

    _size = 0
    _is_in_head = False
    _timer: asyncio.TimerHandle | None = None

    # What the transport calls

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            self._size += len(data)
            if self._size > MAX_HEAD:
                self.send_400_response("The head of this request is too large.")
                return
        super().data_received(data)

    # What the parser calls

    def on_message_begin(self) -> None:
        self._is_in_head, self._size = True, 0
        self._start_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_TIMEOUT, self.timeout_keep_alive_handler)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
