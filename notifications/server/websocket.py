"""A websocket protocol for uvicorn that also accepts prepared frames.

It offers the ASGI extension ``notifications.frames`` in the scope of each socket::

    scope["extensions"]["notifications.frames"] -> the FrameProtocol

With it, a publication is framed once for all its readers, and ``offer`` reports without waiting
whether the socket has room. ``direct`` and ``send_to_all`` send a frame to many descriptors, past
their transports. ``charge_to`` reports frames that are not messages, and ``when_gone`` the end of
the socket. ``offer_short_to`` offers pongs before they become events. On other servers (daphne,
hypercorn, granian) the app uses the ordinary ASGI ``send``, which works here as well.

Incoming frames are parsed by the ``websockets`` library. There is no compression, and there are no
pings of the library: the Centrifuge protocol has a heartbeat, which also acknowledges delivery.

:mod:`notifications.server.bounded_socket` bounds the send buffer and the time that closing takes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from uvicorn.protocols.utils import (
    ClientDisconnected,
    get_client_addr,
    get_path_with_query_string,
)
from websockets.frames import CloseCode
from websockets.protocol import SERVER, State
from websockets.protocol import Protocol as Frames

from .bounded_socket import BoundedSocket
from .events import Event
from .handshake import Handshake, accept, read_handshake, refuse
from .incoming import Incoming
from .scope import websocket_scope

EXTENSION = "notifications.frames"

logger = logging.getLogger("uvicorn.error")
frames_logger = logging.getLogger("websockets.server")


class FrameProtocol(BoundedSocket):
    """One websocket: a uvicorn protocol, the ASGI interface of the application, the extension.

    Objects are created when they are needed: an idle socket takes 2 KB, with uvicorn's class 9 KB.

    Args:
        config: uvicorn's loaded configuration.
        server_state: uvicorn's state, shared by all connections.
        app_state: the lifespan state of the application.
    """

    __slots__ = (
        "_config",
        "_frames",
        "_has_closed",
        "_has_put_disconnect",
        "_incoming",
        "_is_accepted",
        "_key",
        "_scope",
        "_server_state",
        "_state",
    )

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(_loop or asyncio.get_running_loop())
        self._config = config
        self._server_state = server_state
        self._state = app_state
        self._frames: Frames | None = None
        self._scope: dict[str, Any] | None = None
        self._incoming: Incoming | None = None
        self._key = b""
        self._is_accepted = False
        #: The application has closed the websocket, or rejected the handshake.
        self._has_closed = False
        #: The ``websocket.disconnect`` event has been put into the queue.
        self._has_put_disconnect = False

    @property
    def frames(self) -> Frames:
        """The library's parser and builder of frames, made when it is needed first."""
        if self._frames is None:
            self._frames = Frames(
                SERVER, state=State.OPEN, max_size=self._config.ws_max_size, logger=frames_logger
            )
        return self._frames

    def charge_to(self, charge: Callable[[float], None]) -> None:
        """See :meth:`Incoming.charge_to`."""
        if self._incoming is not None:
            self._incoming.charge_to(charge)

    def offer_short_to(self, take: Callable[[str | bytes], bool]) -> None:
        """See :meth:`Incoming.offer_short_to`."""
        if self._incoming is not None:
            self._incoming.offer_short_to(take)

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server_state.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(self)
        super().connection_lost(exc)
        self._put_disconnect(CloseCode.ABNORMAL_CLOSURE)
        if self._incoming is not None:
            self._incoming.stop()
        # They refer to this socket, which would be left to the garbage collector.
        self._scope = self._incoming = None
        self._call_on_gone()

    def eof_received(self) -> None:
        """Handle the end of the peer's bytes; the transport closes after the last write."""
        self._is_closing = True
        self._put_disconnect(CloseCode.ABNORMAL_CLOSURE)
        self._limit_closing_time()

    def data_received(self, data: bytes) -> None:
        if self._incoming is None:
            self._open_rebuilt(data)
        else:
            self._incoming.receive(data)

    # What uvicorn calls

    def shutdown(self) -> None:
        """Close the connection, because the server stops."""
        if self._is_accepted and not self._is_closing:
            self._send_close(CloseCode.SERVICE_RESTART, "")
            self._put_disconnect(CloseCode.SERVICE_RESTART)
        if self.is_blocked:  # the close frame could not be sent: the peer reads nothing
            self.transport.abort()
        else:
            self._close_transport()

    def open(self, handshake: Handshake) -> None:
        """Start the application for this handshake."""
        self._incoming = Incoming(self, self._events, self._loop)
        self._key = handshake.key
        self._scope = scope = websocket_scope(
            self._config, self.transport, handshake, self._state, {EXTENSION: self}
        )
        self._events.put({"type": "websocket.connect"})
        task = self._loop.create_task(self._run(scope))
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    # ASGI

    def receive(self) -> Awaitable[Event]:
        """Return the next event; there is none after ``websocket.disconnect``."""
        return self._events.get()

    async def send(self, message: Event) -> None:
        """Handle an event of the application. All but a close wait while the socket is blocked.

        Raises:
            ClientDisconnected: the connection is closing or lost.
            RuntimeError: the event is not allowed in this state.
        """
        kind = message["type"]
        if kind != "websocket.close":  # a few bytes, which need not wait
            await self.drained()
        if self._has_closed:
            raise RuntimeError(f"{kind} after the websocket has been closed")
        if self._is_lost or self._is_closing:
            raise ClientDisconnected
        if kind == "websocket.accept" and not self._is_accepted:
            self._accept(message)
        elif kind == "websocket.send" and self._is_accepted:
            self._send(message)
        elif kind == "websocket.close":
            self._close(message)
        else:
            raise RuntimeError(f"unexpected {kind} in this state")

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._config.loaded_app(scope, self.receive, self.send)
        except (ClientDisconnected, asyncio.CancelledError):
            self._application_ended(CloseCode.GOING_AWAY)
        except Exception:
            logger.exception("Exception in ASGI application")
            self._application_ended(CloseCode.INTERNAL_ERROR)
        else:
            self._application_ended(CloseCode.NORMAL_CLOSURE)

    # Outgoing

    def _accept(self, message: Event) -> None:
        self._log("[accepted]")
        self._is_accepted = True
        headers = [*self._server_state.default_headers, *message.get("headers", ())]
        self._write(accept(self._key, headers, message.get("subprotocol")))

    def _send(self, message: Event) -> None:
        data, text = message.get("bytes"), message.get("text")
        if data is not None:
            self.frames.send_binary(data)
        elif text is not None:
            self.frames.send_text(text.encode())
        self.flush()

    def _close(self, message: Event) -> None:
        self._has_closed = True
        if not self._is_accepted:
            self._log("403")
            self._refuse(b"403 Forbidden")
            self._put_disconnect(CloseCode.ABNORMAL_CLOSURE)
            return
        code, reason = message.get("code", CloseCode.NORMAL_CLOSURE), message.get("reason") or ""
        self._send_close(code, reason)
        self._put_disconnect(code, reason)
        self._limit_closing_time()

    def _send_close(self, code: int, reason: str) -> None:
        self._is_closing = True
        if self.frames.state is State.OPEN:
            self.frames.send_close(code, reason)
            self.flush()

    def _application_ended(self, code: int) -> None:
        """Close what the application has left open, because it has returned or raised."""
        if self._is_closing or self._is_lost:
            return
        if self._is_accepted:
            self._send_close(code, "")
            self._close_transport()
        else:
            self._refuse(b"500 Internal Server Error")

    def _refuse(self, status: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self._is_closing = True
        self._write(refuse(status, [*self._server_state.default_headers, *(headers or ())]))
        self._close_transport()

    def flush(self) -> None:
        """Write the parser's output: pongs, close frames and messages of the application."""
        output = b"".join(self.frames.data_to_send())
        if self.is_blocked and self.frames.state is State.OPEN:
            return  # a peer that does not read gets no pongs
        if output and not self.transport.is_closing():
            self._write(output)

    # Incoming

    def _open_rebuilt(self, head: bytes) -> None:
        """Open from a head that uvicorn's HTTP protocol has rebuilt and passed on."""
        if (handshake := read_handshake(head)) is not None:
            self.open(handshake)
        else:
            self._refuse(b"400 Bad Request", [(b"Sec-WebSocket-Version", b"13")])

    def closed(self) -> None:
        """Handle the close frame of the peer, either the first one or the answer to ours."""
        assert self.frames.close_rcvd is not None
        self._is_closing = True
        self._put_disconnect(self.frames.close_rcvd.code, self.frames.close_rcvd.reason)
        self.flush()
        self._close_transport()

    def failed(self) -> None:
        """Handle a protocol error of the peer, or a limit that it has exceeded.

        Further bytes are read and dropped: closing a socket with unread bytes resets the
        connection, and the reset may overtake the close frame (RFC 6455 section 7.1.1).
        """
        self._is_closing = True
        sent = self.frames.close_sent
        self._put_disconnect(CloseCode.ABNORMAL_CLOSURE if sent is None else sent.code)
        self.flush()
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
        self._limit_closing_time()

    def _put_disconnect(self, code: int, reason: str = "") -> None:
        """Send ``websocket.disconnect`` to the application, once."""
        if self._scope is None or self._has_put_disconnect:
            return
        self._has_put_disconnect = True
        self._events.put({"type": "websocket.disconnect", "code": int(code), "reason": reason})

    def _log(self, outcome: str) -> None:
        if logger.isEnabledFor(logging.INFO):
            scope = cast(Any, self._scope)
            address, place = get_client_addr(scope), get_path_with_query_string(scope)
            logger.info('%s - "WebSocket %s" %s', address, place, outcome)
