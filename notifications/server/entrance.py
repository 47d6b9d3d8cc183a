"""Opens plain websocket handshakes directly; all other requests go to uvicorn's HTTP protocol."""

import asyncio
from typing import Any, cast

from .handshake import read_handshake
from .http import HEAD_TIMEOUT, Http
from .websocket import FrameProtocol


class Door(asyncio.Protocol):
    """Reads the first bytes of a connection and hands it over to the matching protocol.

    A plain websocket handshake arrives in one piece. (Measured: uvicorn's own way, by its HTTP
    protocol, a rebuilt request and a second parser, takes 3 times the CPU.)

    Args:
        config: uvicorn's loaded configuration.
        server_state: uvicorn's state, shared by all connections.
        app_state: the lifespan state of the application.
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
        """Close the connection: uvicorn stops, or nothing has arrived in ``HEAD_TIMEOUT``."""
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
