"""Which topics there are, and who may read them.

``TOPIC_PERMISSION`` decides if it is set. Otherwise every active user may read the topics that
``TOPICS`` lists, and nobody may read any other.
"""

import logging
import traceback
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.db import DatabaseError, connections

from ..conf import app_settings
from ..database.lanes import PERMISSIONS, this_lane
from ..host.questions import Asker, Undecided
from ..metrics import PERMISSION_ERRORS
from ..models import database_alias

logger = logging.getLogger(__name__)

#: Seconds that a client's command waits for the answer of ``TOPIC_PERMISSION``.
ANSWER_TIMEOUT = 5.0

#: Seconds after which a ``TOPIC_PERMISSION`` that has not answered means no.
DENY_AFTER = 30.0

_asker: Asker[Any, dict[str, bool]] = Asker(PERMISSIONS)

#: Names of the error types of ``TOPIC_PERMISSION`` that this process has logged.
logged_errors: set[str] = set()


class Answers(NamedTuple):
    """Which topics each user may read, and the users whose answer is still pending."""

    #: By primary key of the user, then by slug.
    readable: dict[Any, dict[str, bool]]
    #: Seconds for which ``TOPIC_PERMISSION`` has been running, by primary key of the user.
    undecided: dict[Any, float]


def may_read_topic(user: Any, slug: str) -> bool:
    """Return whether this active user may read the topic; see :func:`may_read_topics`.

    Raises:
        Undecided: the answer takes longer than ``ANSWER_TIMEOUT``.
        DatabaseError: the permission has failed because the app's database is down.
    """
    answers = may_read_topics([(user, [slug])], ANSWER_TIMEOUT)
    if user.pk in answers.undecided:
        raise Undecided(answers.undecided[user.pk])
    return answers.readable[user.pk][slug]


def may_read_topics(wanted: Sequence[tuple[Any, Collection[str]]], patience: float) -> Answers:
    """Decide which of these topics these active users may read.

    A ``TOPIC_PERMISSION`` that raises or hangs means no, for this user and this topic. For sockets
    it is called in other threads, because a slow one must not occupy the threads that others need.

    Args:
        wanted: pairs of a user and slugs of topics.
        patience: seconds that a thread of a lane waits for all answers together.

    Raises:
        DatabaseError: the permission has failed because the app's database is down.
    """
    if not _is_answered_in_other_threads():
        return Answers({user.pk: _answer(user, slugs) for user, slugs in wanted}, {})
    answers: Answers = Answers({}, {})
    left = {user.pk: (user, slugs) for user, slugs in wanted}
    for _ in range(2):  # a late answer may be about other topics of the same user
        questions = {pk: partial(_answer, user, slugs) for pk, (user, slugs) in left.items()}
        found, undecided = _asker.ask_all(questions, patience)
        for pk, future in found.items():
            if future.result().keys() >= set(left[pk][1]):
                answers.readable[pk] = future.result()
        answers.undecided.update(undecided)
        left = {
            pk: entry
            for pk, entry in left.items()
            if pk not in answers.readable and pk not in answers.undecided
        }
        if not left:
            break
    answers.undecided.update(dict.fromkeys(left, 0.0))
    return _deny_hanging(answers, {user.pk: slugs for user, slugs in wanted})


def _deny_hanging(answers: Answers, wanted: Mapping[Any, Collection[str]]) -> Answers:
    """Turn questions that have hung for ``DENY_AFTER`` seconds into a no."""
    for pk, age in list(answers.undecided.items()):
        if age >= DENY_AFTER:
            del answers.undecided[pk]
            answers.readable[pk] = dict.fromkeys(wanted[pk], False)
            _report(Undecided(age))
    return answers


def _is_answered_in_other_threads() -> bool:
    if not app_settings.TOPIC_PERMISSION or this_lane() in ("", PERMISSIONS.name):
        return False
    # Another thread would not see what this transaction has not committed.
    return not connections[database_alias()].in_atomic_block


def _answer(user: Any, slugs: Collection[str]) -> dict[str, bool]:
    return {slug: _may_read(user, slug) for slug in slugs}


def _may_read(user: Any, slug: str) -> bool:
    try:
        permission = app_settings.topic_permission()
        if permission is None:
            return slug in app_settings.declared_topics
        return bool(permission(user, slug))
    except Exception as error:  # the host's code may raise anything
        # An error because the database is down is not a no: the caller retries.
        if isinstance(error, DatabaseError) and not _database_answers():
            raise
        _report(error)
        return False


def has_readers(slug: str) -> bool:
    """Return whether anybody can possibly read the topic."""
    return bool(app_settings.TOPIC_PERMISSION) or slug in app_settings.declared_topics


def _database_answers() -> bool:
    return connections[database_alias()].is_usable()


def _report(error: Exception) -> None:
    """Count an error of ``TOPIC_PERMISSION``, and log each error type once.

    The log has the place where it was raised, but not its message, which may contain anything.
    """
    PERMISSION_ERRORS.inc()
    name = type(error).__name__
    if name in logged_errors:
        return
    logged_errors.add(name)
    if isinstance(error, Undecided):
        logger.warning("TOPIC_PERMISSION took longer than %.0f s; access is denied.", DENY_AFTER)
        return
    frames = traceback.extract_tb(error.__traceback__)
    # The first frame is in this module, the second one in the host's code.
    frame = frames[min(1, len(frames) - 1)]
    place = f"{frame.filename}:{frame.lineno}"
    logger.warning("TOPIC_PERMISSION raised %s at %s; access is denied.", name, place)
