"""A client of the websocket, for asynchronous tests."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NamedTuple, Self

from asgiref.sync import sync_to_async
from channels.routing import get_default_application
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from ..paths import paths
from .server import server

try:
    from channels.testing import WebsocketCommunicator
except ImportError as error:  # channels imports daphne for its live server
    raise ImportError("NotificationSocket needs daphne: pip install 'pushsite[daphne]'") from error

#: Seconds to wait for the server.
PATIENCE = 5.0


class Received(NamedTuple):
    """A publication, as it reached the client."""

    channel: str
    offset: int
    #: The notification: ``id``, ``title``, ``level`` …, without fields that are empty.
    data: dict[str, Any]


class Refused(Exception):
    """The server answered with an error, or closed the connection.

    Args:
        code: of the error or of the close; docs/protocol.md lists them.
        reason: the server's words.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class NotificationSocket:
    """One device of a user: ``async with NotificationSocket(user) as socket: …``.

    It connects to the host's ``ASGI_APPLICATION`` with a session of the user, or with a token, and
    speaks the Centrifuge protocol in JSON. It answers pings, and so acknowledges what has arrived.

    It works in Django's ``TestCase`` as well: the server reads with the connection of the test, and
    notifications are published when a commit would publish them. Channel layers are replaced by
    one in memory.

    Args:
        user: who is logged in; None for nobody.
        token: a connection token, as made by
            :func:`notifications.connect.authentication.make_token`.
        path: of the websocket, instead of that in the setting ``TRANSPORTS``.
        headers: further headers of the handshake, or others instead of ``Host`` and ``Origin``.
        application: an ASGI application instead of the host's.
    """

    def __init__(
        self,
        user: AbstractBaseUser | None = None,
        *,
        token: str = "",
        path: str = "",
        headers: Iterable[tuple[bytes, bytes]] = (),
        application: Callable[..., Any] | None = None,
    ) -> None:
        self._user = user
        self._token = token
        self._path = path
        self._headers = {b"host": b"testserver", b"origin": b"http://testserver", **dict(headers)}
        self._application = application
        self._begin()

    async def __aenter__(self) -> Self:
        self._begin()
        await server().enter()
        try:
            await self._open()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._leave()

    @property
    def unread(self) -> int:
        """The unread count when the client connected."""
        return int(self.connected["data"]["unread"])

    @property
    def channels(self) -> list[str]:
        """The names of the streams that the server has subscribed the client to."""
        return sorted(self.connected.get("subs", {}))

    async def receive(self, timeout: float = PATIENCE) -> Received:  # noqa: ASYNC109
        """Return the next publication.

        Args:
            timeout: seconds to wait for it.

        Raises:
            AssertionError: none came.
            Refused: the server has closed the connection.
        """
        await self._until(lambda: bool(self._publications), "publication", timeout)
        return self._publications.popleft()

    async def receive_message(self, timeout: float = PATIENCE) -> dict[str, Any]:  # noqa: ASYNC109
        """Return the next change of the inbox, such as ``{"type": "read", "ids": [7], …}``.

        Takes the argument of :meth:`receive`, and raises the same errors.
        """
        await self._until(lambda: bool(self._messages), "message", timeout)
        return self._messages.popleft()

    async def assert_nothing_received(self, seconds: float = 0.1) -> None:
        """Fail if a publication has come, or comes within this time."""
        deadline = time.monotonic() + seconds
        while not self._publications and self._closed is None and await self._take(deadline):
            pass
        if self._publications:
            raise AssertionError(f"This was received: {self._publications[0]}")

    async def rpc(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call a procedure, such as ``read`` with ``ids``, and return its result.

        Raises:
            Refused: it has failed.
        """
        result = await self.call(rpc={"method": method, "data": arguments})
        return dict(result.get("data", {}))

    async def call(self, **command: Any) -> dict[str, Any]:
        """Send a command of the protocol, ``subscribe={"channel": …}``, and return its result.

        Raises:
            Refused: it has failed.
        """
        self._last_id += 1
        command_id = self._last_id
        await self._communicator.send_json_to({"id": command_id, **command})
        await self._until(lambda: command_id in self._replies, "reply", PATIENCE)
        reply = self._replies.pop(command_id)
        if "error" in reply:
            raise Refused(reply["error"]["code"], reply["error"].get("message", ""))
        (name,) = command
        return dict(reply.get(name, {}))

    async def close_code(self, timeout: float = PATIENCE) -> int:  # noqa: ASYNC109
        """Wait until the server closes the connection, and return the code."""
        deadline = time.monotonic() + timeout
        while self._closed is None:
            if not await self._take(deadline):
                raise AssertionError(f"The connection was not closed within {timeout:g} s.")
        return self._closed.code

    def _begin(self) -> None:
        """Forget a former connection."""
        self._communicator: Any = None
        self._publications: deque[Received] = deque()
        self._messages: deque[dict[str, Any]] = deque()
        self._replies: dict[int, dict[str, Any]] = {}
        self._last_id = 0
        self._closed: Refused | None = None
        #: The server's answer to ``connect``: ``client``, ``subs``, ``data`` …
        self.connected: dict[str, Any] = {}

    async def _open(self) -> None:
        if self._user is not None:
            self._headers[b"cookie"] = await sync_to_async(_log_in)(self._user)
        application = self._application or _application()
        headers = list(self._headers.items())
        path = self._path or _path()
        self._communicator = WebsocketCommunicator(application, path, headers)
        accepted, code = await self._communicator.connect(PATIENCE)
        if not accepted:
            raise Refused(code, "the handshake was refused")
        self.connected = await self.call(connect={"token": self._token} if self._token else {})
        for channel, subscription in self.connected.get("subs", {}).items():
            self._publish(channel, subscription.get("publications", []))

    async def _leave(self) -> None:
        try:
            if self._communicator is not None:
                await self._communicator.disconnect(timeout=PATIENCE)
        finally:
            await server().leave()

    async def _until(self, condition: Callable[[], bool], what: str, patience: float) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            if self._closed is not None:
                raise self._closed
            if not await self._take(deadline):
                others = [*self._publications, *self._messages]
                also = f" This was received: {others}" if others else ""
                raise AssertionError(f"No {what} came within {patience:g} s.{also}")

    async def _take(self, deadline: float) -> bool:
        """Take what the server sends next; return False if nothing comes until ``deadline``."""
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                event = await self._communicator.output_queue.get()
        except TimeoutError:
            if self._communicator.future.done():
                self._communicator.future.result()  # raises what has ended the application
            return False
        if event["type"] == "websocket.close":
            self._closed = Refused(event.get("code") or 1000, event.get("reason") or "")
        else:
            for line in event["text"].split("\n"):
                await self._read(json.loads(line))
        return True

    async def _read(self, reply: dict[str, Any]) -> None:
        if not reply:
            await self._communicator.send_to("{}")
        elif "push" not in reply:
            self._replies[reply["id"]] = reply
        else:
            push = reply["push"]
            if "pub" in push:
                self._publish(push["channel"], [push["pub"]])
            elif "message" in push:
                self._messages.append(push["message"]["data"])

    def _publish(self, channel: str, publications: list[dict[str, Any]]) -> None:
        self._publications += [
            Received(channel, one["offset"], one["data"]) for one in publications
        ]


def _log_in(user: AbstractBaseUser) -> bytes:
    """Return the ``Cookie`` header of a browser in which this user has logged in."""
    client = Client()
    client.force_login(user)  # type: ignore[arg-type]  # the host's user model, whatever it is
    morsel = client.cookies[settings.SESSION_COOKIE_NAME]
    return f"{morsel.key}={morsel.value}".encode()


def _application() -> Callable[..., Any]:
    if getattr(settings, "ASGI_APPLICATION", None):
        return get_default_application()  # type: ignore[no-any-return]
    raise ImproperlyConfigured("NotificationSocket needs the setting ASGI_APPLICATION.")


def _path() -> str:
    try:
        return paths()["websocket"]
    except KeyError:
        raise ImproperlyConfigured(
            "NotificationSocket needs NOTIFICATIONS['TRANSPORTS']['websocket'], which is None."
        ) from None
