"""Keeps connected clients informed of changes of read state and of the unread count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ..protocol import messages
from ..protocol.codec import Encodings
from .connections import Connections
from .local_streams import LocalStreams
from .sockets.connection import Connection
from .verdicts import Verdict


class ReadState:
    """Pushes changes of read state to a user's other connections, and corrects unread counts.

    Args:
        connections: the connections of this process.
        streams: the streams of this process.
        push: writes a push to a connection; returns False if its socket is blocked.
        check_user: schedules a check of a user, with a new count.
        check_later: the same, after ``check_interval`` seconds.
    """

    def __init__(
        self,
        connections: Connections,
        streams: LocalStreams,
        push: Callable[[Connection, messages.Push], bool],
        check_user: Callable[[Any], None],
        check_later: Callable[[Any], None],
    ) -> None:
        self._connections = connections
        self._streams = streams.by_name
        self._push = push
        self._check_user = check_user
        self._check_later = check_later

    def push_change(
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
            name: name of the user's private stream.
            data: the message, as JSON.
            origin: client id of the connection that made the change, "" for none.
            unread: the unread count in ``data``; None if it has none.
            revision: the stream's revision after this change, which raised it by 1; None if that
                is not known.
            recounted: whether the count covers other streams than before.
        """
        reply = messages.Reply(push=messages.Push(message=messages.Message(msgspec.Raw(data))))
        encodings = Encodings(lambda codec: codec.encode(reply))
        stream = self._streams.get(name)
        is_next = stream is not None and revision == stream.revision + 1
        for user_id in self._connections.users_of(name):
            for connection in list(self._connections.by_user.get(user_id, ())):
                if not connection.is_ready:
                    continue
                if recounted:
                    connection.counted = None
                if connection.client == origin:
                    if recounted:  # the reply carries the count: a check need not push it
                        connection.unread = unread
                    continue
                if connection.socket.offer(encodings[connection.codec]) and (
                    is_next or connection.unread == unread
                ):
                    connection.unread = unread
                else:  # it has missed this message, or one with a newer count
                    connection.unread = None
                    self._check_later(user_id)
        if stream is not None and revision is not None and is_next:
            # This message was all that the revision stands for: no check is needed.
            stream.raise_revision(revision)

    def recount(self, connection: Connection, verdict: Verdict, before: int | None) -> None:
        """Have the unread count sent again if it covers other streams than before.

        The set of streams may change silently, because ``TOPIC_PERMISSION`` announces nothing.

        Args:
            connection: the connection to update.
            verdict: what the check has found.
            before: the value of :attr:`Connection.counted` when the check began.
        """
        if verdict.undecided or connection.counted != before:
            return  # not known yet, or changed during the check
        if connection.counted != verdict.counted:
            if connection.counted is not None:
                connection.unread = None
            if verdict.unread is None:  # this check did not count
                self._check_user(connection.user_id)
        connection.counted = verdict.counted

    def synchronize(self, connection: Connection, unread: int | None, before: int | None) -> None:
        """Push the unread count if it differs from the one the client knows.

        They differ if the hint about a change of read state was lost.

        Args:
            connection: the connection to update.
            unread: the count that the check has found; None if it did not count.
            before: the value of :attr:`Connection.unread` when the check began.
        """
        if unread is None or connection.unread == unread:
            return
        if connection.unread not in (before, None):
            # Another count was sent during the check, and may be newer.
            self._check_later(connection.user_id)
            return
        data = msgspec.json.encode({"type": "sync", "ids": [], "unread": unread})
        if self._push(connection, messages.Push(message=messages.Message(msgspec.Raw(data)))):
            connection.unread = unread
