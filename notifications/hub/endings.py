"""Ends connections, or limits their time, because a user logged out or someone has asked for it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator

from ..protocol import codes, messages
from .connections import Connections
from .server_subscriptions import ServerSubscriptions
from .sockets.connection import Connection


class Endings:
    """What administrators and backends do to the connections of a user in this process.

    Args:
        connections: the connections of this process.
        subscriptions: sends pushes to them.
    """

    def __init__(self, connections: Connections, subscriptions: ServerSubscriptions) -> None:
        self._connections = connections
        self._subscriptions = subscriptions

    def end_session(self, digest: str, connections: Iterable[Connection] | None = None) -> None:
        """Close the connections of a session, with a code that lets clients reconnect.

        Args:
            digest: digest of the session key.
            connections: the connections to search; None for all of this process.
        """
        among = self._connections.all if connections is None else connections
        for connection in list(among):
            if connection.session_digest == digest:
                connection.close(codes.FORCE_RECONNECT)

    def close(self, name: str, why: codes.Disconnect, only: str, spared: Collection[str]) -> None:
        """Close connections of the user of this private stream, whether or not they have rows yet.

        Args:
            name: name of the private stream. Without a connected user, nothing happens.
            why: the close code and reason.
            only: id of the client to close; "" for all clients.
            spared: ids of clients that stay connected.
        """
        for connection in self._of_user(name, only):
            if connection.client not in spared:
                connection.close(why)

    def expire(self, name: str, expire_at: int, only: str) -> None:
        """Limit the time of connections of the user of this private stream.

        Args:
            name: name of the private stream. Without a connected user, nothing happens.
            expire_at: Unix time in seconds.
            only: id of the client; "" for all clients.
        """
        for connection in self._of_user(name, only):
            if connection.is_ready:
                self.limit(connection, expire_at)

    def limit(self, connection: Connection, expire_at: int) -> None:
        """Let a connection expire then, instead of when its token says, and tell the client.

        The time of a token that the client sends later counts again. Nothing happens if this was
        the last time that was asked for.

        Args:
            expire_at: Unix time in seconds. If it has passed, the connection is closed.
        """
        if connection.expire_at == expire_at:
            return
        connection.expire_at = expire_at
        now = time.time()
        if expire_at <= now:
            connection.close(codes.EXPIRED)
            return
        connection.session.renew(time.monotonic() + expire_at - now)
        self._connections.watch(connection)
        refresh = messages.Refresh(expires=True, ttl=messages.time_to_live(expire_at, now))
        self._subscriptions.push_surely(connection, messages.Push(refresh=refresh))

    def _of_user(self, name: str, only: str) -> Iterator[Connection]:
        for user_id in self._connections.users_of(name):
            for connection in list(self._connections.by_user.get(user_id, ())):
                if only in ("", connection.client):
                    yield connection
