"""What an import has done, in numbers."""

from dataclasses import dataclass, fields


@dataclass
class Report:
    """Numbers of notifications, unless it says otherwise."""

    recipients: int = 0
    unread: int = 0
    read: int = 0
    #: Marked as deleted by their users.
    deleted: int = 0
    #: Not among those that the options choose.
    not_chosen: int = 0
    #: Of users who are gone.
    orphaned: int = 0
    #: Sentences longer than a title, which are in full in the text.
    long: int = 0
    #: Descriptions that were cut to what a text holds.
    cut: int = 0
    #: Levels that were changed to "info".
    levels: int = 0
    #: Data that could not be kept: too large, or no JSON.
    data: int = 0
    #: Actors, targets and action objects that are gone, or could not be named.
    unnamed: int = 0
    #: Published longer ago than ``KEEP_DAYS``.
    old: int = 0

    @property
    def imported(self) -> int:
        return self.unread + self.read

    @property
    def passed(self) -> int:
        """How many of their rows have been dealt with."""
        return self.imported + self.deleted + self.not_chosen + self.orphaned

    def add(self, other: "Report") -> None:
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))
