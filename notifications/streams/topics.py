"""Which topics there are, and who may read them.

``TOPIC_PERMISSION`` decides if it is set. Otherwise every active user may read the topics that
``TOPICS`` lists, and nobody may read any other.
"""

from collections.abc import Collection, Sequence
from typing import Any

from ..conf import app_settings
from ..host.permissions import ANSWER_TIMEOUT, Answers, Permissions
from ..host.questions import Undecided


def may_read_topic(user: Any, slug: str) -> bool:
    """Return whether this active user may read the topic; see :func:`may_read_topics`.

    Raises:
        Undecided: the answer takes longer than ``ANSWER_TIMEOUT``.
        DatabaseError: the permission has failed because the app's database is down.
    """
    answers = may_read_topics([(user, [slug])], ANSWER_TIMEOUT)
    if user.pk in answers.undecided:
        raise Undecided(answers.undecided[user.pk])
    return answers.allowed[user.pk][slug]


def may_read_topics(wanted: Sequence[tuple[Any, Collection[str]]], patience: float) -> Answers[str]:
    """Decide which of these topics these active users may read.

    A ``TOPIC_PERMISSION`` that raises or hangs means no, for this user and this topic.

    Args:
        wanted: pairs of a user and slugs of topics.
        patience: seconds that a thread of a lane waits for all answers together.

    Raises:
        DatabaseError: the permission has failed because the app's database is down.
    """
    if not app_settings.TOPIC_PERMISSION:
        return permissions.ask_here(wanted)
    return permissions.ask(wanted, patience)


def has_readers(slug: str) -> bool:
    """Return whether anybody can possibly read the topic."""
    return bool(app_settings.TOPIC_PERMISSION) or slug in app_settings.declared_topics


def _may_read(user: Any, slug: str) -> bool:
    permission = app_settings.topic_permission()
    if permission is None:
        return slug in app_settings.declared_topics
    return permission(user, slug)


permissions = Permissions("TOPIC_PERMISSION", _may_read)
