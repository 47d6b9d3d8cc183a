"""Users whose verdicts hold, because what these rest on has not changed (P6).

A verdict takes many queries and much Python. What it rests on is a few columns, and one look at
them shows for nearly all users that nothing has changed since their last verdict.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from ..database.lanes import RIGHTS
from .connections import Connections
from .grounds import Grounds, read_grounds
from .snapshots import Snapshot, asks_host
from .sockets.connection import Connection
from .verdicts import Findings

#: Rounds in a row that must have found a user the same. The verdict of the first one may have been
#: read from a replica that lagged behind the one from which the grounds were read.
ROUNDS = 2

#: A user's connections when the grounds of a verdict are read.
Before = Mapping[Connection, Snapshot]


class Settled:
    """The users whose verdicts were carried out, with a hash of what these rest on.

    Args:
        connections: the connections of this process.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        #: By primary key: a hash, and the number of rounds in which it was the same.
        self._known: dict[Any, tuple[int, int]] = {}

    def note(self, checked: Mapping[Any, Before], findings: Findings, *, in_round: bool) -> None:
        """Record that these verdicts were carried out.

        What a verdict has changed in the connections of its user makes one more check due. So it
        does no harm if the grounds were other ones for a moment, while the verdict was read.

        Args:
            checked: the connections of each user as they were before the findings were read.
            findings: the verdicts, and the grounds that were read before them.
            in_round: this was the periodic check, and not one because of a change.
        """
        unsettled = {user_id for user_id, _ in findings.missing}
        for user_id, before in checked.items():
            before_that, rounds = self._known.pop(user_id, (None, 0))
            verdict = findings.verdicts.get(user_id)
            if verdict is None or verdict.undecided or user_id in unsettled:
                continue
            state = _state(user_id, findings.grounds, before)
            if state is not None:
                is_same = in_round and state == before_that
                self._known[user_id] = (state, rounds + 1 if is_same else int(in_round))

    async def find_shaken(self, user_ids: Sequence[Any]) -> list[Any]:
        """Find those of these users whose verdict may be another one by now.

        Raises:
            OperationalError: the database is unavailable.
        """
        by_user = self._connections.by_user
        self._known = {pk: state for pk, state in self._known.items() if pk in by_user}
        settled = [pk for pk in user_ids if self._rounds(pk) >= ROUNDS]
        keys = [
            connection.session_key
            for pk in settled
            for connection in by_user[pk]
            if connection.session_digest
        ]
        grounds = await RIGHTS.run(read_grounds, settled, keys)
        return [pk for pk in user_ids if not self._holds(pk, grounds)]

    def _holds(self, user_id: Any, grounds: Grounds) -> bool:
        if self._rounds(user_id) < ROUNDS:
            return False
        now = {
            connection: Snapshot.of(connection)
            for connection in self._connections.by_user.get(user_id, ())
        }
        return self._known[user_id][0] == _state(user_id, grounds, now)

    def _rounds(self, user_id: Any) -> int:
        return self._known.get(user_id, (0, 0))[1]


def _state(user_id: Any, grounds: Grounds, connections: Before) -> int | None:
    """A hash of all that the verdict on a user, and carrying it out, depend on.

    Returns:
        None if it depends on more than that.
    """
    stored = grounds.users.get(user_id)
    if stored is None:
        return None
    states: list[Hashable] = []
    for connection, snapshot in connections.items():
        has_session = bool(connection.session_digest)
        session = grounds.sessions.get(connection.session_key) if has_session else ""
        if session is None or not snapshot.is_ready or snapshot.counted is None:
            return None
        if asks_host(snapshot.readers):
            return None
        names = tuple(reader.stream.name for reader in snapshot.readers)
        states.append((connection.client, snapshot.counted, session, names))
    return hash((stored, frozenset(states)))
