"""What all requests of these transports have in common: who may send them, and refusals in JSON."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import msgspec
from channels.generic.http import AsyncHttpConsumer

from ..conf import app_settings
from ..hub.sockets.bodies import Answer, Headers
from ..origin import Refusals, refusal
from .query import connect_parameter

logger = logging.getLogger(__name__)

#: Values of ``Sec-Fetch-Site`` for requests of other sites' pages.
FOREIGN = (b"cross-site", b"same-site")

#: The content type of the Protobuf form.
BINARY = b"application/octet-stream"

#: Seconds for which a browser remembers that it may send a request.
PREFLIGHT_AGE = 300


class Refused(Exception):
    """The request is answered with an error.

    Args:
        status: the HTTP status.
        message: says why, without repeating what the client has sent.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


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
            await self.answer(error_answer(refused.status, refused.message))
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
        with suppress(OSError):
            await self.send_response(answer.status, answer.body, headers=headers)

    def cors_headers(self) -> Headers:
        """Return the headers that let the page that sent the request read the answer.

        Only for requests that were not refused for their origin. There is never a wildcard,
        because requests may have cookies.
        """
        vary = (b"vary", b"Origin")
        origin = self.header(b"origin")
        if not origin or refusal(self.scope) is not None:
            return [vary]
        return [
            vary,
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
        ]

    def header(self, name: bytes) -> bytes:
        """Return the value of a header of the request; b"" if it has none."""
        return next((value for known, value in self.scope["headers"] if known == name), b"")

    @property
    def is_binary(self) -> bool:
        """Whether the body has the Protobuf form."""
        return self.header(b"content-type").startswith(BINARY)

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
            raise Refused(405, f"the method must be {' or '.join(self.methods)}")
        await self.handle(await self._read_body())

    def _check_origin(self) -> None:
        reason = refusal(self.scope)
        # Browsers send no Origin with links, images and the like, which may have cookies.
        is_foreign = not self.header(b"origin") and self.header(b"sec-fetch-site") in FOREIGN
        if reason is None and is_foreign:
            reason = "it comes from a page of another site, without an Origin"
        if reason is not None:
            self._refusals.log(reason)
            raise Refused(403, "this host or origin is not allowed")

    def _preflight_headers(self) -> Headers:
        return [
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


def error_answer(status: int, message: str, code: int = 0) -> Answer:
    """Build a response that says what is wrong.

    Args:
        status: the HTTP status.
        message: the description.
        code: the code of the protocol; 0 for the HTTP status.
    """
    body = msgspec.json.encode({"error": {"code": code or status, "message": message}})
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", str(len(body)).encode()),
    ]
    return Answer(status, headers, body)
