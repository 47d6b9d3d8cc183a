"""Clients in the test's own process: the real consumer and hub behind a simulated socket.

A peer plays the SDK, which records publications and positions, and the network, which can block or
break the connection.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore

from notifications.connect.authentication import make_token
from notifications.consumers import NotificationConsumer
from notifications.database.lanes import in_database
from notifications.hub import Connection, Hub, get_hub, shutdown
from notifications.streams.names import is_channel
from tests.wire_forms import JSON, Form

T = TypeVar("T")

#: Seconds that a test waits for an expected event.
PATIENCE = 60.0

#: Settings under which no loop of the hub does anything by itself: a test calls what it needs.
QUIET = {
    "TOKEN_SECRET": "a secret of the tests that is long enough",
    "CHECK_INTERVAL": 3600.0,
    "TICK_INTERVAL": 3600.0,
    "FLUSH_INTERVAL": 3600.0,
    "RIGHTS_INTERVAL": 3600.0,
    "WORKER_TIMEOUT": 3 * 3600.0,
    "TOPICS": ["news"],
    "TRANSPORTS": {"streams": "/streams/"},
}


LAYER = "channels.layers.InMemoryChannelLayer"


@asynccontextmanager
async def running_hub(
    site: Any, layer: str = LAYER, *, hosts: list[str] | None = None, **changes: Any
) -> AsyncIterator[Hub]:
    """Run the hub of this event loop on its own channel layer, with :data:`QUIET` settings.

    Args:
        site: pytest-django's ``settings``.
        layer: dotted path of the layer's class.
        hosts: Redis URLs, for a layer that needs them.
        changes: changes of the app's settings.
    """
    site.NOTIFICATIONS = {**QUIET, **changes}
    config = {"capacity": 10_000} if hosts is None else {"hosts": hosts}
    site.CHANNEL_LAYERS = {"default": {"BACKEND": layer, "CONFIG": config}}
    hub = await get_hub()
    await rest()
    try:
        yield hub
    finally:
        await shutdown()


class Received(NamedTuple):
    channel: str
    offset: int
    title: str


class Position(NamedTuple):
    epoch: str
    offset: int


async def until(condition: Callable[[], T], what: str = "it", patience: float = PATIENCE) -> T:
    """Wait until ``condition()`` is true, for ``patience`` seconds at most; return its value."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        await asyncio.sleep(0.002)
    return found


async def rest() -> None:
    """Run the tasks that are ready."""
    for _ in range(10):
        await asyncio.sleep(0)


