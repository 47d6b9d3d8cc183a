"""Functions of the host that decide what users may do: slow ones are waited for only briefly.

A function that raises or hangs means no, for this user and this question. For sockets it is called
in other threads, because a slow one must not occupy the threads that others need.
"""

import logging
import traceback
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from django.db import DatabaseError, connections

from ..database.lanes import PERMISSIONS, this_lane
from ..metrics import PERMISSION_ERRORS
from ..models import database_alias
from .questions import Asker, Undecided

logger = logging.getLogger(__name__)

Q = TypeVar("Q", bound=Hashable)

#: Seconds that a client's command waits for an answer of the host.
ANSWER_TIMEOUT = 5.0

#: Seconds after which a function that has not answered means no.
DENY_AFTER = 30.0


class Answers(NamedTuple, Generic[Q]):
    """What each user may do, and the users whose answer is still pending."""

    #: By primary key of the user, then by question.
    allowed: dict[Any, dict[Q, bool]]
    #: Seconds for which the function has been running, by primary key of the user.
    undecided: dict[Any, float]


class Permissions(Generic[Q]):
    """Asks one kind of questions about users.

    Args:
        name: the setting that names the function, for the log.
        decide: ``decide(user, question)`` returns whether it is allowed; it may raise anything.
    """

    def __init__(self, name: str, decide: Callable[[Any, Q], bool]) -> None:
        self._name = name
        self._decide = decide
        self._asker: Asker[Any, dict[Q, bool]] = Asker(PERMISSIONS)
        #: Names of the types of errors that this process has logged.
        self.logged_errors: set[str] = set()

    def ask_here(self, wanted: Sequence[tuple[Any, Collection[Q]]]) -> Answers[Q]:
        """Decide in this thread; see :meth:`ask`."""
        return Answers({user.pk: self._answer(user, asked) for user, asked in wanted}, {})

    def ask(self, wanted: Sequence[tuple[Any, Collection[Q]]], patience: float) -> Answers[Q]:
        """Decide these questions about active users, in other threads if this one is a lane's.

        Args:
            wanted: pairs of a user and questions.
            patience: seconds that a thread of a lane waits for all answers together.

        Raises:
            DatabaseError: a function has failed because the app's database is down.
        """
        if not _is_answered_in_other_threads():
            return self.ask_here(wanted)
        answers: Answers[Q] = Answers({}, {})
        left = {user.pk: (user, asked) for user, asked in wanted}
        for _ in range(2):  # a late answer may be about other questions of the same user
            questions = {
                pk: partial(self._answer, user, asked) for pk, (user, asked) in left.items()
            }
            found, undecided = self._asker.ask_all(questions, patience)
            for pk, future in found.items():
                if future.result().keys() >= set(left[pk][1]):
                    answers.allowed[pk] = future.result()
            answers.undecided.update(undecided)
            left = {
                pk: entry
                for pk, entry in left.items()
                if pk not in answers.allowed and pk not in answers.undecided
            }
            if not left:
                break
        answers.undecided.update(dict.fromkeys(left, 0.0))
        return self._deny_hanging(answers, {user.pk: asked for user, asked in wanted})

    def _deny_hanging(self, answers: Answers[Q], wanted: Mapping[Any, Collection[Q]]) -> Answers[Q]:
        """Turn questions that have hung for ``DENY_AFTER`` seconds into a no."""
        for pk, age in list(answers.undecided.items()):
            if age >= DENY_AFTER:
                del answers.undecided[pk]
                answers.allowed[pk] = dict.fromkeys(wanted[pk], False)
                self._report(Undecided(age))
        return answers

    def _answer(self, user: Any, asked: Collection[Q]) -> dict[Q, bool]:
        return {question: self._may(user, question) for question in asked}

    def _may(self, user: Any, question: Q) -> bool:
        try:
            return bool(self._decide(user, question))
        except Exception as error:  # the host's code may raise anything
            # An error because the database is down is not a no: the caller retries.
            if isinstance(error, DatabaseError) and not _database_answers():
                raise
            self._report(error)
            return False

    def _report(self, error: Exception) -> None:
        """Count an error of the host's function, and log each error type once.

        The log has the place where it was raised, but not its message, which may contain anything.
        """
        PERMISSION_ERRORS.inc()
        name = type(error).__name__
        if name in self.logged_errors:
            return
        self.logged_errors.add(name)
        if isinstance(error, Undecided):
            logger.warning("%s took longer than %.0f s; access is denied.", self._name, DENY_AFTER)
            return
        frames = traceback.extract_tb(error.__traceback__)
        # The first frames are in this module and its caller, the next one in the host's code.
        frame = frames[min(2, len(frames) - 1)]
        place = f"{frame.filename}:{frame.lineno}"
        logger.warning("%s raised %s at %s; access is denied.", self._name, name, place)


def _is_answered_in_other_threads() -> bool:
    if this_lane() in ("", PERMISSIONS.name):
        return False
    # Another thread would not see what this transaction has not committed.
    return not connections[database_alias()].in_atomic_block


def _database_answers() -> bool:
    return connections[database_alias()].is_usable()
