"""The membership in the group that all private streams share in the in-memory layer."""

from __future__ import annotations

from ...conf import app_settings, layer_is_in_memory
from ...group_names import PRIVATE_STREAMS, layer_group
from ...streams.names import is_private
from ..delivery.stream import LocalStream


class SharedGroup:
    """Whether, and since when, this process is a member of the group.

    A process joins it when it starts and never leaves it, so that in a storm of connects nobody
    has to wait for it. In other layers there is no such group; see
    :func:`notifications.group_names.layer_group`.
    """

    def __init__(self) -> None:
        #: When it was joined, in the event loop's time; None if it is not joined.
        self.since: float | None = None

    @property
    def is_missing(self) -> bool:
        """Is there such a group, and is it not joined?"""
        return self.since is None and layer_is_in_memory(app_settings.CHANNEL_LAYER)

    def stands_for(self, stream: LocalStream) -> bool:
        """Return whether this is the group of that stream."""
        return layer_group(stream.name) == PRIVATE_STREAMS

    def forget(self, before: float | None = None) -> None:
        """Forget the membership, because it may be lost.

        Args:
            before: forget it only if it was joined before that time; None to forget it anyway.
        """
        if before is None or (self.since is not None and self.since < before):
            self.since = None

    def mark(self, stream: LocalStream) -> bool:
        """Mark the stream as joined, if the group is joined and stands for it."""
        if self.since is None or not is_private(stream.name):
            return False
        stream.is_joined, stream.joined_at = True, self.since
        return True
