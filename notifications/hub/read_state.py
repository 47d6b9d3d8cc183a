"""What connected clients are told of their user's read state: changes, and the unread count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ..protocol import messages
from ..protocol.json import encode_reply
from ..protocol.prepared import Prepared
from .connections import Connections
from .local_streams import LocalStreams
from .sockets.connection import Connection
from .verdicts import Verdict


class ReadState:
    """Tells each connection what the others of its user have changed, and a count that is true.

    Args:
        push: writes to a connection, unless its socket is blocked.
        look_at: asks for a look at a user, who is counted in it.
        look_later: the same, after a while.
    """

    def __init__(
        self,
        connections: Connections,
        streams: LocalStreams,
        push: Callable[[Connection, messages.Push], bool],
        look_at: Callable[[Any], None],
        look_later: Callable[[Any], None],
    ) -> None:
        self._connections = connections
        self._streams = streams.by_name
        self._push = push
        self._look_at = look_at
        self._look_later = look_later

    def tell(
        self,
        name: str,
        data: bytes,
        origin: str,
        unread: int | None = None,
        revision: int | None = None,
        recounted: bool | None = None,
    ) -> None:
        """Push a change of read state to the user's connections, except the one that made it.

        Args:
            name: the user's own stream.
            data: the message, as JSON.
            origin: the client that has made the change, "" for none.
            unread: the count that ``data`` tells, None if it tells none.
            revision: of the stream, which this change alone has made; None if that is not known.
            recounted: other streams are in the count than before.
        """
        reply = messages.Reply(push=messages.Push(message=messages.Message(msgspec.Raw(data))))
        message = Prepared(encode_reply(reply))
        stream = self._streams.get(name)
        is_next = stream is not None and revision == stream.revision + 1
        for user_id in self._connections.users_of(name):
            for connection in list(self._connections.by_user.get(user_id, ())):
                if not connection.is_ready:
                    continue
                if recounted:
                    connection.counted = None
                if connection.client == origin:
                    if recounted:  # a look that ends before the reply need not tell it
                        connection.unread = unread
                    continue
                if connection.socket.offer(message) and (is_next or connection.unread == unread):
                    connection.unread = unread
                else:  # it has missed this one, or one that has counted later
                    connection.unread = None
                    self._look_later(user_id)
        if stream is not None and revision is not None and is_next:
            # All that this revision stands for has been told: nobody has to look.
            stream.revision = revision

    def recount(self, connection: Connection, verdict: Verdict, before: int | None) -> None:
        """See that the count is told anew where other streams are in it than before.

        What ``TOPIC_PERMISSION`` says changes without a word.

        Args:
            before: what :attr:`Connection.counted` was when the look began.
        """
        if verdict.undecided or connection.counted != before:
            return  # not known yet, or told meanwhile
        if connection.counted != verdict.counted:
            if connection.counted is not None:
                connection.unread = None
            if verdict.unread is None:  # this look has not counted
                self._look_at(connection.user_id)
        connection.counted = verdict.counted

    def synchronize(self, connection: Connection, unread: int | None, before: int | None) -> None:
        """Tell the unread count: a hint of a read elsewhere may have been lost.

        Args:
            before: what :attr:`Connection.unread` was when the look began.
        """
        if unread is None or connection.unread == unread:
            return
        if connection.unread not in (before, None):
            # It was told while this was counted, perhaps something newer.
            self._look_later(connection.user_id)
            return
        data = msgspec.json.encode({"type": "sync", "ids": [], "unread": unread})
        if self._push(connection, messages.Push(message=messages.Message(msgspec.Raw(data)))):
            connection.unread = unread
