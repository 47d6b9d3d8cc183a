"""What all requests of these transports have in common: who may send them, and refusals in JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec
from channels.generic.http import AsyncHttpConsumer

from ..conf import app_settings
from ..hub.sockets.bodies import Answer, Headers
from ..origin import Refusals
from . import cross_origin
from .query import connect_parameter

logger = logging.getLogger(__name__)

#: The content type of the Protobuf form.
BINARY = b"application/octet-stream"

#: Seconds for which a browser remembers that it may send a request.
PREFLIGHT_AGE = 300


class Refused(Exception):
    """The request is answered with an error.

    Args:
        status: the HTTP status.
        message: says why, without repeating what the client has sent.
        headers: further headers of the answer.
    """

    def __init__(
        self, status: int, message: str, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(message)
        self.answer = error_answer(status, message, headers=headers)


class Gone(Exception):
    """The client has gone before its request was complete."""


class Endpoint(AsyncHttpConsumer):
    """A request that is answered without Django's handlers and middleware.

    ``__call__`` is overridden: Channels' version makes a layer channel for each request, awaits
    a thread hop for every message, and has no limit for a body.
    """

    #: The methods besides OPTIONS.
    methods: tuple[str, ...] = ("POST",)

    _refusals = Refusals(logger, "A request")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.receive = receive
        self.base_send = send
        try:
            await self._serve()
        except Refused as refused:
            await self.answer(refused.answer)
        except Gone:
            return
        except Exception:
            logger.exception("A request is answered with 500 after an unexpected error.")
            await self.answer(error_answer(500, "internal server error"))

    async def handle(self, body: bytes) -> None:
        """Answer the request.

        Raises:
            Refused: it cannot be answered, and no answer has begun.
        """
        raise NotImplementedError

    @property
    def max_body_size(self) -> int:
        """Bytes of a body at most."""
        return app_settings.MAX_FRAME_SIZE

    async def answer(self, answer: Answer) -> None:
        """Send a complete response, unless the client has gone (ASGI 2.4: ``OSError``)."""
        headers = [*answer.headers, *self.cors_headers()]
        body = b"" if self.scope["method"] == "HEAD" else answer.body
        with suppress(OSError):
            await self.send_response(answer.status, body, headers=headers)

    def cors_headers(self) -> Headers:
        """Return the headers that let the page that sent the request read the answer.

        Only for requests that were not refused for their origin. There is never a wildcard,
        because requests may have cookies.
        """
        allowed = cross_origin.headers(self.scope).items()
        return [
            (b"vary", b"Origin"),
            *((name.encode(), value.encode("latin-1")) for name, value in allowed if value),
        ]

    def header(self, name: bytes) -> bytes:
        """Return the value of a header of the request; b"" if it has none."""
        return next((value for known, value in self.scope["headers"] if known == name), b"")

    @property
    def is_binary(self) -> bool:
        """Whether the body has the Protobuf form."""
        return self.header(b"content-type").lower().startswith(BINARY)

    def connect_parameter(self) -> str:
        """Return what the query has to connect with; "" if it has nothing.

        Raises:
            Refused: it cannot be parsed.
        """
        try:
            return connect_parameter(self.scope)
        except ValueError:
            raise Refused(400, "too many parameters") from None

    async def _serve(self) -> None:
        self._check_origin()
        method = self.scope["method"]
        if method == "OPTIONS":
            await self.answer(Answer(204, self._preflight_headers(), b""))
            return
        if method not in self.methods:
            what = f"the method must be {' or '.join(self.methods)}"
            raise Refused(405, what, [self._allow_header])
        await self.handle(await self._read_body())

    def _check_origin(self) -> None:
        reason = cross_origin.reason_to_refuse(self.scope)
        if reason is not None:
            self._refusals.log(reason)
            raise Refused(403, "this host or origin is not allowed")

    @property
    def _allow_header(self) -> tuple[bytes, bytes]:
        return (b"allow", ", ".join([*self.methods, "OPTIONS"]).encode())

    def _preflight_headers(self) -> Headers:
        return [
            self._allow_header,
            (b"access-control-allow-methods", ", ".join([*self.methods, "OPTIONS"]).encode()),
            (b"access-control-allow-headers", b"Content-Type, Last-Event-ID"),
            (b"access-control-max-age", str(PREFLIGHT_AGE).encode()),
        ]

    async def _read_body(self) -> bytes:
        body = bytearray()
        more = True
        try:
            async with asyncio.timeout(app_settings.CONNECT_TIMEOUT):
                while more:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    body += message.get("body", b"")
                    if len(body) > self.max_body_size:
                        raise Refused(413, f"a body may have {self.max_body_size} bytes")
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Refused(408, "the body has not arrived in time") from None
        return bytes(body)


def error_answer(
    status: int, message: str, code: int = 0, headers: Iterable[tuple[bytes, bytes]] = ()
) -> Answer:
    """Build a response that says what is wrong.

    Args:
        status: the HTTP status.
        message: the description.
        code: the code of the protocol; 0 for the HTTP status.
        headers: further headers.
    """
    body = msgspec.json.encode({"error": {"code": code or status, "message": message}})
    fields = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    return Answer(status, fields, body)
