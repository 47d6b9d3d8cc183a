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
from .describing import describe_entry
from .folders import (
    FOLDERS,
    MAX_ID,
    MAX_PAGE,
    Counts,
    Entries,
    Folder,
    count_entries,
    count_folders,
    cursor,
    find_entry,
    list_entries,
    unread_count,
)
from .following import TooManyTopics, Topic, join, leave, topics
from .read_state import Entry

__all__ = [
    "FOLDERS",
    "MAX_ID",
    "MAX_IDS",
    "MAX_PAGE",
    "Counts",
    "Entries",
    "Entry",
    "Folder",
    "TooManyTopics",
    "Topic",
    "archive",
    "archive_all",
    "count_entries",
    "count_folders",
    "cursor",
    "describe_entry",
    "find_entry",
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
