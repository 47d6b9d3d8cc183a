"""The write path that the conformance suite of Durable Streams needs, in front of the site.

The site has no ``PUT`` and no ``POST`` for streams: code writes them. This application turns those
of the suite into calls of :func:`notifications.apublish`, which publishes as the code of any
project does. Reads go to the site as they are, with another path and the token of a user; their
status, offsets and all other headers are the site's own.

A channel holds JSON. For any other content type, each write is published as a JSON text, in Base64,
and only the body and the ``Content-Type`` of reads are translated back.
"""

import asyncio
import base64
import json
import re
from typing import Any, NamedTuple
from urllib.parse import quote

from asgiref.sync import sync_to_async

from notifications import apublish
from notifications.connect.authentication import make_token
from pushsite.asgi import application as site

PREFIX = "/v1/stream/"

JSON = "application/json"

#: A data event of the site: it is one line.
DATA = re.compile(rb"event: data\ndata:(.*)\n")


class Stream(NamedTuple):
    """A stream that the suite has created: where it is read, and as what."""

    path: str
    content_type: str

    @property
    def channel(self) -> str:
        return "suite:" + self.path.removeprefix(PREFIX)

    @property
    def is_json(self) -> bool:
        return media_type(self.content_type) == JSON

    def messages(self, body: bytes) -> list[Any]:
        """What is published for one write.

        Raises:
            ValueError: it is no JSON, although the stream is.
        """
        if not self.is_json:
            return [base64.b64encode(body).decode()] if body else []
        found = json.loads(body) if body else []
        return found if isinstance(found, list) else [found]


class Application:
    """The site, with streams below ``/v1/stream/`` that can be written."""

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}
        self._token = ""
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await site(scope, receive, send)
            return
        if not self._token:
            self._token = await sync_to_async(make_reader)()
        method, stream = scope["method"], self._streams.get(scope["path"])
        if method == "PUT":
            await self._create(scope, await read_body(receive), send)
        elif method == "POST" and stream is not None:
            await self._append(stream, scope, await read_body(receive), send)
        else:
            await self._read(stream or Stream(scope["path"], JSON), scope, receive, send)

    async def _create(self, scope: Any, body: bytes, send: Any) -> None:
        path = scope["path"]
        wanted = Stream(path, header(scope, b"content-type") or "application/octet-stream")
        stream = self._streams.setdefault(path, wanted)
        status = 201 if stream is wanted else 200
        if media_type(stream.content_type) != media_type(wanted.content_type):
            await respond(send, 409)
            return
        try:
            messages = stream.messages(body) if status == 201 else []
        except ValueError:
            del self._streams[path]
            await respond(send, 400)
            return
        await self._publish(stream, messages)
        address = f"{scope['scheme']}://{header(scope, b'host')}{quote(path)}"
        await respond(send, status, await self._end(stream, scope) | {"location": address})

    async def _append(self, stream: Stream, scope: Any, body: bytes, send: Any) -> None:
        given = header(scope, b"content-type")
        if not given or not body:
            await respond(send, 400)
        elif media_type(given) != media_type(stream.content_type):
            await respond(send, 409)
        else:
            try:
                messages = stream.messages(body)
            except ValueError:
                messages = []
            await self._publish(stream, messages)
            headers = await self._end(stream, scope) if messages else {}
            await respond(send, 204 if messages else 400, headers)

    async def _publish(self, stream: Stream, messages: list[Any]) -> None:
        async with self._lock:  # the messages of one write follow each other
            for message in messages:
                await apublish(stream.channel, message)

    async def _end(self, stream: Stream, scope: Any) -> dict[str, str]:
        """The type and the end of a stream, as the site tells them."""
        events: list[Any] = []

        async def collect(event: Any) -> None:
            events.append(event)

        await self._read(stream, {**scope, "method": "HEAD", "query_string": b""}, nothing, collect)
        found = {name.decode(): value.decode() for name, value in events[0]["headers"]}
        return {name: found[name] for name in ("content-type", "stream-next-offset")}

    async def _read(self, stream: Stream, scope: Any, receive: Any, send: Any) -> None:
        path = f"/streams/{stream.channel}"
        headers = [*scope["headers"], (b"authorization", f"Bearer {self._token}".encode())]
        raw_path = quote(path).encode()
        inner = {**scope, "path": path, "raw_path": raw_path, "headers": headers}
        await site(inner, receive, send if stream.is_json else Translation(stream, send))


class Translation:
    """Sends the answers of the site as those of a stream that is no JSON.

    The start of an answer waits for its first bytes, because their translation has another length.
    """

    def __init__(self, stream: Stream, send: Any) -> None:
        self._stream = stream
        self._send = send
        self._start: Any = None
        self._is_json = self._is_events = False

    async def __call__(self, event: Any) -> None:
        if event["type"] == "http.response.start":
            self._start = event
            kind = dict(event["headers"]).get(b"content-type")
            self._is_json = kind == JSON.encode() and event["status"] == 200
            self._is_events = kind == b"text/event-stream"
            return
        body = event.get("body", b"")
        if self._is_json:
            body = joined(body) if body else b""
        elif self._is_events:
            body = DATA.sub(lambda found: event_of(joined(found[1])), body)
        if self._start is not None:
            start, self._start = self._start, None
            await self._send({**start, "headers": self._headers(start, len(body))})
        await self._send({**event, "body": body})

    def _headers(self, start: Any, length: int) -> list[tuple[bytes, bytes]]:
        headers = dict(start["headers"])
        if self._is_json:
            headers[b"content-type"] = self._stream.content_type.encode()
            if b"content-length" in headers:
                headers[b"content-length"] = str(length).encode()
        return list(headers.items())


def joined(array: bytes) -> bytes:
    return b"".join(base64.b64decode(message) for message in json.loads(array))


def event_of(content: bytes) -> bytes:
    lines = re.split(rb"\r\n|\r|\n", content)
    return b"event: data\n" + b"".join(b"data:" + line + b"\n" for line in lines)


def media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()


def header(scope: Any, name: bytes) -> str:
    return str(dict(scope["headers"]).get(name, b"").decode("latin-1"))


def make_reader() -> str:
    from django.contrib.auth import get_user_model  # noqa: PLC0415 - after the set-up of Django

    reader, _ = get_user_model().objects.get_or_create(username="conformance")
    return make_token(reader, None)


async def read_body(receive: Any) -> bytes:
    body = b""
    while (event := await receive())["type"] == "http.request":
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    return body


async def nothing() -> Any:
    return {"type": "http.request", "body": b""}


async def respond(send: Any, status: int, headers: dict[str, str] | None = None) -> None:
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b""})


application = Application()
