"""The inbox of one user: list its notifications, and change their read state."""

from .changes import (
    MAX_IDS,
    archive,
    archive_all,
    mark_read,
    mark_unread,
    mute,
    read_all,
)
from .folders import (
    FOLDERS,
    MAX_PAGE,
    Entries,
    Folder,
    count_entries,
    cursor,
    list_entries,
    unread_count,
)
from .following import TooManyTopics, Topic, join, leave, topics
from .read_state import Entry

__all__ = [
    "FOLDERS",
    "MAX_IDS",
    "MAX_PAGE",
    "Entries",
    "Entry",
    "Folder",
    "TooManyTopics",
    "Topic",
    "archive",
    "archive_all",
    "count_entries",
    "cursor",
    "join",
    "leave",
    "list_entries",
    "mark_read",
    "mark_unread",
    "mute",
    "read_all",
    "topics",
    "unread_count",
]
