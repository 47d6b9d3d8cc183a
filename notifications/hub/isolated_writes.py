"""Writes rows in one batch, or one by one if the batch fails, so that a bad row fails alone."""

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from django.db import InterfaceError, OperationalError, ProgrammingError, connections

from ..database.locks import limit_waiting

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

#: Locked rows after which the rest of a round is left to the next one.
MAX_LOCKED_ROWS = 3

#: Seconds to wait for a row that another transaction has locked.
LOCK_WAIT = 0.5

#: Failed attempts after which a row is given up.
MAX_ATTEMPTS = 10


class Outcome(NamedTuple, Generic[Item]):
    """The items that were not written: those that failed, with their errors, and those untried."""

    failed: list[tuple[Item, Exception]]
    untried: list[Item]


def write_isolated(
    using: str,
    items: Sequence[Item],
    write_all: Callable[[Sequence[Item]], object],
    write_one: Callable[[Item], object],
) -> Outcome[Item]:
    """Write all items together; if that fails, write each of them alone.

    Args:
        using: alias of the database.
        items: the items to write.
        write_all: writes all of them in one transaction.
        write_one: writes one of them.

    Returns:
        The items that were not written.

    Raises:
        Exception: the database is unavailable; any of the items may have been written.
    """
    outcome: Outcome[Item] = Outcome([], [])
    try:
        write_all(items)
    except Exception as error:
        if _is_unavailable(using, error):
            raise
    else:
        return outcome
    locked_rows_left = MAX_LOCKED_ROWS
    for place, item in enumerate(items):
        try:
            write_one(item)
        except Exception as error:
            if _is_unavailable(using, error):
                raise
            outcome.failed.append((item, error))
            locked_rows_left -= isinstance(error, OperationalError)
        if not locked_rows_left:  # each of these has waited for a lock
            outcome.untried.extend(items[place + 1 :])
            break
    return outcome


def limit_lock_wait(using: str) -> None:
    """Limit how long the current transaction waits for locks; the next flush tries again."""
    limit_waiting(using, LOCK_WAIT)


def _is_unavailable(using: str, error: Exception) -> bool:
    """Would every other statement fail with this error too?"""
    if isinstance(error, ProgrammingError):
        # SQLSTATE class 42 means tables of another version; a trigger's error is about one row.
        return str(getattr(error.__cause__, "sqlstate", "")).startswith("42")
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    # SQLite has one writer, so a lock blocks every write.
    return connections[using].vendor == "sqlite" or not connections[using].is_usable()


class RetryCounter:
    """Counts how often each row has failed, so that none is retried for ever.

    Args:
        name: a name for the rows in the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._counts: dict[Hashable, int] = {}

    def keys_to_retry(self, failed: Iterable[tuple[Hashable, Exception]]) -> set[Hashable]:
        """Return the keys of the failed rows to retry; log how many are given up.

        Args:
            failed: all rows that failed in this round, by key, with their errors. The count of
                any other row starts again at 0.
        """
        counts = {key: self._counts.get(key, 0) + 1 for key, _ in failed}
        given_up = [key for key, count in counts.items() if count >= MAX_ATTEMPTS]
        if given_up:
            logger.warning(
                "%s: gave up on %d row(s) after %d failed attempts.",
                self._name,
                len(given_up),
                MAX_ATTEMPTS,
            )
        self._counts = {key: count for key, count in counts.items() if count < MAX_ATTEMPTS}
        return set(self._counts)
