"""Why a client may read a channel of a namespace."""

import asyncio
from collections.abc import Callable


class Grant:
    """Why a client may read a channel of a namespace, and until when.

    Args:
        by_token: a subscription token says so, not the right of the namespace, which is checked
            again whenever the user's rights are.
        info: what the token tells others of the client, as JSON; b"" for nothing.
        is_told: the client is told who joins and leaves.
    """

    __slots__ = ("_left", "_timer", "by_token", "info", "is_told")

    def __init__(self, *, by_token: bool = False, info: bytes = b"", is_told: bool = False) -> None:
        self.by_token = by_token
        self.info = info
        self.is_told = is_told
        self._left: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def limit(self, seconds: float | None, expire: Callable[[], None]) -> None:
        """Call ``expire`` after so many seconds, unless it ends before; None for never."""
        self._stop_timer()
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, expire)

    def when_left(self, left: Callable[[], None]) -> None:
        """Call ``left`` when the subscription ends, for whatever reason."""
        self._left = left

    def end(self) -> None:
        """End the subscription, which is over with its reader. Safe to call twice."""
        self._stop_timer()
        left, self._left = self._left, None
        if left is not None:
            left()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
