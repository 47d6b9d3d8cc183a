"""Which topics there are, and who may read them.

``TOPIC_PERMISSION`` decides where it is set; else every active user reads the topics that
``TOPICS`` lists, and nobody any other.
"""

import logging
import traceback
from typing import Any

from django.db import DatabaseError, connections, router

from .conf import app_settings
from .metrics import PERMISSION_ERRORS
from .models import Stream

logger = logging.getLogger(__name__)

#: Types of the errors of ``TOPIC_PERMISSION`` that this process has logged.
_logged: set[str] = set()


def may_read_topic(user: Any, slug: str) -> bool:
    """May this active user read the topic?

    A ``TOPIC_PERMISSION`` that raises means no, for this user and this topic.

    Raises:
        DatabaseError: the permission could not be asked, because the app's database is away.
    """
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
    frames = traceback.extract_tb(error.__traceback__)
    # The first frame is ours, the second one the host's.
    frame = frames[min(1, len(frames) - 1)]
    place = f"{frame.filename}:{frame.lineno}"
    logger.warning("TOPIC_PERMISSION raises (%s at %s), which means no.", name, place)
