"""Requests to the application of streams, without a server: what a client sends and gets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from notifications.asgi import compose
from notifications.connect.authentication import make_token
from notifications.database.lanes import in_database
from tests.peers import PATIENCE, until


async def _nothing_else(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError(f"{scope['path']} went to Django")


APPLICATION = compose(_nothing_else, ())


class Exchange:
    """One request and its response, as far as it has come.

    Args:
        path: the path below the site.
        parameters: of the query.
        method: the HTTP method.
        headers: of the request.
        query: the query as it is, instead of ``parameters``.
        root_path: the prefix of the site.
        extensions: of the server.
    """

    def __init__(
        self,
        path: str,
        parameters: dict[str, str] | None = None,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        query: str = "",
        root_path: str = "",
        extensions: dict[str, Any] | None = None,
    ) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_complete = False
        self._has_failed = False
        self._open = asyncio.Event()
        self._open.set()
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": b""})
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": path,
            "root_path": root_path,
            "query_string": (query or urlencode(parameters or {})).encode(),
            "extensions": extensions or {},
            "client": ("192.0.2.7", 50_000),
            "headers": [
                (k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items()
            ],
        }
        application: Any = APPLICATION(scope, self._incoming.get, self._send)
        self.task: asyncio.Task[None] = asyncio.create_task(application)

    def hang_up(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    def block(self) -> None:
        """Stop reading, so that the server's next write blocks."""
        self._open.clear()

    def fail(self) -> None:
        """Let the server's writes fail from now on."""
        self._has_failed = True

    def unblock(self) -> None:
        self._open.set()

    async def complete(self) -> "Exchange":
        """Wait until the response is complete, and the application has ended."""
        await asyncio.wait_for(asyncio.shield(self.task), PATIENCE)
        assert self.is_complete
        return self

    async def started(self) -> "Exchange":
        await until(lambda: self.status, "a response")
        return self

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.json]

    @property
    def offset(self) -> str:
        return self.headers["stream-next-offset"]

    @property
    def is_up_to_date(self) -> bool:
        return self.headers.get("stream-up-to-date") == "true"

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The complete events of an SSE response: type and content."""
        found = []
        for text in self.body.decode().split("\n\n")[:-1]:
            kind, data = text.split("\n")
            found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data:"))))
        return found

    @property
    def event_titles(self) -> list[str]:
        batches = [content for kind, content in self.events if kind == "data"]
        return [message["title"] for batch in batches for message in batch]

    @property
    def last_control(self) -> dict[str, Any]:
        controls = [content for kind, content in self.events if kind == "control"]
        return dict(controls[-1])

    async def _send(self, event: dict[str, Any]) -> None:
        await self._open.wait()
        if self._has_failed:
            raise BrokenPipeError
        if event["type"] == "http.response.start":
            assert not self.status, "the response starts twice"
            self.status = event["status"]
            self.headers = {k.decode(): v.decode("latin-1") for k, v in event["headers"]}
            return
        assert self.status
        assert not self.is_complete, "the response goes on after its end"
        self.body += event.get("body", b"")
        if not event.get("more_body"):
            self.is_complete = True
            self.hang_up()


class Reader:
    """Reads one stream as one user.

    Args:
        name: name of the stream.
        headers: of every request.
    """

    def __init__(self, name: str, headers: dict[str, str]) -> None:
        self.name = name
        self.headers = headers

    @classmethod
    async def of(cls, user: Any, name: str = "") -> "Reader":
        """A reader with a token of this user, by default of the private stream."""
        token = await in_database(make_token, user)
        return cls(name or f"user:{user.pk}", {"authorization": f"Bearer {token}"})

    def ask(self, offset: str | None = None, live: str = "", **options: Any) -> Exchange:
        """Send a request, without waiting for the answer."""
        parameters = {} if offset is None else {"offset": offset}
        if live:
            parameters["live"] = live
        if "cursor" in options:
            parameters["cursor"] = options.pop("cursor")
        headers = self.headers | options.pop("headers", {})
        return Exchange(f"/streams/{self.name}", parameters, headers=headers, **options)

    async def read(self, offset: str | None = None, live: str = "", **options: Any) -> Exchange:
        """Send a request, and wait for the whole answer."""
        return await self.ask(offset, live, **options).complete()

    @asynccontextmanager
    async def events(self, offset: str = "-1", **options: Any) -> AsyncIterator[Exchange]:
        """An open SSE response, which the client leaves when the block ends."""
        exchange = await self.ask(offset, "sse", **options).started()
        try:
            yield exchange
        finally:
            exchange.unblock()
            exchange.hang_up()
            await asyncio.wait_for(exchange.task, PATIENCE)
