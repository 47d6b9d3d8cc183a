"""Clients that receive over one HTTP response, and send by requests that any process may get.

A client names its session by a secret from the reply to ``connect``, and the process that has it by
``node``. What another process gets for it travels through the channel layer, which may lose it: the
client then misses the answer to its command, or its pong, and connects again.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from contextlib import suppress

from ..group_names import group_name
from ..layer import group_send
from .delivery.stream import LocalStream
from .local_streams import LocalStreams

#: Bytes of randomness in the name of a session.
SECRET_BYTES = 24

#: Takes a frame for a session; returns False if too many are waiting already.
Take = Callable[[str | bytes], bool]


class Unknown(Exception):
    """There is no such session in this process."""


class Unreachable(Exception):
    """The channel layer does not work, so other processes cannot be reached."""


class Emulation:
    """The emulated sessions of one process, by the secrets that name them.

    Args:
        streams: joins the layer group of this process as if it was a stream.
    """

    def __init__(self, streams: LocalStreams) -> None:
        #: Names this process in requests of clients.
        self.node = uuid.uuid4().hex
        self._streams = streams
        self._sessions: dict[str, Take] = {}
        #: Pinned as long as the process lives.
        self._own: LocalStream | None = None

    async def open(self, take: Take) -> str:
        """Begin a session.

        Args:
            take: called with each frame that the client sends.

        Returns:
            The secret that names the session.
        """
        if self._own is None:
            own = await self._streams.join(_stream(self.node))
            if self._own is not None:  # another session has begun meanwhile
                own.unpin()
            self._own = own
        secret = secrets.token_urlsafe(SECRET_BYTES)
        self._sessions[secret] = take
        return secret

    def close(self, secret: str) -> None:
        """End a session. Safe to call twice."""
        self._sessions.pop(secret, None)

    def take(self, secret: str, frame: str | bytes) -> bool:
        """Hand a frame to a session of this process.

        Returns:
            False if too many frames are waiting already; then the session is closed.

        Raises:
            Unknown: there is no such session.
        """
        take = self._sessions.get(secret)
        if take is None:
            raise Unknown
        return take(frame)

    def take_forwarded(self, secret: str, frame: str | bytes) -> None:
        """Hand over a frame that another process has forwarded; its session may have ended."""
        with suppress(Unknown):
            self.take(secret, frame)

    async def forward(self, node: str, secret: str, frame: str | bytes) -> None:
        """Send a frame to the process that has the session. Whether it arrives is not known.

        Raises:
            Unreachable: the channel layer does not take it.
        """
        if not self._streams.groups.is_up:
            raise Unreachable
        name = _stream(node)
        message = {"type": "notifications.emulation", "stream": name, "session": secret}
        try:
            await group_send(group_name(name), {**message, "frame": frame})
        except Exception as error:  # whatever the layer's client library raises
            self._streams.groups.went_down(error)
            raise Unreachable from error


def _stream(node: str) -> str:
    return f"node:{node}"
