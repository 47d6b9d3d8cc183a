"""The WebSocket consumer: the I/O of one connection, without any rules.

The session interprets frames, :mod:`notifications.handlers` carry out commands, and the hub sends
pushes.
"""

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.db import Error as DatabaseError
from django.http import parse_cookie

from .conf import app_settings
from .handlers import Outcome, perform
from .hub import Connection, Hub, get_hub, open_socket
from .metrics import ERRORS, SENDS_IGNORED
from .protocol import codes, messages
from .protocol.effects import Arrived, Close, Effect, Limits, Perform, Send
from .protocol.prepared import Prepared
from .protocol.session import Session

logger = logging.getLogger(__name__)

JSON_SUBPROTOCOL = "centrifuge-json"
PROTOBUF_SUBPROTOCOL = "centrifuge-protobuf"

#: Messages and effects that one connection may process before it yields to the event loop.
MAX_WITHOUT_YIELD = 32


class NotificationConsumer(AsyncJsonWebsocketConsumer):
    """One socket that speaks the Centrifuge client protocol in JSON.

    It has no layer channel of its own (the hub has one per process), so ``__call__`` receives from
    the socket only. ``dispatch`` is overridden because Channels' version awaits a thread hop for
    every message, and because an exception in it would skip ``disconnect`` and leak the
    connection.
    """

    hub: Hub
    connection: Connection | None = None
    #: Messages and effects since the last yield to the event loop.
    _since_yield = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.base_send = send
        try:
            while True:
                await self.dispatch(await receive())
                await self._yield_to_loop()
        except StopConsumer:
            return
        except asyncio.CancelledError:
            if self.connection is not None and self.connection.is_given_up:
                return
            if self.connection is not None:
                await self.hub.part(self.connection)
            raise
        finally:
            self._leave(codes.NORMAL.code)

    async def dispatch(self, message: dict[str, Any]) -> None:
        try:
            await getattr(self, get_handler_name(message))(message)
        except (StopConsumer, asyncio.CancelledError):
            raise
        except Exception:
            logger.exception("Closing a connection after an unexpected error.")
            if self.connection is None:
                raise StopConsumer from None
            self.connection.close(codes.SERVER_ERROR)

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        user_agent, cookie = _headers(self.scope, b"user-agent", b"cookie")
        subprotocol = _subprotocol(self.scope.get("subprotocols", ()))
        await self.accept(subprotocol)
        self.hub = await get_hub()
        session = Session(time.monotonic(), _limits(), random.uniform(0.1, 1.0))
        self.connection = Connection(
            str(uuid.uuid4()),
            session,
            open_socket(self.scope, self.base_send),
            address=(self.scope.get("client") or ("",))[0],
            user_agent=user_agent.replace("\x00", ""),
            session_key=read_session_key(cookie),
        )
        self.hub.connections.watch(self.connection)
        self.connection.socket.charge_to(self._charge)
        if subprotocol == PROTOBUF_SUBPROTOCOL:
            self.connection.close(codes.INAPPROPRIATE_PROTOCOL)

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        if self.connection is None:
            return
        session = self.connection.session
        text = message.get("text")
        if text is None:
            await self._apply_effects(session.receive_binary())
        else:
            await self._apply_effects(session.receive(text, time.monotonic()))

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        self._leave(message.get("code") or codes.NORMAL.code)
        raise StopConsumer

    def _leave(self, code: int) -> None:
        if self.connection is not None:
            self.hub.connections.leave(self.connection, code)

    def _charge(self, amount: float) -> None:
        """Charge the client for frames that deliver no message, as the server reports them."""
        assert self.connection is not None
        for effect in self.connection.session.charge(amount, time.monotonic()):
            assert isinstance(effect, Close)
            self.connection.close(effect.disconnect)

    async def _yield_to_loop(self) -> None:
        """Yield to the event loop after every ``MAX_WITHOUT_YIELD`` messages and effects."""
        self._since_yield += 1
        if self._since_yield >= MAX_WITHOUT_YIELD:
            self._since_yield = 0
            await asyncio.sleep(0)

    async def _apply_effects(self, effects: Iterable[Effect]) -> None:
        assert self.connection is not None
        for effect in effects:
            await self._yield_to_loop()
            if isinstance(effect, Send):
                await self.connection.send(Prepared(effect.text))
            elif isinstance(effect, Arrived):
                self.hub.connections.arrived(self.connection, effect.positions)
            elif isinstance(effect, Perform):
                await self._perform(effect)
            elif isinstance(effect, Close):
                self.connection.close(effect.disconnect)

    async def _perform(self, effect: Perform) -> None:
        assert self.connection is not None
        try:
            outcome = await perform(self.hub, self.connection, effect.request)
        except codes.ClientError as error:
            await self._refuse(effect.command_id, error.error)
        except codes.Disconnected as error:
            self.connection.close(error.disconnect)
        except DatabaseError as error:
            self.hub.loops.database_failed(error)
            await self._refuse(effect.command_id, codes.INTERNAL)
        except Exception:
            logger.exception("Unexpected error in a command.")
            await self._refuse(effect.command_id, codes.INTERNAL)
        else:
            await self._answer(effect.command_id, outcome)

    async def _answer(self, command_id: int, outcome: Outcome) -> None:
        assert self.connection is not None
        try:
            effects = self.connection.session.answer(command_id, outcome.result, time.monotonic())
            await self._apply_effects(effects)
        finally:
            outcome.then()
        if isinstance(outcome.result, messages.ConnectResult):
            self.hub.connections.watch(self.connection)

    async def _refuse(self, command_id: int, error: codes.Error) -> None:
        assert self.connection is not None
        if command_id == 0:
            SENDS_IGNORED.inc()
            logger.debug("Ignored a send command (error %d).", error.code)
        else:
            ERRORS.labels(error.code).inc()
        await self._apply_effects(self.connection.session.refuse(command_id, error))


def _limits() -> Limits:
    return Limits(
        ping_interval=app_settings.PING_INTERVAL,
        pong_timeout=app_settings.PONG_TIMEOUT,
        connect_timeout=app_settings.CONNECT_TIMEOUT,
        slow_timeout=app_settings.SLOW_TIMEOUT,
        max_frame_size=app_settings.MAX_FRAME_SIZE,
        command_rate=app_settings.COMMAND_RATE,
        command_burst=app_settings.COMMAND_BURST,
        expired_close_delay=app_settings.EXPIRED_CLOSE_DELAY,
    )


def _subprotocol(offered: Sequence[str]) -> str | None:
    """Return the subprotocol to accept, or None if none is known.

    Protobuf is accepted only to be closed with a code: a browser reports no close code if none of
    the subprotocols it offered was accepted.
    """
    for name in (JSON_SUBPROTOCOL, PROTOBUF_SUBPROTOCOL):
        if name in offered:
            return name
    return None


def _headers(scope: dict[str, Any], *names: bytes) -> list[str]:
    """Return headers of the handshake, "" for absent ones; HTTP/2 may split the cookies."""
    found: dict[bytes, list[bytes]] = {name: [] for name in names}
    for name, value in scope["headers"]:
        if name in found:
            found[name].append(value)
    return [b"; ".join(values).decode("latin-1") for values in found.values()]


def read_session_key(cookie: str) -> str:
    """Return the session key in a ``Cookie`` header, parsed as Django does; "" for none."""
    if not cookie:
        return ""
    return parse_cookie(cookie).get(settings.SESSION_COOKIE_NAME, "")
