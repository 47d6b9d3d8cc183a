"""What was written leaves in time, or the socket is dropped with it."""

import asyncio
from typing import Any

#: Seconds in which a peer has to take so many bytes of what waits for it, or all of it.
TIMEOUT = 30.0
LEAST = 15_000


class Outlet:
    """A transport whose :meth:`close` has an end. All else goes to the transport as it is.

    A close waits until all has been written, and a peer that reads nothing lets it wait for ever.

    Args:
        transport: of the loop.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = 0
        self._is_lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def close(self) -> None:
        self.transport.close()
        self.watch()

    def watch(self) -> None:
        """From now on, something has to leave."""
        if self._timer is None and not self._is_lost:
            self._waiting = self.transport.get_write_buffer_size()
            self._timer = self._loop.call_later(TIMEOUT, self._look)

    def relax(self) -> None:
        """The peer has taken something, and may take its time for the next."""
        if not self.transport.is_closing():
            self._stop()

    def lost(self) -> None:
        """The socket is gone. May be closed once more."""
        self._is_lost = True
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._waiting - self.transport.get_write_buffer_size() < LEAST:
            self.transport.abort()
        else:
            self.watch()
