"""A small protocol client that records what arrives, and in which order.

It shares no code with the server (see :mod:`tests.wire_forms`), so a test cannot repeat a mistake
of the server's codec.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Self, TypeVar

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket
from websockets.typing import Origin, Subprotocol

from tests.wire_forms import JSON, Form

T = TypeVar("T")

#: Seconds that a test waits for an expected event; enough for a machine that is busy otherwise.
PATIENCE = 60.0


class Position(NamedTuple):
    epoch: str
    offset: int


class Received(NamedTuple):
    """A publication as the application receives it. ``at`` is a monotonic time in seconds."""

    channel: str
    offset: int
    data: dict[str, Any]
    at: float


class Closed(NamedTuple):
    """The end of a connection. ``at`` is a monotonic time in seconds."""

    code: int
    reason: str
    at: float


class Client:
    """One device of one user. A thread receives its frames; tests wait and inspect the record.

    Args:
        url: the websocket URL.
        token: the token for ``connect``; "" for none.
        cookie: value of the ``Cookie`` header; "" for none.
        origin: the ``Origin`` header of a page; None for a native client.
        answers_pings: answer pings with pongs, which acknowledge delivery.
        form: the form of the protocol that it speaks.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        cookie: str = "",
        origin: str | None = None,
        answers_pings: bool = True,
        form: Form = JSON,
    ) -> None:
        self.url = url
        self.form = form
        self.token = token
        self.cookie = cookie
        self.origin = origin
        self.answers_pings = answers_pings
        #: The application's position in each channel; kept across connections.
        self.positions: dict[str, Position] = {}
        self.publications: list[Received] = []
        #: Channel and offset of each publication that was dropped as a duplicate.
        self.duplicates: list[tuple[str, int]] = []
        #: Channels whose position the server could not recover.
        self.unrecovered: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.subscribed: list[tuple[str, dict[str, Any]]] = []
        self.unsubscribed: list[tuple[str, int]] = []
        #: Every ``refresh`` push.
        self.refreshes: list[dict[str, Any]] = []
        #: Joins and leaves: the field of the push, the channel, and the id of the client.
        self.comings: list[tuple[str, str, str]] = []
        self.pings = 0
        #: Violations of the protocol by the server; checked at the end of every test.
        self.violations: list[str] = []
        self.opened_at = 0.0
        self.closed: Closed | None = None
        self._changed = threading.Condition()
        self._reading = threading.Event()
        self._reading.set()
        #: Data of publications that have no offset, by channel.
        self.ephemeral: dict[str, list[Any]] = defaultdict(list)
        self._replies: dict[int, dict[str, Any]] = {}
        #: Channels of namespaces to which a command has subscribed, by id of the command.
        self._subscribing: dict[int, str] = {}
        self._last_id = 0
        self._on_wire: dict[str, int] = {}
        self._socket: ClientConnection | None = None
        self._thread: threading.Thread | None = None

    # Connection

    def open(self) -> Self:
        """Open the socket without sending anything."""
        headers = {"Cookie": self.cookie} if self.cookie else {}
        self._socket = open_socket(
            self.url,
            additional_headers=headers,
            origin=None if self.origin is None else Origin(self.origin),
            subprotocols=None if self.form is JSON else [Subprotocol(self.form.subprotocol)],
            compression=None,
            # The protocol has its own ping, and a test decides whether it is answered.
            ping_interval=None,
            max_size=None,
            proxy=None,
            # The socket outlives this call; this class closes it.
            legacy=True,
        )
        self.opened_at = time.monotonic()
        self.closed = None
        self._replies.clear()
        self._on_wire.clear()
        self._thread = threading.Thread(target=self._receive, args=(self._socket,), daemon=True)
        self._thread.start()
        return self

    def connect(self, *, recover: bool = True) -> dict[str, Any]:
        """Open the socket if it is not open, send ``connect``, and return the result.

        Args:
            recover: ask for recovery from the known positions.
        """
        if self._socket is None or self.closed is not None:
            self.open()
        reply = self.try_connect(recover=recover)
        assert "connect" in reply, f"cannot connect: {reply}"
        return dict(reply["connect"])

    def try_connect(self, *, recover: bool = True) -> dict[str, Any]:
        """Send ``connect`` over an open socket and return the reply, which may be an error."""
        request: dict[str, Any] = {"name": "test"}
        if self.token:
            request["token"] = self.token
        if recover and self.positions:
            request["subs"] = {
                name: {"recover": True, "epoch": epoch, "offset": offset}
                for name, (epoch, offset) in self.positions.items()
            }
        return self.ask(connect=request)

    def refused(self) -> int:
        """Open a socket, expect the handshake to fail, and return the HTTP status."""
        with pytest.raises(InvalidStatus) as answer:
            self.open()
        return answer.value.response.status_code

    def drop(self) -> None:
        """Close the TCP connection without a close frame, as a lost network does."""
        self.socket.close_socket()
        self._join()

    def close(self) -> None:
        if self._socket is not None:
            self.resume()
            self._socket.close()
            self._join()

    def pause(self) -> None:
        """Stop reading until :meth:`resume`, so that the server's send buffer fills up."""
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()

    @property
    def is_paused(self) -> bool:
        return not self._reading.is_set()

    @property
    def socket(self) -> ClientConnection:
        """The websocket, for tests that do something no client does."""
        assert self._socket is not None, "open() comes first"
        return self._socket

    # Commands

    def send_text(self, text: str) -> None:
        """Send a text frame unchanged."""
        self.socket.send(text)

    def send_bytes(self, data: bytes, *, text: bool = False) -> None:
        """Send these bytes as a binary frame, or as a text frame even if they are not UTF-8."""
        self.socket.send(data, text=text)

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one command and return the whole reply or error: ``ask(rpc={…})``."""
        self._last_id += 1
        command_id = self._last_id
        subscription = request.get("subscribe")
        channel = subscription.get("channel") if isinstance(subscription, dict) else None
        if isinstance(channel, str) and not channel.startswith("topic:"):
            self._subscribing[command_id] = channel
        self.socket.send(self.form.encode([{"id": command_id, **request}]))
        return self.reply(command_id)

    def reply(self, command_id: int) -> dict[str, Any]:
        """Wait for the reply to a command."""
        self.wait(
            lambda: command_id in self._replies or self.closed, f"a reply to command {command_id}"
        )
        assert command_id in self._replies, f"closed before a reply: {self.closed}"
        return self._replies[command_id]

    def rpc(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call a procedure, expect success, and return the ``data`` of its result."""
        reply = self.ask(rpc={"method": method, "data": arguments})
        assert "rpc" in reply, f"{method} failed: {reply}"
        return dict(reply["rpc"].get("data", {}))

    def error(self, **request: Any) -> int:
        """Send a command, expect an error, and return its code."""
        reply = self.ask(**request)
        assert "error" in reply, f"no error: {reply}"
        return int(reply["error"]["code"])

    # Inspection

    def wait(self, condition: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
        """Wait until ``condition()`` is true, and return its value.

        Args:
            condition: evaluated after every frame.
            what: names the condition in the message of a failure.
            timeout: seconds.
        """
        with self._changed:
            found = self._changed.wait_for(condition, timeout)
        assert found, f"{what} did not arrive within {timeout} s; {self!r}"
        return found

    def wait_for_titles(self, titles: list[str], timeout: float = PATIENCE) -> None:
        """Wait for as many publications as titles, and assert exactly these titles in order."""
        self.wait_for_count(len(titles), timeout)
        assert self.titles == titles

    def wait_for_count(self, count: int, timeout: float = PATIENCE) -> None:
        """Wait until at least ``count`` publications have arrived."""
        self.wait(lambda: len(self.publications) >= count, f"{count} publications", timeout)

    def wait_closed(self, timeout: float = PATIENCE) -> int:
        """Wait for the end of the connection and return the close code."""
        self.wait(lambda: self.closed is not None, "a close", timeout)
        assert self.closed is not None
        return self.closed.code

    @property
    def titles(self) -> list[str]:
        with self._changed:
            return [publication.data["title"] for publication in self.publications]

    @property
    def offsets(self) -> list[int]:
        with self._changed:
            return [publication.offset for publication in self.publications]

    def reply_codes(self) -> list[int]:
        """Codes of the errors among the replies of this connection."""
        with self._changed:
            return [reply["error"]["code"] for reply in self._replies.values() if "error" in reply]

    def __repr__(self) -> str:
        return (
            f"<Client positions={self.positions} titles={self.titles[-5:]} "
            f"messages={self.messages[-3:]} closed={self.closed}>"
        )

    # Frames

    def _join(self) -> None:
        assert self._thread is not None
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the receiving thread does not end"

    def _receive(self, socket: ClientConnection) -> None:
        try:
            while True:
                frame = socket.recv()
                self._reading.wait()
                for reply in self.form.decode(frame):
                    self._take(reply, socket)
        except ConnectionClosed as closed:
            got = closed.rcvd
            self._ended(*((1006, "") if got is None else (got.code, got.reason)))
        except Exception as error:
            with self._changed:
                self.violations.append(f"{type(error).__name__}: {error}")
            self._ended(1006, "the client failed")

    def _ended(self, code: int, reason: str) -> None:
        with self._changed:
            self.closed = Closed(code, reason, time.monotonic())
            self._changed.notify_all()

    def _take(self, reply: dict[str, Any], socket: ClientConnection) -> None:
        if reply == {} and self.answers_pings:
            with suppress(ConnectionClosed):
                socket.send(self.form.encode([{}]))
        with self._changed:
            if reply == {}:
                self.pings += 1
            elif "push" in reply:
                self._push(reply["push"])
            else:
                self._reply(reply)
            self._changed.notify_all()

    def _reply(self, reply: dict[str, Any]) -> None:
        for name, result in reply.get("connect", {}).get("subs", {}).items():
            self._resume(name, result)
        result = reply.get("subscribe", {})
        if result.get("recoverable") and reply["id"] in self._subscribing:
            self._resume(self._subscribing[reply["id"]], result)
        self._replies[reply["id"]] = reply

    def _push(self, push: dict[str, Any]) -> None:
        channel = push.get("channel", "")
        if "pub" in push and "offset" not in push["pub"]:
            self.ephemeral[channel].append(push["pub"]["data"])
        elif "pub" in push:
            self._publication(channel, push["pub"])
        elif "message" in push:
            self.messages.append(push["message"]["data"])
        elif "subscribe" in push:
            self.subscribed.append((channel, push["subscribe"]))
            self._resume(channel, push["subscribe"])
        elif "unsubscribe" in push:
            self.unsubscribed.append((channel, push["unsubscribe"]["code"]))
        elif "refresh" in push:
            self.refreshes.append(push["refresh"])
        elif "join" in push or "leave" in push:
            kind = "join" if "join" in push else "leave"
            self.comings.append((kind, channel, push[kind]["info"]["client"]))
        else:
            self.violations.append(f"an unknown push: {push}")

    def _resume(self, channel: str, result: dict[str, Any]) -> None:
        """Start or continue a channel as the subscribe result says."""
        epoch, offset = result["epoch"], result.get("offset", 0)
        publications = result.get("publications", [])
        if result.get("was_recovering") and not result.get("recovered"):
            self.unrecovered.append(channel)
            if publications:
                self.violations.append(f"{channel}: not recovered, but publications")
        elif publications and publications[-1]["offset"] > offset:
            self.violations.append(f"{channel}: the reply's offset is behind its publications")
        if channel not in self.positions or self.positions[channel].epoch != epoch:
            self.positions[channel] = Position(epoch, 0)
        for publication in publications:
            self._publication(channel, publication)
        self.positions[channel] = Position(epoch, offset)
        self._on_wire[channel] = offset

    def _publication(self, channel: str, publication: dict[str, Any]) -> None:
        offset = publication["offset"]
        if offset <= self._on_wire.get(channel, 0):
            self.violations.append(f"{channel}: {offset} after {self._on_wire[channel]}")
        self._on_wire[channel] = offset
        if channel not in self.positions:
            self.violations.append(f"{channel}: a publication without a subscription")
            return
        position = self.positions[channel]
        if offset <= position.offset:
            self.duplicates.append((channel, offset))
            return
        self.positions[channel] = Position(position.epoch, offset)
        received = Received(channel, offset, publication["data"], time.monotonic())
        self.publications.append(received)


class ReconnectingClient:
    """Reconnects a client until :meth:`stop`, even while the server is down."""

    def __init__(self, client: Client) -> None:
        self.client = client
        #: Number of successful and of failed attempts to connect.
        self.connects = 0
        self.failures = 0
        #: Close codes of the connections that have ended.
        self.codes: list[int] = []
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.stopped.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the reconnecting thread does not end"
        self.client.close()

    def _run(self) -> None:
        while not self.stopped.is_set():
            try:
                self.client.connect()
            except (OSError, InvalidHandshake, ConnectionClosed, AssertionError):
                self.failures += 1
            else:
                self.connects += 1
                self.stay()
            self.stopped.wait(0.1)

    def stay(self) -> None:
        """Wait until the connection has ended, and record its close code."""
        while self.client.closed is None and not self.stopped.is_set():
            self.stopped.wait(0.02)
        if self.client.closed is not None:
            self.codes.append(self.client.closed.code)
