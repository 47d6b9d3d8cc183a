"""Sockets between devices and workers, and everything that networks do to them."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple, Protocol

from notifications.consumers import NotificationConsumer
from notifications.hub.sockets.writing import EXTENSION
from notifications.protocol.prepared import Prepared

from .loop import SimulatedLoop
from .process import Process

#: Messages that the buffers between the two ends hold while the client takes nothing.
BUFFER = 6

#: Characters of a frame that the trace shows.
SHOWN = 200

#: After which a server forgets a client that does not finish the closing handshake, seconds.
CLOSING = 10.0


class Client(Protocol):
    """What a wire tells its client."""

    def opened(self) -> None: ...
    def took(self, text: str, written_at: float) -> None: ...
    def lost(self, code: int) -> None: ...


class Frame(NamedTuple):
    """What is on its way to the client; ``code`` is that of a close frame."""

    written_at: float
    due: float
    text: str
    code: int | None


class Network:
    """All sockets of a run, and how fast they are."""

    def __init__(self, loop: SimulatedLoop, chance: Random, trace: Callable[..., None]) -> None:
        self.loop = loop
        self.chance = chance
        self.trace = trace
        self.outside = contextvars.copy_context()
        self.wires: dict[Wire, None] = {}
        #: Seconds one way at most, while nothing is wrong.
        self.usual_delay = 0.02
        self.heal()

    def heal(self) -> None:
        self.delay = self.usual_delay

    def latency(self) -> float:
        return self.chance.uniform(0.001, self.delay)

    def later(self, delay: float, call: Callable[..., None], *args: Any) -> None:
        """Outside of all processes."""
        self.loop.call_later(delay, call, *args, context=self.outside)


class Wire:
    """One socket, from its making to its end.

    Args:
        headers: of the handshake.
        is_plain: the server offers plain ASGI only, without its extension for framed messages.
    """

    def __init__(
        self,
        network: Network,
        worker: Process,
        client: Client,
        headers: list[tuple[bytes, bytes]],
        *,
        is_plain: bool,
    ) -> None:
        self.network = network
        self.worker = worker
        self.client = client
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        #: Written by the server and not taken by the client yet.
        self.buffered: deque[Frame] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._to_client_at = self._to_server_at = 0.0
        #: The client takes nothing until then; infinity for a client that has vanished.
        self.stalled_until = 0.0
        #: Seconds that the client takes for each frame.
        self.pace = 0.0
        self.has_client = self.has_server = True
        self._is_told = False
        self._scope = {
            "type": "websocket",
            "path": "/connection/websocket",
            "headers": headers,
            "client": ("192.0.2.7", 50_000),
            "subprotocols": [],
            "extensions": {} if is_plain else {EXTENSION: self},
        }
        network.wires[self] = None
        network.later(network.latency(), self._open)

    def _open(self) -> None:
        if not self.worker.is_alive:
            self._hang_up_on_client(1006)
            return
        self._incoming.put_nowait({"type": "websocket.connect"})
        task = self.worker.spawn(self._serve())
        task.add_done_callback(lambda _: self._server_is_done())

    async def _serve(self) -> None:
        await NotificationConsumer.as_asgi()(self._scope, self._incoming.get, self._send)

    # The client's end

    def say(self, text: str) -> None:
        self.network.trace(self.client, "says", text[:SHOWN])
        self._to_server({"type": "websocket.receive", "text": text})

    def say_bytes(self, data: bytes) -> None:
        self._to_server({"type": "websocket.receive", "bytes": data})

    def hang_up(self, code: int = 1000) -> None:
        """The client closes in order."""
        self.has_client = False
        self._to_server({"type": "websocket.disconnect", "code": code})

    # Faults

    def cut(self) -> None:
        """The connection breaks, and both ends notice; what is on its way is lost."""
        self._hang_up_on_client(1006)
        self._disconnect_server(1006)

    def vanish(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self.stalled_until = float("inf")
        self.has_client = False

    def stall(self, until: float) -> None:
        """The client reads nothing until then. What it says still arrives."""
        self.stalled_until = max(self.stalled_until, until)
        self.network.later(until - self.network.loop.now + 0.001, self._pass_on)

    @property
    def was_stalled(self) -> bool:
        """Has the client ever taken nothing for a while?"""
        return bool(self.stalled_until or self.pace)

    @property
    def is_well(self) -> bool:
        """Does nothing but the worker itself decide when an answer comes?"""
        is_read = self.network.loop.now >= self.stalled_until
        return (
            is_read
            and not self.pace
            and self.worker.is_alive
            and self.has_client
            and self.has_server
        )

    # The server's end

    @property
    def is_blocked(self) -> bool:
        return len(self.buffered) >= BUFFER and self.has_server

    def offer(self, message: Prepared) -> bool:
        if self.is_blocked:
            return False
        self._transmit(message.text)
        return True

    async def drained(self) -> None:
        while self.is_blocked:
            self._room.clear()
            await self._room.wait()

    def charge_to(self, charge: Callable[[float], None]) -> None:
        """No client here sends anything but messages."""

    def when_gone(self, callback: Callable[[], None]) -> None:
        callback()  # it is, as soon as the consumer has ended

    def abort(self) -> None:
        self.cut()

    async def _send(self, event: dict[str, Any]) -> None:
        await self.drained()
        if event["type"] == "websocket.send":
            if not self.has_server:
                raise OSError("the peer is gone")
            self._transmit(event["text"])
        elif event["type"] == "websocket.close" and self.has_server:
            self._transmit("", event["code"])
            self.network.later(CLOSING, self._disconnect_server, 1006)
        elif event["type"] == "websocket.accept":
            self.network.later(self.network.latency(), self._accepted)

    def _accepted(self) -> None:
        if self.has_client and self.has_server:
            self.client.opened()

    def _transmit(self, text: str, code: int | None = None) -> None:
        if not self.has_server or not self.worker.is_alive:
            return
        now = self.network.loop.now
        self._to_client_at = max(self._to_client_at, now + self.network.latency())
        self.buffered.append(Frame(now, self._to_client_at, text, code))
        self.network.later(self._to_client_at - now + 1e-6, self._pass_on)

    def _pass_on(self) -> None:
        """Everything that has arrived by now reaches the client, in order."""
        now = self.network.loop.now
        while self.buffered and now >= self.stalled_until and self.has_client:
            if self.buffered[0].due > now:
                return
            frame = self.buffered.popleft()
            self._room.set()
            if self.pace:
                self.stall(now + self.pace)
            if frame.code is None:
                self.network.trace(self.client, "takes", frame.text[:SHOWN])
                self.client.took(frame.text, frame.written_at)
            else:
                self._disconnect_server(frame.code)
                self._hang_up_on_client(frame.code)

    def _to_server(self, event: dict[str, Any]) -> None:
        if self.stalled_until == float("inf"):
            return
        now = self.network.loop.now
        self._to_server_at = max(self._to_server_at, now + self.network.latency())
        self.network.later(self._to_server_at - now, self._arrive, event)

    def _arrive(self, event: dict[str, Any]) -> None:
        if event["type"] == "websocket.disconnect":
            self._disconnect_server(event["code"])
        elif self.has_server and not self._is_told:
            self._incoming.put_nowait(event)

    def _disconnect_server(self, code: int) -> None:
        if self._is_told:
            return
        self._is_told = True
        self.has_server = False
        self._room.set()
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": code})

    def _server_is_done(self) -> None:
        """The consumer has ended, or its process has died: the operating system closes."""
        self.has_server = False
        self._is_told = True
        self._room.set()
        self.network.wires.pop(self, None)
        # Behind what is still in the buffers.
        if self.worker.is_alive:
            self.network.later(self.network.latency() + 0.05, self._hang_up_on_client, 1006)
        else:
            self.network.later(self.network.latency(), self._hang_up_on_client, 1006)

    def _hang_up_on_client(self, code: int) -> None:
        if self.has_client:
            self.has_client = False
            self.buffered.clear()
            self._room.set()
            self.network.later(self.network.latency(), self._lost, code)

    def _lost(self, code: int) -> None:
        self.network.trace(self.client, "is closed with", code)
        self.client.lost(code)
