"""Streams without readers, whose groups are kept for a moment: their clients may come back."""

from __future__ import annotations

from collections.abc import Iterable

from ..delivery.stream import LocalStream

#: Seconds for which the group of such a stream is kept: SDKs wait up to 20 s between two attempts
#: to connect. To leave and join a group of Redis takes 0.2 ms of CPU, half of a connect.
LINGER = 30.0


class IdleStreams:
    """When each stream was first found to be without readers."""

    def __init__(self) -> None:
        self._since: dict[LocalStream, float] = {}

    def update(
        self, streams: Iterable[LocalStream], now: float, linger: float
    ) -> list[LocalStream]:
        """Look at all streams, and return those that have been idle for so long.

        Args:
            streams: all streams of this process.
            now: the event loop's time, in seconds.
            linger: seconds since the look that found them idle first.
        """
        idle = [stream for stream in streams if stream.is_idle and not stream.busy]
        self._since = {stream: self._since.get(stream, now) for stream in idle}
        return [stream for stream, since in self._since.items() if now - since >= linger]
