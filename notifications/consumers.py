"""The WebSocket consumer: the I/O of one connection, without any rules.

The session interprets frames, :mod:`notifications.handlers` carry out commands, and the hub sends
pushes.
"""

import asyncio
import logging
from typing import Any

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from .hub import get_hub, open_socket
from .protocol import codes
from .protocol.negotiation import agree
from .shell import Shell

logger = logging.getLogger(__name__)


class NotificationConsumer(AsyncJsonWebsocketConsumer):
    """One socket that speaks the Centrifuge client protocol, in JSON or in Protobuf.

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
        offered = self.scope.get("subprotocols", ())
        agreed = agree(self.scope.get("query_string", b""), offered)
        await self.accept(agreed.subprotocol)
        socket = open_socket(self.scope, self.base_send)
        self.shell = Shell(await get_hub(), agreed.codec, socket, self.scope)

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
