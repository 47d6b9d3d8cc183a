"""Rows written together; if that fails, each by itself: one that is to blame harms no other."""

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from django.db import InterfaceError, OperationalError, ProgrammingError, connections

from ..database.locks import limit_waiting

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

#: Rows that may be locked, in one round, before the others are left to the next.
PATIENCE = 3

#: How long a row that somebody else has locked is waited for; seconds.
BRIEFLY = 0.5

#: Rounds after which what still cannot be written is given up.
TRIES = 10


class Outcome(NamedTuple, Generic[Item]):
    """What has not been written: each with its error, and what was not tried in this round."""

    failed: list[tuple[Item, Exception]]
    untried: list[Item]


def write_apart(
    using: str,
    items: Sequence[Item],
    together: Callable[[Sequence[Item]], object],
    alone: Callable[[Item], object],
) -> Outcome[Item]:
    """Write items.

    Args:
        using: alias of the database.
        items: what to write.
        together: writes all of them in one transaction.
        alone: writes one.

    Raises:
        Exception: the database is away; nobody knows what has been written.
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
        if not patience:  # each of them has waited for a lock
            outcome.untried.extend(items[place + 1 :])
            break
    return outcome


def wait_briefly(using: str) -> None:
    """Let the present transaction wait for no lock for long: there is a next time."""
    limit_waiting(using, BRIEFLY)


def _is_away(using: str, error: Exception) -> bool:
    """Does this concern whatever else is asked of the database?"""
    if isinstance(error, ProgrammingError):
        # Tables of another version; and what is raised by a trigger, which is about a row.
        return str(getattr(error.__cause__, "sqlstate", "")).startswith("42")
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    # SQLite has one writer, so a lock is in the way of all.
    return connections[using].vendor == "sqlite" or not connections[using].is_usable()


class Tries:
    """How often each row has failed, so that none comes back for ever.

    Args:
        name: what the rows are, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._counts: dict[Hashable, int] = {}

    def again(self, failed: Iterable[tuple[Hashable, Exception]]) -> set[Hashable]:
        """Those of the failed rows that are to be tried again; the others have had their chance."""
        counts = {key: self._counts.get(key, 0) + 1 for key, _ in failed}
        given_up = [key for key, count in counts.items() if count >= TRIES]
        if given_up:
            logger.warning(
                "%s: %d could not be written and are left out.", self._name, len(given_up)
            )
        self._counts = {key: count for key, count in counts.items() if count < TRIES}
        return set(self._counts)
