"""The operator of the site, who watches its alarms and follows the manual."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

from django.core.management import call_command

from notifications.streams import incarnation

from .database import Database
from .people import People

#: Seconds between two checks of the monitoring.
CHECK_INTERVAL = 4.0

#: Seconds from an alarm to the command. Workers detect a loss by themselves sooner than this.
REACTION = 20.0


class Operator:
    """Checks whether the history is suspect, and renews the epochs if it is.

    Args:
        later: calls a function after a number of seconds.
        excuse: called when all epochs are new. The point where the histories diverge is unknown,
            so marks are moved back to the tops only. Clients learn of the loss and fetch the inbox.
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
        #: Number of alarms that have been seen and not been acted upon yet. The epochs are renewed
        #: even if another renewal has ended the alarm meanwhile.
        self.alarms = 0
        # All physical databases of a run share one database in memory, so number them.
        incarnation.fingerprint = lambda: f"file={database.incarnation}"
        later(CHECK_INTERVAL, self._check)

    def renew(self) -> None:
        """Renew the epochs after a restore that the operator knows of."""
        self._people.ask(self._renewed, self._renew)

    def _check(self) -> None:
        self._people.ask(self._checked, lambda: incarnation.check() is not None)

    def _checked(self, is_suspect: bool | None) -> None:
        if is_suspect:
            self.alarms += 1
            self._later(REACTION, self._react)
        else:
            self._later(CHECK_INTERVAL, self._check)

    def _react(self) -> None:
        self._people.ask(self._reacted, self._renew)

    def _reacted(self, is_done: bool | None) -> None:
        self.alarms -= 1
        self._renewed(is_done)

    def _renewed(self, is_done: bool | None) -> None:
        self._later(CHECK_INTERVAL if is_done else 1.0, self._check)

    def _renew(self) -> bool:
        call_command("renew_epochs", stdout=StringIO())
        self._excuse()
        return True
