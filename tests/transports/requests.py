"""Clients of the HTTP transports in the test's own process: the application behind plain ASGI."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from notifications.asgi import compose
from notifications.paths import DEFAULTS
from tests.peers import PATIENCE, rest, until

Headers = Iterable[tuple[bytes, bytes]]


async def no_django(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError(f"{scope['path']} is not a path of the app")


class Request:
    """One request, whose response may stay open.

    Args:
        path: the path below the host.
        body: the body; text is encoded as UTF-8, and other values than bytes as JSON.
        method: the HTTP method.
        connect: what the parameter ``cf_connect`` holds, as JSON.
        headers: headers of the request.
        extensions: ASGI extensions of the server.
    """

    def __init__(
        self,
        path: str,
        body: Any = b"",
        *,
        method: str = "POST",
        connect: Any = None,
        headers: Headers = (),
        extensions: dict[str, Any] | None = None,
    ) -> None:
        query = "" if connect is None else "cf_connect=" + quote(as_text(connect))
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "scheme": "http",
            "query_string": query.encode(),
            "headers": [(b"host", b"testserver"), *headers],
            "server": ("testserver", 80),
            "client": ("192.0.2.7", 50_000),
            "extensions": extensions or {},
        }
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_complete = False
        #: Whether the server says ``http.disconnect`` after a complete response.
        self.tells_end = True
        self._is_gone = False
        self._open = asyncio.Event()
        self._open.set()
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        if body is not None:
            data = body if isinstance(body, bytes) else as_text(body).encode()
            self._incoming.put_nowait({"type": "http.request", "body": data, "more_body": False})
        self._task: asyncio.Future[None] = asyncio.ensure_future(
            compose(no_django, ())(self.scope, self._receive, self._send)
        )

    # The network

    def block(self) -> None:
        """Stop reading, so that the server's next write blocks."""
        self._open.clear()

    def unblock(self) -> None:
        self._open.set()

    def hang_up(self) -> None:
        self._is_gone = True
        self._incoming.put_nowait({"type": "http.disconnect"})

    def send_body(self, data: bytes, *, more: bool) -> None:
        self._incoming.put_nowait({"type": "http.request", "body": data, "more_body": more})

    async def end(self) -> None:
        """Hang up and wait until the application has ended."""
        self.hang_up()
        await asyncio.wait_for(self._task, PATIENCE)

    async def ended(self) -> "Request":
        """Wait until the application has ended."""
        await asyncio.wait_for(asyncio.shield(self._task), PATIENCE)
        return self

    async def cancel(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=PATIENCE)

    # The answer

    @property
    def error(self) -> tuple[int, int]:
        """The status of a refusal, and the code in it."""
        assert self.headers["content-type"] == "application/json"
        return self.status, json.loads(self.body)["error"]["code"]

    @property
    def lines(self) -> list[Any]:
        """The messages of a response with one per line."""
        return [json.loads(line) for line in self.body.decode().splitlines()]

    @property
    def events(self) -> list[tuple[str | None, Any]]:
        """The id and the data of each event."""
        found: list[tuple[str | None, Any]] = []
        for event in self.body.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in event.split("\n") if ": " in line)
            if "data" in fields:
                found.append((fields.get("id"), json.loads(fields["data"])))
        return found

    @property
    def messages(self) -> list[Any]:
        if self.headers.get("content-type") == "text/event-stream":
            return [data for _, data in self.events]
        return self.lines

    @property
    def titles(self) -> list[str]:
        """The titles of all publications so far, whether in a result or a push."""
        found = []
        for message in self.messages:
            connect = message.get("connect") or message.get("push", {}).get("connect") or {}
            for result in connect.get("subs", {}).values():
                found += [each["data"]["title"] for each in result.get("publications", [])]
            publication = message.get("pub") or message.get("push", {}).get("pub")
            if publication:
                found.append(publication["data"]["title"])
        return found

    async def message(self, name: str) -> Any:
        """Wait for a message or push with this field, and return the field."""

        def found() -> list[Any]:
            pushes = [message.get("push", message) for message in self.messages]
            return [each[name] for each in (*self.messages, *pushes) if name in each]

        return (await until(found, f"{name}, not only {self.body!r},"))[0]

    async def wait_for(self, *titles: str) -> None:
        await until(lambda: len(self.titles) >= len(titles), f"{titles}")
        assert self.titles == list(titles)

    async def _receive(self) -> dict[str, Any]:
        return await self._incoming.get()

    async def _send(self, event: dict[str, Any]) -> None:
        await self._open.wait()
        if self._is_gone:
            raise OSError("the client is gone")
        if event["type"] == "http.response.start":
            assert not self.status, "a second response"
            self.status = event["status"]
            self.headers = {
                name.decode().lower(): value.decode() for name, value in event["headers"]
            }
            return
        assert self.status
        assert not self.is_complete, "a body after its end"
        self.body += event["body"]
        if not event.get("more_body"):
            self.is_complete = True
            if self.tells_end:
                self._incoming.put_nowait({"type": "http.disconnect"})


async def answered(path: str, body: Any = b"", **options: Any) -> Request:
    """Send a request and wait until it is answered."""
    request = Request(path, body, **options)
    await request.ended()
    return request


class Emulated:
    """A client of ``http_stream`` or ``sse``: a response, and requests to ``/emulation``."""

    def __init__(self, request: Request, emulation: str) -> None:
        self.stream = request
        self._emulation = emulation
        self.result: dict[str, Any] = {}
        self._last_id = 1

    @classmethod
    async def connect(
        cls,
        token: str,
        *,
        sse: bool = False,
        paths: dict[str, str] | None = None,
        **options: Any,
    ) -> "Emulated":
        """Connect and wait for the result."""
        known = {**DEFAULTS, **(paths or {})}
        emulation = str(known["emulation"])
        command = {"id": 1, "connect": {"token": token, **options.pop("fields", {})}}
        if sse:
            options = {"method": "GET", "connect": command, **options}
            client = cls(Request(str(known["sse"]), **options), emulation)
        else:
            client = cls(Request(str(known["http_stream"]), command, **options), emulation)
        client.result = await client.stream.message("connect")
        return client

    async def send(self, text: str, **changes: Any) -> Request:
        """Send a frame, and return the answer to that request."""
        names = {"session": self.result["session"], "node": self.result["node"]}
        return await answered(self._emulation, {**names, "data": text, **changes})

    async def call(self, **request: Any) -> dict[str, Any]:
        """Send a command and return the reply."""
        self._last_id += 1
        answer = await self.send(json.dumps({"id": self._last_id, **request}))
        assert (answer.status, answer.body) == (204, b"")

        def replies() -> list[dict[str, Any]]:
            return [each for each in self.stream.messages if each.get("id") == self._last_id]

        return (await until(replies, "a reply"))[0]

    @property
    def pings(self) -> int:
        return self.stream.messages.count({})


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


async def settle() -> None:
    await rest()
