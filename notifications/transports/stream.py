"""A response that stays open: the shell of a session around it."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from ..hub import get_hub
from ..hub.sockets.bodies import Answer, BodySocket, Headers, abort_of
from ..protocol import codes, messages
from ..protocol.codec import Codec
from ..protocol.codes import Disconnect
from ..protocol.prepared import Prepared
from ..shell import Shell
from .endpoint import Endpoint
from .incoming import Incoming

#: Proxies must neither keep, change nor delay a response: it never ends by itself.
HEADERS: Headers = [
    (b"cache-control", b"private, no-cache, no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


class Stream(Endpoint):
    """A request whose response is the socket of a connection."""

    codec: Codec
    content_type: bytes
    #: What the response begins with before there is a message; None to begin with the first one.
    preamble: ClassVar[bytes | None] = None
    #: Whether the client sends further frames to ``/emulation``.
    is_emulated: ClassVar[bool] = False

    async def serve(self, first: str | bytes) -> None:
        """Serve a client until it is gone or closed.

        Args:
            first: the first frame of the client.
        """
        hub = await get_hub()
        incoming = Incoming(self._overflow)
        socket = self._open_socket(incoming)
        if self.preamble is not None:
            socket.begin(self.preamble)
        self._shell = shell = Shell(hub, self.codec, socket, self.scope)
        watching = asyncio.create_task(self._watch(incoming))
        try:
            if self.is_emulated:
                shell.connection.emulated_as = await hub.emulation.open(incoming.put)
            await self._receive_all(shell, first, incoming)
        except Exception:
            shell.fail()
            await shell.connection.closed()
        except asyncio.CancelledError:
            # The server stops, or the connection was given up. What it has to be told is written.
            if not shell.connection.is_given_up:
                await hub.part(shell.connection)
        finally:
            watching.cancel()
            hub.emulation.close(shell.connection.emulated_as)
            shell.leave((shell.connection.closing or codes.NORMAL).code)

    def render(self, message: Prepared) -> bytes:
        """Turn a message of the codec into bytes of the body."""
        payload = message.payload
        return payload if isinstance(payload, bytes) else payload.encode()

    def refuse(self, disconnect: Disconnect) -> Answer | None:
        """Return the answer to a client that is closed before the response begins."""
        return None

    def _open_socket(self, incoming: Incoming) -> BodySocket:
        headers = [(b"content-type", self.content_type), *HEADERS, *self.cors_headers()]
        return BodySocket(
            self.base_send,
            headers,
            render=self.render,
            farewell=self._farewell,
            refuse=self.refuse,
            ended=incoming.end,
            abort=abort_of(self.scope),
        )

    async def _receive_all(self, shell: Shell, first: str | bytes, incoming: Incoming) -> None:
        frame: str | bytes | None = first
        while frame is not None:
            await shell.receive(frame)
            await shell.yield_to_loop()
            frame = await incoming.get()

    async def _watch(self, incoming: Incoming) -> None:
        """Wait for the end of the client."""
        message: dict[str, Any] = {"type": ""}
        try:
            while message["type"] != "http.disconnect":
                message = await self.receive()
        finally:
            incoming.end()

    def _farewell(self, disconnect: Disconnect) -> Prepared:
        code, reason = disconnect
        push = messages.Push(
            disconnect=messages.Disconnect(code, reason, reconnect=disconnect.reconnect)
        )
        return self.codec.encode(messages.Reply(push=push))

    def _overflow(self) -> None:
        self._shell.connection.close(codes.TOO_MANY_COMMANDS)