def log_in(user: Any) -> str:
    """Create a session of this user and return its key."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    assert session.session_key
    return session.session_key


class Peer:
    """One client, over any number of successive connections.

    Args:
        token: the token for ``connect``; "" for none.
        cookie: the ``Cookie`` header of the handshake; "" for none.
        form: the form of the protocol that it speaks.
    """

    def __init__(self, *, token: str = "", cookie: str = "", form: Form = JSON) -> None:
        self.token = token
        self.form = form
        self.headers = [(b"cookie", cookie.encode("latin-1"))] if cookie else []
        self.subprotocols: list[str] = [] if form is JSON else [form.subprotocol]
        self.query = b""
        #: The client's address in the ASGI scope; None as behind a Unix socket.
        self.client: tuple[str, int] | None = ("192.0.2.7", 50_000)
        #: Publications of all connections as an application sees them, without duplicates.
        self.publications: list[Received] = []
        self.positions: dict[str, Position] = {}
        self.messages: list[dict[str, Any]] = []
        self.subscribed: list[str] = []
        self.unsubscribed: list[str] = []
        #: Every ``refresh`` push: when the server says that the connection expires.
        self.refreshes: list[dict[str, Any]] = []
        #: Everything pushed in channels of namespaces, as it came.
        self.pushes: list[dict[str, Any]] = []
        self.unrecovered: list[str] = []
        #: Violations of the protocol by the server.
        self.violations: list[str] = []
        # This connection
        self.frames: list[Any] = []
        self.replies: dict[int, dict[str, Any]] = {}
        self.pings = 0
        self.closed: int | None = None
        self.is_gone = True
        self._on_wire: dict[str, int] = {}
        self._last_id = 0
        self._open = asyncio.Event()
        self._open.set()
        self._task: asyncio.Task[None] | None = None
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    @classmethod
    async def of(cls, user: Any, form: Form = JSON) -> "Peer":
        """Return a client that authenticates with a token of this user."""
        return cls(token=await in_database(make_token, user), form=form)

    # The network

    async def open(self) -> "Peer":
        """Open the socket without sending anything."""
        assert self._task is None or self._task.done()
        self.frames, self.replies, self._on_wire = [], {}, {}
        self.closed, self.is_gone = None, False
        self._incoming = asyncio.Queue()
        self._open = asyncio.Event()
        self._open.set()
        scope = {
            "type": "websocket",
            "path": "/connection/websocket",
            "query_string": self.query,
            "headers": self.headers,
            "client": self.client,
            "subprotocols": self.subprotocols,
        }
        consumer = NotificationConsumer.as_asgi()
        self._incoming.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(consumer(scope, self._incoming.get, self._send))
        await rest()
        return self

    def block(self) -> None:
        """Stop reading, so that the server's next write blocks."""
        self._open.clear()

    def unblock(self) -> None:
        self._open.set()

    def hang_up(self, code: int = 1006) -> None:
        """Break the connection; the server receives ``websocket.disconnect``."""
        if not self.is_gone:
            self.is_gone = True
            self._incoming.put_nowait({"type": "websocket.disconnect", "code": code})

    async def end(self) -> None:
        """Hang up and wait until the consumer has ended."""
        self.hang_up()
        if self._task is not None:
            await asyncio.wait_for(self._task, PATIENCE)

    async def ended(self) -> None:
        """Wait until the consumer has ended."""
        assert self._task is not None
        await asyncio.wait_for(asyncio.shield(self._task), PATIENCE)

    async def cancel(self) -> bool:
        """Cancel the consumer as a server may do; returns whether that ended it."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=PATIENCE)
        return self._task.cancelled()

    def say(self, text: str) -> None:
        self._incoming.put_nowait({"type": "websocket.receive", "text": text})

    def say_bytes(self, data: bytes) -> None:
        self._incoming.put_nowait({"type": "websocket.receive", "bytes": data})

    def say_commands(self, *commands: dict[str, Any]) -> None:
        """Send commands in one frame."""
        frame = self.form.encode(commands)
        (self.say_bytes if isinstance(frame, bytes) else self.say)(frame)

    # Commands

    async def connect(self, *, recover: bool = True) -> dict[str, Any]:
        """Open a new socket, connect, and return the result."""
        await self.open()
        reply = await self.try_connect(recover=recover)
        assert "connect" in reply, f"cannot connect: {reply}"
        return dict(reply["connect"])

    async def try_connect(self, *, recover: bool = True) -> dict[str, Any]:
        return await self.reply(self.ask(connect=self.connect_request(recover=recover)))

    def connect_request(self, *, recover: bool = True) -> dict[str, Any]:
        request: dict[str, Any] = {"token": self.token} if self.token else {}
        if recover and self.positions:
            request["subs"] = {
                name: {"recover": True, "epoch": position.epoch, "offset": position.offset}
                for name, position in self.positions.items()
            }
        return request

    def ask(self, **request: Any) -> int:
        """Send a command and return its id."""
        self._last_id += 1
        self.say_commands({"id": self._last_id, **request})
        return self._last_id

    async def reply(self, command_id: int) -> dict[str, Any]:
        await until(
            lambda: command_id in self.replies or self.closed is not None, f"reply {command_id}"
        )
        assert command_id in self.replies, f"closed with {self.closed} before a reply"
        return self.replies[command_id]

    async def call(self, **request: Any) -> dict[str, Any]:
        return await self.reply(self.ask(**request))

    async def error(self, **request: Any) -> int:
        """Send a command, expect an error, and return its code."""
        reply = await self.call(**request)
        assert "error" in reply, f"no error: {reply}"
        return int(reply["error"]["code"])

    async def rpc(self, method: str, **arguments: Any) -> dict[str, Any]:
        reply = await self.call(rpc={"method": method, "data": arguments})
        assert "rpc" in reply, f"{method} failed: {reply}"
        return dict(reply["rpc"].get("data", {}))

    def pong(self) -> None:
        self.say_commands({})

    # Inspection

    @property
    def titles(self) -> list[str]:
        return [publication.title for publication in self.publications]

    async def wait_for(self, *titles: str) -> None:
        """Wait for as many publications as titles, and assert exactly these titles in order."""
        await until(
            lambda: len(self.publications) >= len(titles), f"{titles}, not only {self.titles},"
        )
        assert self.titles == list(titles)

    async def wait_closed(self) -> int:
        await until(lambda: self.closed is not None, "a close")
        assert self.closed is not None
        return self.closed

    def connection(self, hub: Hub) -> Connection:
        """Return the hub's connection object for the current socket."""
        (client,) = [r["connect"]["client"] for r in self.replies.values() if "connect" in r]
        (found,) = [c for c in hub.connections.all if c.client == client]
        return found

    # Frames

    async def _send(self, event: dict[str, Any]) -> None:
        await self._open.wait()
        if self.is_gone:
            raise OSError("the peer is gone")
        if event["type"] == "websocket.close":
            self.closed = event["code"]
            self.hang_up(event["code"])
        elif event["type"] == "websocket.send":
            frame = event.get("text") if event.get("bytes") is None else event["bytes"]
            self.frames.append(frame)
            for reply in self.form.decode(frame):
                self._take(reply)

    def _take(self, reply: dict[str, Any]) -> None:
        if reply == {}:
            self.pings += 1
        elif "push" in reply:
            self._push(reply["push"])
        else:
            for name, result in reply.get("connect", {}).get("subs", {}).items():
                self._resume(name, result)
            self.replies[reply["id"]] = reply

    def _push(self, push: dict[str, Any]) -> None:
        channel = push.get("channel", "")
        if not any("connect" in reply for reply in self.replies.values()):
            self.violations.append(f"{push} before the reply to connect")
        if is_channel(channel) and channel:
            self.pushes.append(push)
        elif "pub" in push:
            self._publication(channel, push["pub"])
        elif "message" in push:
            self.messages.append(push["message"]["data"])
        elif "subscribe" in push:
            self.subscribed.append(channel)
            self._resume(channel, push["subscribe"])
        elif "unsubscribe" in push:
            self.unsubscribed.append(channel)
            self._on_wire.pop(channel, None)
        elif "refresh" in push:
            self.refreshes.append(push["refresh"])
        else:
            self.violations.append(f"an unknown push: {push}")

    def _resume(self, channel: str, result: dict[str, Any]) -> None:
        epoch, offset = result["epoch"], result.get("offset", 0)
        if channel in self._on_wire:
            self.violations.append(f"{channel} is subscribed twice")
        if result.get("was_recovering") and not result.get("recovered"):
            self.unrecovered.append(channel)
        known = self.positions.get(channel)
        if known is None or known.epoch != epoch:
            self.positions[channel] = Position(epoch, 0)
        self._on_wire[channel] = 0
        for publication in result.get("publications", []):
            self._publication(channel, publication)
        if self._on_wire[channel] > offset:
            self.violations.append(f"{channel}: the reply's offset is behind its publications")
        self._on_wire[channel] = offset
        self.positions[channel] = Position(epoch, offset)

    def _publication(self, channel: str, publication: dict[str, Any]) -> None:
        offset = publication["offset"]
        if offset <= self._on_wire.get(channel, -1):
            self.violations.append(f"{channel}: {offset} after {self._on_wire[channel]}")
        if channel not in self._on_wire:
            self.violations.append(f"{channel}: {offset} without a subscription")
        self._on_wire[channel] = offset
        position = self.positions.get(channel, Position("", 0))
        if offset > position.offset:
            self.positions[channel] = position._replace(offset=offset)
            received = Received(channel, offset, publication["data"]["title"])
            self.publications.append(received)
