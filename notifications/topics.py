"""Which topics there are, and who may read them.

``TOPIC_PERMISSION`` decides where it is set; else every active user reads the topics that
``TOPICS`` lists, and nobody any other.
"""

import logging
import traceback
from collections.abc import Collection
from functools import partial
from typing import Any

from django.db import DatabaseError, connections, router

from .asking import Asker, Undecided
from .conf import app_settings
from .lanes import PERMISSIONS, this_lane
from .metrics import PERMISSION_ERRORS
from .models import Stream

logger = logging.getLogger(__name__)

#: How long a client's command waits for the answer of ``TOPIC_PERMISSION``; seconds.
PATIENCE = 5.0

#: One that takes longer than this means no; seconds.
HANGING = 30.0

_asker: Asker[dict[str, bool]] = Asker(PERMISSIONS)

#: Types of the errors of ``TOPIC_PERMISSION`` that this process has logged.
_logged: set[str] = set()


def may_read_topic(user: Any, slug: str) -> bool:
    """May this active user read the topic? See :func:`may_read_topics`."""
    return may_read_topics(user, [slug])[slug]


def may_read_topics(
    user: Any, slugs: Collection[str], patience: float = PATIENCE
) -> dict[str, bool]:
    """Which of these topics may this active user read?

    A ``TOPIC_PERMISSION`` that raises means no, for this user and this topic; so does one that
    hangs. For sockets it is asked in another thread, because one that takes long must not keep
    the threads that others need.

    Args:
        user: a saved user.
        slugs: of topics.
        patience: how long a thread of a lane waits; seconds.

    Raises:
        Undecided: the answer takes longer than that.
        DatabaseError: the permission could not be asked, because the app's database is away.
    """
    question = partial(_judge, user, slugs)
    if not slugs or not _is_asked_apart():
        return question()
    try:
        answers = _asker.ask(user.pk, question, patience)
        if not answers.keys() >= set(slugs):  # a late one, of another question
            answers = _asker.ask(user.pk, question, patience)
    except Undecided as undecided:
        if undecided.age < HANGING:
            raise
        _report(undecided)
        return dict.fromkeys(slugs, False)
    return answers


def _is_asked_apart() -> bool:
    if not app_settings.TOPIC_PERMISSION or this_lane() in ("", PERMISSIONS.name):
        return False
    # Another thread does not see what this one has not committed.
    return not connections[router.db_for_write(Stream)].in_atomic_block


def _judge(user: Any, slugs: Collection[str]) -> dict[str, bool]:
    return {slug: _may_read(user, slug) for slug in slugs}


def _may_read(user: Any, slug: str) -> bool:
    try:
        permission = app_settings.topic_permission()
        if permission is None:
            return slug in app_settings.declared_topics
        return bool(permission(user, slug))
    except Exception as error:  # whatever the host's code raises
        # Without its database nobody has said no: whoever asks tries again.
        if isinstance(error, DatabaseError) and not _database_answers():
            raise
        _report(error)
        return False


def has_readers(slug: str) -> bool:
    """Can there be anybody who may read the topic?"""
    return bool(app_settings.TOPIC_PERMISSION) or slug in app_settings.declared_topics


def _database_answers() -> bool:
    return connections[router.db_for_write(Stream)].is_usable()


def _report(error: Exception) -> None:
    """Count an error of ``TOPIC_PERMISSION``, and log each type of them once.

    Not its message, which may hold anything; where it was raised is what helps.
    """
    PERMISSION_ERRORS.inc()
    name = type(error).__name__
    if name in _logged:
        return
    _logged.add(name)
    if isinstance(error, Undecided):
        logger.warning("TOPIC_PERMISSION takes longer than %.0f s, which means no.", HANGING)
        return
    frames = traceback.extract_tb(error.__traceback__)
    # The first frame is ours, the second one the host's.
    frame = frames[min(1, len(frames) - 1)]
    place = f"{frame.filename}:{frame.lineno}"
    logger.warning("TOPIC_PERMISSION raises (%s at %s), which means no.", name, place)
