"""Writes rows in one batch, or one by one if the batch fails, so that a bad row fails alone."""

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from django.db import InterfaceError, OperationalError, ProgrammingError, connections

from ..database.locks import limit_waiting

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

#: Locked rows after which the rest of a round is left to the next one.
PATIENCE = 3

#: Seconds to wait for a row that another transaction has locked.
BRIEFLY = 0.5

#: Rounds after which a row that cannot be written is given up.
TRIES = 10


class Outcome(NamedTuple, Generic[Item]):
    """The items that were not written: those that failed, with their errors, and those untried."""

    failed: list[tuple[Item, Exception]]
    untried: list[Item]


def write_apart(
    using: str,
    items: Sequence[Item],
    together: Callable[[Sequence[Item]], object],
    alone: Callable[[Item], object],
) -> Outcome[Item]:
    """Write all items together; if that fails, write each of them alone.

    Args:
        using: alias of the database.
        items: the items to write.
        together: writes all of them in one transaction.
        alone: writes one of them.

    Returns:
        The items that were not written.

    Raises:
        Exception: the database is unavailable; any of the items may have been written.
    """
    outcome: Outcome[Item] = Outcome([], [])
    try:
        together(items)
    except Exception as error:
        if _is_away(using, error):
            raise
    else:
        return outcome
    patience = PATIENCE
    for place, item in enumerate(items):
        try:
            alone(item)
        except Exception as error:
            if _is_away(using, error):
                raise
            outcome.failed.append((item, error))
            patience -= isinstance(error, OperationalError)
        if not patience:  # each of these has waited for a lock
            outcome.untried.extend(items[place + 1 :])
            break
    return outcome


def wait_briefly(using: str) -> None:
    """Limit how long the current transaction waits for locks; the next flush tries again."""
    limit_waiting(using, BRIEFLY)


def _is_away(using: str, error: Exception) -> bool:
    """Would every other statement fail with this error too?"""
    if isinstance(error, ProgrammingError):
        # SQLSTATE class 42 means tables of another version; a trigger's error is about one row.
        return str(getattr(error.__cause__, "sqlstate", "")).startswith("42")
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    # SQLite has one writer, so a lock blocks every write.
    return connections[using].vendor == "sqlite" or not connections[using].is_usable()


class Tries:
    """Counts how often each row has failed, so that none is retried for ever.

    Args:
        name: a name for the rows in the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._counts: dict[Hashable, int] = {}

    def again(self, failed: Iterable[tuple[Hashable, Exception]]) -> set[Hashable]:
        """Return the keys of the failed rows to retry; log how many are given up.

        Args:
            failed: all rows that failed in this round, by key, with their errors. The count of
                any other row starts again at 0.
        """
        counts = {key: self._counts.get(key, 0) + 1 for key, _ in failed}
        given_up = [key for key, count in counts.items() if count >= TRIES]
        if given_up:
            logger.warning(
                "%s: %d could not be written and are left out.", self._name, len(given_up)
            )
        self._counts = {key: count for key, count in counts.items() if count < TRIES}
        return set(self._counts)
