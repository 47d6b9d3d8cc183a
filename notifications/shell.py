"""What all transports have in common: a session, its connection, and the effects of what arrives.

A transport (:mod:`notifications.consumers`, :mod:`notifications.transports`) does the I/O. It opens
a shell when a client arrives, hands over what the client sends, and leaves when the client is gone.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.db import Error as DatabaseError
from django.dispatch import receiver
from django.http import parse_cookie

from .conf import app_settings
from .handlers import Outcome, perform
from .hub import Connection, Hub, Socket
from .hub.client_ids import new_client_id
from .metrics import ERRORS, SENDS_IGNORED
from .protocol import codes, messages
from .protocol.codec import Codec
from .protocol.effects import Arrived, Close, Effect, Limits, Perform, Send
from .protocol.session import Session

logger = logging.getLogger(__name__)

#: Messages and effects that one connection may process before it yields to the event loop.
MAX_WITHOUT_YIELD = 32


class Shell:
    """Carries out the effects of one client's session.

    Create it in the task that serves the client: a client that is given up has that task cancelled.

    Args:
        hub: the hub of this process.
        codec: the form of the protocol that the client speaks.
        socket: writes to the client.
        scope: the ASGI scope of the client's request.
    """

    def __init__(self, hub: Hub, codec: Codec, socket: Socket, scope: dict[str, Any]) -> None:
        user_agent, cookie = _headers(scope, b"user-agent", b"cookie")
        session = Session(codec, time.monotonic(), _limits(), random.uniform(0.1, 1.0))
        self.hub = hub
        self.connection = Connection(
            new_client_id(),
            session,
            socket,
            address=(scope.get("client") or ("",))[0],
            user_agent=user_agent.replace("\x00", ""),
            session_key=read_session_key(cookie),
        )
        #: Messages and effects since the last yield to the event loop.
        self._since_yield = 0
        hub.connections.watch(self.connection)
        socket.charge_to(self.charge)
        socket.offer_short_to(self.take_pong)

    async def receive(self, frame: str | bytes) -> None:
        """Carry out the commands that a client sends in one frame."""
        await self._apply_effects(self.connection.session.receive(frame, time.monotonic()))

    def take_pong(self, frame: str | bytes) -> bool:
        """Carry out a frame that is just the pong for the last ping; leave any other to receive."""
        connection = self.connection
        if frame != connection.codec.pong or not connection.session.is_awaiting_pong:
            return False
        arrived = connection.session.take_pong()
        self.hub.connections.arrived(connection, arrived.positions)
        return True

    def fail(self) -> None:
        """Close the connection after an unexpected error, which is being handled."""
        logger.exception("Closing a connection after an unexpected error.")
        self.connection.close(codes.SERVER_ERROR)

    def leave(self, code: int) -> None:
        """Clean up after a client that is gone. Safe to call twice.

        Args:
            code: the close code, for the ``disconnected`` signal.
        """
        self.hub.connections.leave(self.connection, code)

    async def yield_to_loop(self) -> None:
        """Yield to the event loop after every ``MAX_WITHOUT_YIELD`` messages and effects."""
        self._since_yield += 1
        if self._since_yield >= MAX_WITHOUT_YIELD:
            self._since_yield = 0
            await asyncio.sleep(0)

    def charge(self, amount: float) -> None:
        """Charge the client for ``amount`` frames that are no commands."""
        for effect in self.connection.session.charge(amount, time.monotonic()):
            assert isinstance(effect, Close)
            self.connection.close(effect.disconnect)

    async def _apply_effects(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            await self.yield_to_loop()
            if isinstance(effect, Send):
                await self.connection.send(effect.reply)
            elif isinstance(effect, Arrived):
                self.hub.connections.arrived(self.connection, effect.positions)
            elif isinstance(effect, Perform):
                await self._perform(effect)
            elif isinstance(effect, Close):
                self.connection.close(effect.disconnect)

    async def _perform(self, effect: Perform) -> None:
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
        try:
            effects = self.connection.session.answer(command_id, outcome.result, time.monotonic())
            await self._apply_effects(effects)
        finally:
            outcome.then()
        if isinstance(outcome.result, messages.ConnectResult):
            self.hub.connections.watch(self.connection)

    async def _refuse(self, command_id: int, error: codes.Error) -> None:
        if command_id == 0:
            SENDS_IGNORED.inc()
            logger.debug("Ignored a send command (error %d).", error.code)
        else:
            ERRORS.labels(error.code).inc()
        await self._apply_effects(self.connection.session.refuse(command_id, error))


@cache
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


@receiver(setting_changed)
def _forget_limits(**kwargs: Any) -> None:
    _limits.cache_clear()


def _headers(scope: dict[str, Any], *names: bytes) -> list[str]:
    """Return headers of a request, "" for absent ones; HTTP/2 may split the cookies."""
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
