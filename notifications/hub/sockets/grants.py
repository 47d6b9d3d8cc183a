"""Why a client may read a channel of a namespace."""

import asyncio
from collections.abc import Callable


class Grant:
    """Why a client may read a channel of a namespace, and until when.

    Args:
        by_token: a subscription token says so, not the right of the namespace, which is checked
            again whenever the user's rights are.
        info: what the token tells others of the client, as JSON; b"" for nothing.
        data: what the client has sent to the function of the host that decides, as JSON; b"" for
            nothing. It goes with the question whenever the right is checked again.
        asks_joins: the client asks to be told who joins and leaves, where its namespace tells it.
            The right to see presence decides whether it is, which is checked again like the other.
    """

    __slots__ = ("_left", "_timer", "asks_joins", "by_token", "data", "info")

    def __init__(
        self,
        *,
        by_token: bool = False,
        info: bytes = b"",
        data: bytes = b"",
        asks_joins: bool = False,
    ) -> None:
        self.by_token = by_token
        self.info = info
        self.data = data
        self.asks_joins = asks_joins
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
