"""Simulated sockets between devices and workers, and the faults of the network."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from random import Random
from typing import Any, NamedTuple, Protocol

from notifications.consumers import NotificationConsumer
from notifications.hub.sockets.writing import EXTENSION
from notifications.protocol.prepared import Prepared

from .loop import SimulatedLoop
from .process import Process

#: Messages that the socket buffers hold while the client does not read.
BUFFER = 6

#: Characters of a frame that the trace shows.
SHOWN = 200

#: Seconds after which a server drops a client that does not finish the closing handshake.
CLOSING = 10.0


class Client(Protocol):
    """The callbacks of a wire to its client."""

    def opened(self) -> None: ...
    def received(self, text: str, written_at: float) -> None: ...
    def lost(self, code: int) -> None: ...


class Frame(NamedTuple):
    """One write in transit to the client; ``code`` is None unless it is a close frame.

    Args:
        written_at: virtual time of writing, in seconds.
        due: virtual time of arrival, in seconds.
    """

    written_at: float
    due: float
    texts: Sequence[str]
    code: int | None


class Network:
    """All sockets of a run, and their latency."""

    def __init__(self, loop: SimulatedLoop, chance: Random, trace: Callable[..., None]) -> None:
        self.loop = loop
        self.chance = chance
        self.trace = trace
        self.outside = contextvars.copy_context()
        self.wires: dict[Wire, None] = {}
        #: The open sockets by descriptor. A new socket gets the lowest that is free.
        self.descriptors: dict[int, Wire] = {}
        #: Maximum one-way latency in seconds while the network has no fault.
        self.usual_delay = 0.02
        self.heal()

    def heal(self) -> None:
        self.delay = self.usual_delay

    def latency(self) -> float:
        return self.chance.uniform(0.001, self.delay)

    def later(self, delay: float, call: Callable[..., None], *args: Any) -> None:
        """Call it after ``delay`` seconds, outside of all processes."""
        self.loop.call_later(delay, call, *args, context=self.outside)


class Wire:
    """One socket, from its handshake to its end.

    Args:
        headers: the headers of the handshake.
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
        #: Frames that the server has written and the client has not read yet.
        self.buffered: deque[Frame] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._to_client_at = self._to_server_at = 0.0
        #: The client reads nothing until this time; infinity for a client that has vanished.
        self.stalled_until = 0.0
        #: Seconds that the client needs to read one frame.
        self.pace = 0.0
        self.has_client = self.has_server = True
        self._descriptor = next(each for each in count() if each not in network.descriptors)
        network.descriptors[self._descriptor] = self
        self._on_direct_end: Callable[[], None] | None = None
        self._is_disconnect_sent = False
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
        """Close the connection from the client's side."""
        self.has_client = False
        self._to_server({"type": "websocket.disconnect", "code": code})

    # Faults

    def cut(self) -> None:
        """Break the connection: both ends notice, and frames in transit are lost."""
        self._hang_up_on_client(1006)
        self._disconnect_server(1006)

    def vanish(self) -> None:
        """Let nothing pass any more, without either end noticing."""
        self.stalled_until = float("inf")
        self.has_client = False

    def stall(self, until: float) -> None:
        """Let the client read nothing until then; what it writes still arrives."""
        self.stalled_until = max(self.stalled_until, until)
        self.network.later(until - self.network.loop.now + 0.001, self._pass_on)

    @property
    def was_stalled(self) -> bool:
        """Whether the client has ever stopped reading, or reads slowly now."""
        return bool(self.stalled_until or self.pace)

    @property
    def is_well(self) -> bool:
        """Whether no fault of the network or the worker delays an answer."""
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
        assert isinstance(message.payload, str)
        self._transmit([message.payload])
        return True

    def direct(self, ended: Callable[[], None]) -> int:
        if self.is_blocked or not self.has_server:
            return -1
        self._on_direct_end = ended
        return self._descriptor

    def send_to_all(self, descriptors: Sequence[int], data: bytes) -> list[int]:
        """Write to whatever sockets have these descriptors now. A full one takes nothing."""
        return [self._send_to(self.network.descriptors.get(each), data) for each in descriptors]

    def take_rest(self, rest: bytes) -> None:
        self._transmit(texts_of(rest))

    async def drained(self) -> None:
        while self.is_blocked:
            self._room.clear()
            await self._room.wait()

    def charge_to(self, charge: Callable[[float], None]) -> None:
        """Do nothing: no client here sends frames that are not messages."""

    def offer_short_to(self, take: Callable[[str | bytes], bool]) -> None:
        """Do nothing: all messages go to the consumer."""

    def when_gone(self, callback: Callable[[], None]) -> None:
        callback()  # the socket is gone as soon as the consumer has ended

    def abort(self) -> None:
        self.cut()

    async def _send(self, event: dict[str, Any]) -> None:
        await self.drained()
        if event["type"] == "websocket.send":
            if not self.has_server:
                raise OSError("the peer is gone")
            self._transmit([event["text"]])
        elif event["type"] == "websocket.close" and self.has_server:
            self._transmit([], event["code"])
            self.network.later(CLOSING, self._disconnect_server, 1006)
        elif event["type"] == "websocket.accept":
            self.network.later(self.network.latency(), self._accepted)

    def _accepted(self) -> None:
        if self.has_client and self.has_server:
            self.client.opened()

    @staticmethod
    def _send_to(wire: Wire | None, data: bytes) -> int:
        if wire is None or wire.is_blocked:
            return -1
        wire._append(texts_of(data))
        return len(data)

    def _end_direct(self) -> None:
        if self._on_direct_end is not None:
            ended, self._on_direct_end = self._on_direct_end, None
            ended()

    def _end_server(self) -> None:
        """Release the server's end, whose descriptor may be given to another socket at once."""
        self._end_direct()
        self.has_server = False
        if self.network.descriptors.get(self._descriptor) is self:
            del self.network.descriptors[self._descriptor]
        self._room.set()

    def _transmit(self, texts: Sequence[str], code: int | None = None) -> None:
        self._end_direct()
        self._append(texts, code)

    def _append(self, texts: Sequence[str], code: int | None = None) -> None:
        if not self.has_server or not self.worker.is_alive:
            return
        now = self.network.loop.now
        self._to_client_at = max(self._to_client_at, now + self.network.latency())
        self.buffered.append(Frame(now, self._to_client_at, texts, code))
        self.network.later(self._to_client_at - now + 1e-6, self._pass_on)

    def _pass_on(self) -> None:
        """Pass all frames that are due to the client, in order."""
        now = self.network.loop.now
        while self.buffered and now >= self.stalled_until and self.has_client:
            if self.buffered[0].due > now:
                return
            frame = self.buffered.popleft()
            self._room.set()
            if self.pace:
                self.stall(now + self.pace)
            for text in frame.texts:
                self.network.trace(self.client, "takes", text[:SHOWN])
                self.client.received(text, frame.written_at)
            if frame.code is not None:
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
        elif self.has_server and not self._is_disconnect_sent:
            self._incoming.put_nowait(event)

    def _disconnect_server(self, code: int) -> None:
        if self._is_disconnect_sent:
            return
        self._is_disconnect_sent = True
        self._end_server()
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": code})

    def _server_is_done(self) -> None:
        """Close the socket as the operating system does when the consumer or its process ends."""
        self._end_server()
        self._is_disconnect_sent = True
        self.network.wires.pop(self, None)
        # After what is still in the buffers.
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


def texts_of(frames: bytes) -> list[str]:
    """Return the texts of whole frames of a server (RFC 6455 section 5.2)."""
    texts, start = [], 0
    while start < len(frames):
        size, start = frames[start + 1], start + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(frames[start : start + width]), start + width
        texts.append(frames[start : start + size].decode())
        start += size
    return texts
