"""Why a client may read a channel of a namespace."""

import asyncio
from collections.abc import Callable


class Grant:
    """Why a client may read a channel of a namespace, and until when.

    Args:
        by_token: a subscription token says so, not the right of the namespace, which is checked
            again whenever the user's rights are.
        info: what the token tells others of the client, as JSON; b"" for nothing.
    """

    __slots__ = ("_timer", "by_token", "info")

    def __init__(self, *, by_token: bool = False, info: bytes = b"") -> None:
        self.by_token = by_token
        self.info = info
        self._timer: asyncio.TimerHandle | None = None

    def limit(self, seconds: float | None, expire: Callable[[], None]) -> None:
        """Call ``expire`` after so many seconds, unless it ends before; None for never."""
        self.end()
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, expire)

    def end(self) -> None:
        """Forget when it expires."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
