"""A socket that is the body of an HTTP response, which stays open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ...protocol import codes
from ...protocol.bodies import Chunk
from ...protocol.codes import Disconnect
from ...protocol.prepared import Prepared
from .writing import ASGISend, ASGISocket

#: The ASGI extension of ``manage.py serve`` that drops the connection of a request.
ABORT = "notifications.abort"

Headers = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """A complete response."""

    status: int
    headers: Headers
    body: bytes


class BodySocket(ASGISocket):
    """A response that begins with its first message.

    Args:
        send: the ASGI ``send`` of the request.
        headers: the headers of the response.
        render: turns a message into bytes of the body.
        farewell: the last message of a connection that is closed with this code.
        refuse: what is answered if the connection is closed before its first message; None if that
            is an ordinary response, too.
        ended: called when the response is complete.
        abort: drops the request's connection, if the server can.
    """

    __slots__ = (
        "_abort",
        "_ended",
        "_farewell",
        "_has_begun",
        "_headers",
        "_is_complete",
        "_refuse",
        "_render",
    )

    def __init__(
        self,
        send: ASGISend,
        headers: Headers,
        *,
        farewell: Callable[[Disconnect], Prepared],
        ended: Callable[[], None],
        render: Callable[[Prepared], bytes] | None = None,
        refuse: Callable[[Disconnect], Answer | None] = lambda disconnect: None,
        abort: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(send)
        self._headers = headers
        self._farewell = farewell
        self._ended = ended
        self._render = render or _payload
        self._refuse = refuse
        self._abort = abort
        self._has_begun = False
        self._is_complete = False

    def begin(self, body: bytes) -> None:
        """Begin the response with these bytes, before there is a message."""
        self._run(self._write(body))

    def offer(self, message: Prepared) -> bool:
        if self.is_blocked:
            return False
        if not self._is_complete:
            self._run(self._write(self._render(message)))
        return True

    async def close(self, disconnect: Disconnect) -> None:
        """Write the last message and complete the response, once the socket is not blocked."""
        await self.drained()
        if disconnect == codes.MESSAGE_TOO_BIG:  # a code of websockets alone
            disconnect = codes.BAD_FRAME._replace(reason=disconnect.reason)
        self._is_complete = True
        try:
            await self._finish_body(disconnect)
        finally:
            self._ended()

    def abort(self) -> None:
        if self._abort is not None:
            self._abort()

    async def _finish_body(self, disconnect: Disconnect) -> None:
        answer = None if self._has_begun else self._refuse(disconnect)
        if answer is None:
            await self._write(self._render(self._farewell(disconnect)), more=False)
        else:
            await self._begin(answer.status, answer.headers)
            await self._write(answer.body, more=False)

    async def _write(self, body: bytes, *, more: bool = True) -> None:
        if not self._has_begun:
            await self._begin(200, self._headers)
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _begin(self, status: int, headers: Headers) -> None:
        self._has_begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


def abort_of(scope: dict[str, Any]) -> Callable[[], None] | None:
    """Return what drops the connection of a request; None if the server has no such extension."""
    found: Callable[[], None] | None = (scope.get("extensions") or {}).get(ABORT)
    return found


def _payload(message: Prepared) -> bytes:
    assert isinstance(message, Chunk)
    return message.payload
