"""Websockets go in without an HTTP parser; everything else goes to uvicorn's."""

import asyncio
from typing import Any, cast

from .handshake import read_handshake
from .http import HEAD_TIMEOUT, Http
from .websocket import FrameProtocol


class Door(asyncio.Protocol):
    """Looks at the first bytes of a connection and hands it to the protocol that it is for.

    A plain websocket handshake comes in one piece and is known by its form. (Measured: uvicorn's
    way by an HTTP parser, a rebuilt request and a second parser costs 3 times the CPU.)

    Args:
        config: uvicorn's, loaded.
        server_state: uvicorn's, shared by all connections.
        app_state: the lifespan's.
    """

    __slots__ = ("_config", "_loop", "_server_state", "_state", "_timer", "_transport")

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._server_state.connections.add(self)
        self._timer = self._loop.call_later(HEAD_TIMEOUT, self.shutdown)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._server_state.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        handshake = read_handshake(data)
        if handshake is None:
            self._hand_over(Http).data_received(data)
        else:
            self._hand_over(FrameProtocol).open(handshake)

    def shutdown(self) -> None:
        """Called by uvicorn when it stops, and when nothing has come in time."""
        if self._transport is not None:
            self._transport.close()

    def _hand_over(self, kind: Any) -> Any:
        assert self._transport is not None
        self._stop_timer()
        self._server_state.connections.discard(self)
        protocol = kind(
            config=self._config,
            server_state=self._server_state,
            app_state=self._state,
            _loop=self._loop,
        )
        protocol.connection_made(self._transport)
        self._transport.set_protocol(protocol)
        return protocol

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
