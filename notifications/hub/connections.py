"""The connections of this process: admission, limits per user and address, and removal."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Any

from ..conf import app_settings
from ..metrics import CONNECTIONS
from ..protocol import codes
from ..streams.names import user_stream
from .acknowledgements import Acknowledgements, Mark
from .presence import Presence
from .sockets.addresses import Addresses
from .sockets.connection import Connection
from .sockets.deadlines import TimerWheel


class Connections:
    """The registry of the connections of this process.

    Args:
        presence: records connections in the database.
        acknowledgements: records acknowledged positions in the database.
    """

    def __init__(self, presence: Presence, acknowledgements: Acknowledgements) -> None:
        self.all: set[Connection] = set()
        self.by_user: dict[Any, set[Connection]] = defaultdict(set)
        #: Primary keys of connected users, by the name of their private stream.
        self.users: dict[str, Any] = {}
        self.addresses = Addresses()
        self.deadlines = TimerWheel()
        #: The process is shutting down and admits no new connections.
        self.is_draining = False
        self._presence = presence
        self._acknowledgements = acknowledgements

    def users_of(self, name: str) -> list[Any]:
        """List with the user whose private stream this is; empty if that user is not connected."""
        return [self.users[name]] if name in self.users else []

    def watch(self, connection: Connection) -> None:
        """Track the deadlines of an accepted socket, or close it if its address has too many."""
        if not self.addresses.add(connection):
            connection.close(codes.CONNECTION_LIMIT)
            return
        self.deadlines.add(connection, connection.session.deadline)

    def admit(self, connection: Connection) -> None:
        """Register an authenticated connection.

        Raises:
            Disconnected: its user has too many connections here, or the process is shutting down.
        """
        if self.is_draining:
            raise codes.Disconnected(codes.SHUTDOWN)
        if len(self.by_user.get(connection.user_id, ())) >= app_settings.MAX_CONNECTIONS_PER_USER:
            raise codes.Disconnected(codes.CONNECTION_LIMIT)
        self.by_user[connection.user_id].add(connection)
        self.users[user_stream(connection.user_id)] = connection.user_id
        self.all.add(connection)
        CONNECTIONS.inc()

    def leave(self, connection: Connection, code: int) -> None:
        """Clean up after a closed socket, admitted or not. Safe to call twice.

        Args:
            code: the close code, for the ``disconnected`` signal.
        """
        connection.session.close(codes.NORMAL)
        self.deadlines.remove(connection)
        connection.end()
        if connection.catch_up_task is not None:
            connection.catch_up_task.cancel()
        for reader in list(connection.readers.values()):
            reader.detach()
        connection.socket.when_gone(partial(self.addresses.remove, connection))
        self.dismiss(connection, code)

    def dismiss(self, connection: Connection, code: int) -> None:
        """Undo :meth:`admit`; do nothing if the connection was not admitted."""
        if connection not in self.all:
            return
        self.all.discard(connection)
        mine = self.by_user[connection.user_id]
        mine.discard(connection)
        if not mine:
            del self.by_user[connection.user_id]
            del self.users[user_stream(connection.user_id)]
        if connection.private_stream is not None:
            connection.private_stream.unpin()
            connection.private_stream = None
        connection.is_ready = False
        self._presence.remove(connection, code)
        CONNECTIONS.dec()

    def arrived(self, connection: Connection, positions: dict[str, int]) -> None:
        """Record that the client has received everything up to these offsets, by channel."""
        if connection.socket.has_failed:
            connection.close(codes.SERVER_ERROR)
            return
        for name, offset in positions.items():
            reader = connection.readers.get(name)
            if reader is None or offset <= reader.acked:
                continue
            reader.acked = offset
            if reader.grant is not None:  # users have no marks in channels of namespaces
                continue
            stream = reader.stream
            mark = Mark(stream.name, stream.epoch, offset)
            self._acknowledgements.add(connection.user_id, stream.id, mark)
