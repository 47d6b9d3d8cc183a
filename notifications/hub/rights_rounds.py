"""The periodic check of all connected users, spread over the interval (P6)."""

from ..conf import app_settings
from .connections import Connections
from .rights import Rights

#: Parts of the users of this process that are checked one after the other.
PARTS = 10


class RightsRounds:
    """Checks every connected user once in each ``RIGHTS_INTERVAL``, a part of them at a time.

    A user is always in the same part, so no user waits for longer than the interval, however many
    connect and leave meanwhile. Checking all together would keep a processor busy for a second
    where there are some thousand users.

    Args:
        connections: the connections of this process.
        rights: checks the users.
    """

    def __init__(self, connections: Connections, rights: Rights) -> None:
        self._connections = connections
        self._rights = rights
        #: The part whose turn it is; None for all users.
        self._part: int | None = 0

    def interval(self) -> float:
        """Seconds from one part to the next."""
        return app_settings.RIGHTS_INTERVAL / PARTS

    async def check_part(self) -> None:
        """Check the users of the next part.

        After a failure all users are checked, because the turn of some may have passed meanwhile.
        """
        part, self._part = self._part, None
        if part is None:
            await self._rights.check_all()
        else:
            users = [pk for pk in self._connections.by_user if hash(pk) % PARTS == part]
            await self._rights.check_changed(users)
        self._part = ((part or 0) + 1) % PARTS
