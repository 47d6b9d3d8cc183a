"""The connection handling of a simulated client, as in the SDKs.

It reconnects with backoff unless the close code is terminal, matches replies with commands,
answers pings, and drops a connection on which no ping arrives.

Source: https://centrifugal.dev/docs/transports/client_api.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from random import Random
from typing import Any

from .network import Network, Wire
from .process import Process

#: Base and maximum delay of the reconnect backoff, in seconds.
MIN_DELAY, MAX_DELAY = 0.5, 6.0

#: Seconds to wait for the answer to ``connect`` before the connection is dropped.
CONNECT_TIMEOUT = 5.0

#: Seconds that a ping may be late before the connection is dropped.
PING_DELAY = 6.0

ReplyHandler = Callable[[dict[str, Any]], None]


class Transport(ABC):
    """One client, over all its connections.

    Args:
        name: its name in the trace.
        pick: chooses the worker for a new socket; returns None while no worker runs.
    """

    def __init__(
        self, name: str, network: Network, chance: Random, pick: Callable[[], Process | None]
    ) -> None:
        self.name = name
        self._network = network
        self._chance = chance
        self._pick = pick
        self.wire: Wire | None = None
        self.is_connected = False
        self.connected_at = self.asked_at = 0.0
        #: When the server wrote the reply that is being handled.
        self.written_at = 0.0
        self._attempts = 0
        self._last_id = 0
        self._pending: dict[int, ReplyHandler] = {}
        #: Number of the current connection. Timers of earlier connections have no effect.
        self._life = 0
        self._pings = 0

    def __repr__(self) -> str:
        return self.name

    # What subclasses implement

    @abstractmethod
    def headers(self) -> list[tuple[bytes, bytes]] | None:
        """Return the headers of the handshake, or None without credentials."""

    @abstractmethod
    def opened(self) -> None:
        """Send ``connect`` over the open socket."""

    @abstractmethod
    def pushed(self, push: dict[str, Any], written_at: float) -> None: ...

    @abstractmethod
    def dropped(self) -> None:
        """Handle the end of the connection."""

    @abstractmethod
    def terminally_disconnected(self) -> None:
        """Handle a close code after which a client does not reconnect."""

    @abstractmethod
    def waited(self) -> None:
        """Handle the answer to ``connect``, or its absence on a connection without faults."""

    # Connecting and disconnecting

    def connect(self) -> None:
        headers, worker = self.headers(), self._pick()
        if worker is None or headers is None or self.wire is not None:
            self.reconnect()
            return
        self._life += 1
        self.asked_at = self._network.loop.now
        is_plain = self._chance.random() < 0.3
        self.wire = Wire(self._network, worker, self, headers, is_plain=is_plain)
        self.later(CONNECT_TIMEOUT, self._connect_timed_out)

    def connected(self, ping: float) -> None:
        """Handle the answer to ``connect``.

        Args:
            ping: the server's ping interval in seconds.
        """
        self.is_connected = True
        self.connected_at = self._network.loop.now
        self._attempts = 0
        self._expect_ping(ping)

    def lost(self, code: int) -> None:
        """Handle a closed socket: the close code decides whether to reconnect."""
        if self.wire is None:
            return
        self.drop()
        if code == 1009 or 3500 <= code < 4000:
            self.terminally_disconnected()
        else:
            self.reconnect()

    def drop(self) -> None:
        self._life += 1
        self.is_connected = False
        self._pending.clear()
        wire, self.wire = self.wire, None
        if wire is not None and wire.has_client:
            wire.hang_up()
        self.dropped()

    def reconnect(self) -> None:
        self._attempts += 1
        most = min(MAX_DELAY, MIN_DELAY * 2**self._attempts)
        self.later(self._chance.uniform(MIN_DELAY / 2, most), self.connect)

    def _connect_timed_out(self) -> None:
        if not self.is_connected and self.wire is not None:
            if self.wire.is_well:
                self.waited()
            self.drop()
            self.reconnect()

    # Frames

    def command(self, answered: ReplyHandler | None, **request: Any) -> None:
        if self.wire is None:
            return
        self._last_id += 1
        if answered is not None:
            self._pending[self._last_id] = answered
        self.wire.say(json.dumps({"id": self._last_id, **request}))

    def received(self, text: str, written_at: float) -> None:
        for line in text.split("\n"):
            self._handle(json.loads(line), written_at)
            if self.wire is None:
                return

    def _handle(self, reply: dict[str, Any], written_at: float) -> None:
        if reply == {}:
            self._pings += 1
            if self.wire is not None:
                self.wire.say("{}")
        elif "push" in reply:
            self.pushed(reply["push"], written_at)
        else:
            answered = self._pending.pop(reply["id"], None)
            if answered is not None:
                self.written_at = written_at
                answered(reply)

    # Timers

    def _expect_ping(self, interval: float) -> None:
        seen = self._pings

        def look() -> None:
            if self._pings == seen:
                self.drop()
                self.reconnect()
            else:
                self._expect_ping(interval)

        self.later(interval + PING_DELAY, look)

    def later(self, delay: float, call: Callable[..., None], *args: Any) -> None:
        """Call it after ``delay`` seconds, unless the connection has changed or ended by then."""
        life = self._life
        self._network.later(delay, lambda: call(*args) if life == self._life else None)
