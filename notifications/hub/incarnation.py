"""Checks in each process that the epochs were made in the physical database it uses."""

import logging

from ..database.lanes import CHECK
from ..metrics import HISTORY_SUSPECT
from ..streams import incarnation

logger = logging.getLogger(__name__)

#: Seconds between two checks.
INTERVAL = 10.0


class IncarnationWatch:
    """Logs once when the epochs may not belong to this database, and once when they do again."""

    def __init__(self) -> None:
        self._is_reported = False
        self._has_checked = False

    def interval(self) -> float:
        """Seconds until the next check; 0 for the first one."""
        return INTERVAL if self._has_checked else 0.0

    async def check(self) -> None:
        """Compare the database with the recorded incarnation; set the metric and log changes."""
        suspicion = await CHECK.run(incarnation.check_and_store)
        self._has_checked = True
        HISTORY_SUSPECT.set(0 if suspicion is None else 1)
        if suspicion is not None and not self._is_reported:
            logger.error(
                "Clients may silently miss notifications: %s. %s",
                suspicion,
                incarnation.COMMAND,
            )
        elif suspicion is None and self._is_reported:
            logger.info("The epochs belong to this database again.")
        self._is_reported = suspicion is not None
