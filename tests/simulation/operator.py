"""The person who runs the site: reads what it warns of, and does what the manual says."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

from django.core.management import call_command

from notifications.streams import incarnation

from .database import Database
from .people import People

#: Seconds between two looks at the monitoring.
LOOKS = 4.0

#: From an alarm to the command. What workers find out by themselves takes less.
REACTION = 20.0


class Operator:
    """Looks at whether the history is suspect, and renews the epochs if it is.

    Args:
        later: calls something after so many seconds.
        excuse: told when all epochs are new. Nobody knows where the histories part, so marks are
            moved back to the tops only; clients are told, and fetch the inbox.
    """

    def __init__(
        self,
        people: People,
        database: Database,
        later: Callable[..., None],
        excuse: Callable[[], None],
    ) -> None:
        self._people = people
        self._later = later
        self._excuse = excuse
        #: Alarms that he has seen and not yet acted upon. Another renewal may have ended an alarm
        #: meanwhile; he renews the epochs all the same.
        self.alarms = 0
        # What tells one physical database from another; here all of them are one in memory.
        incarnation.fingerprint = lambda: f"file={database.incarnation}"
        later(LOOKS, self._look)

    def renew(self) -> None:
        """After a restore that is known of."""
        self._people.ask(self._renewed, self._renew)

    def _look(self) -> None:
        self._people.ask(self._looked, lambda: incarnation.known() is not None)

    def _looked(self, is_suspect: bool | None) -> None:
        if is_suspect:
            self.alarms += 1
            self._later(REACTION, self._react)
        else:
            self._later(LOOKS, self._look)

    def _react(self) -> None:
        self._people.ask(self._reacted, self._renew)

    def _reacted(self, is_done: bool | None) -> None:
        self.alarms -= 1
        self._renewed(is_done)

    def _renewed(self, is_done: bool | None) -> None:
        self._later(LOOKS if is_done else 1.0, self._look)

    def _renew(self) -> bool:
        call_command("renew_epochs", stdout=StringIO())
        self._excuse()
        return True
