"""One request and its response, in the terms of ASGI, with the headers that all responses have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from ...connect.authentication import Credentials
from ...protocol import codes
from ...shell import read_session_key
from .. import cross_origin

#: Query parameters of a request at most.
MAX_PARAMETERS = 20

#: Of every response. What a stream contains depends on who asks, so no shared cache may keep it.
HEADERS = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "vary": "Authorization, Cookie, Origin, Subscription-Token",
}

#: Headers of responses that scripts of other origins may read.
EXPOSED = (
    "ETag",
    "Retry-After",
    "Stream-Cursor",
    "Stream-Next-Offset",
    "Stream-Up-To-Date",
)


class Refused(Exception):
    """The request is answered with an error.

    Args:
        status: the HTTP status.
        error: the error of the Centrifuge protocol that says the same; its code is in the body.
        message: a sentence for people.
        headers: further headers of the response.
    """

    def __init__(
        self,
        status: int,
        error: codes.Error,
        message: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.content = {"error": {"code": error.code, "message": message}}


class Query(NamedTuple):
    """The parameters of a request that have a meaning; None for those that are absent."""

    offset: str | None = None
    live: str | None = None
    cursor: str | None = None


class Exchange:
    """A request, and the response that is sent at most once.

    Args:
        scope: the ASGI scope of the request.
        receive: awaits the next event of the client.
        send: sends an event to the client.
    """

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.address: str = (scope.get("client") or ("",))[0]
        self.is_started = False
        self.is_gone = False
        #: Whether the client should send its next request to another process.
        self.must_close = False
        self._send = send
        self._receive = receive

    def header(self, name: bytes) -> str:
        """A header of the request; "" if it is absent. HTTP/2 may split the cookies."""
        values = [value for key, value in self.scope["headers"] if key == name]
        return (b"; " if name == b"cookie" else b", ").join(values).decode("latin-1")

    @property
    def session_key(self) -> str:
        return read_session_key(self.header(b"cookie"))

    def credentials(self) -> Credentials:
        """What the client presents: a bearer token (RFC 6750), or else the session cookie."""
        scheme, _, token = self.header(b"authorization").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        return Credentials("" if bearer else self.session_key, bearer)

    def query(self) -> Query:
        """Read the query.

        Raises:
            Refused: it has too many parameters, or one of ours twice.
        """
        text = self.scope.get("query_string", b"").decode("latin-1")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
        except ValueError:
            raise Refused(400, codes.BAD_REQUEST, "The query has too many parameters.") from None
        known = [(name, value) for name, value in pairs if name in Query._fields]
        if len(known) != len(dict(known)):
            raise Refused(400, codes.BAD_REQUEST, "A parameter is there twice.")
        return Query(**dict(known))

    async def send(self, event: Any) -> None:
        """Send an event to the client, unless it has gone (ASGI 2.4: ``OSError``)."""
        try:
            await self._send(event)
        except OSError:
            self.is_gone = True

    async def wait_until_gone(self) -> None:
        """Return when the client has gone."""
        while not self.is_gone:  # parts of a body mean nothing here
            self.is_gone = (await self._receive())["type"] == "http.disconnect"

    async def refuse(self, refused: Refused) -> None:
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        await self.respond(
            refused.status, {**headers, **refused.headers}, msgspec.json.encode(refused.content)
        )

    async def respond(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send a whole response; a response to ``HEAD`` has no body."""
        is_empty = status in (204, 304)
        length = {} if is_empty else {"content-length": str(len(body))}
        await self.start(status, {**headers, **length})
        sent = b"" if is_empty or self.method == "HEAD" else body
        await self.send({"type": "http.response.body", "body": sent})

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status and the headers of a response whose body follows."""
        self.is_started = True
        own = HEADERS | cross_origin.headers(self.scope, EXPOSED) | dict(headers)
        if self.must_close and self.scope.get("http_version", "1.1").startswith("1"):
            own["connection"] = "close"
        fields = [(name.encode(), value.encode("latin-1")) for name, value in own.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": fields})
