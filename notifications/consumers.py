"""The WebSocket consumer: the I/O of one connection, without any rules.

The session interprets frames, :mod:`notifications.handlers` carry out commands, and the hub sends
pushes.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from .hub import get_hub, open_socket
from .protocol import codes
from .protocol.json import JSON
from .shell import Shell

logger = logging.getLogger(__name__)

JSON_SUBPROTOCOL = "centrifuge-json"
PROTOBUF_SUBPROTOCOL = "centrifuge-protobuf"


class NotificationConsumer(AsyncJsonWebsocketConsumer):
    """One socket that speaks the Centrifuge client protocol in JSON.

    It has no layer channel of its own (the hub has one per process), so ``__call__`` receives from
    the socket only. ``dispatch`` is overridden because Channels' version awaits a thread hop for
    every message, and because an exception in it would skip ``disconnect`` and leak the
    connection.
    """

    shell: Shell | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.base_send = send
        try:
            while True:
                await self.dispatch(await receive())
                if self.shell is not None:
                    await self.shell.yield_to_loop()
        except StopConsumer:
            return
        except asyncio.CancelledError:
            if self.shell is not None:
                if self.shell.connection.is_given_up:
                    return
                await self.shell.hub.part(self.shell.connection)
            raise
        finally:
            self._leave(codes.NORMAL.code)

    async def dispatch(self, message: dict[str, Any]) -> None:
        try:
            await getattr(self, get_handler_name(message))(message)
        except (StopConsumer, asyncio.CancelledError):
            raise
        except Exception:
            if self.shell is None:
                logger.exception("Closing a connection after an unexpected error.")
                raise StopConsumer from None
            self.shell.fail()

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        subprotocol = _subprotocol(self.scope.get("subprotocols", ()))
        await self.accept(subprotocol)
        socket = open_socket(self.scope, self.base_send)
        self.shell = Shell(await get_hub(), JSON, socket, self.scope)
        if subprotocol == PROTOBUF_SUBPROTOCOL:
            self.shell.connection.close(codes.INAPPROPRIATE_PROTOCOL)

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        if self.shell is None:
            return
        text = message.get("text")
        await self.shell.receive(message["bytes"] if text is None else text)

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        self._leave(message.get("code") or codes.NORMAL.code)
        raise StopConsumer

    def _leave(self, code: int) -> None:
        if self.shell is not None:
            self.shell.leave(code)


def _subprotocol(offered: Sequence[str]) -> str | None:
    """Return the subprotocol to accept, or None if none is known.

    Protobuf is accepted only to be closed with a code: a browser reports no close code if none of
    the subprotocols it offered was accepted.
    """
    for name in (JSON_SUBPROTOCOL, PROTOBUF_SUBPROTOCOL):
        if name in offered:
            return name
    return None
