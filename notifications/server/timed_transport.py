"""A transport that drops its socket when the peer does not read in time."""

import asyncio
from typing import Any

#: Seconds in which a peer must read ``MIN_PROGRESS`` bytes of the send buffer, or all of it.
TIMEOUT = 30.0
MIN_PROGRESS = 15_000


class TimedTransport:
    """A transport whose :meth:`close` takes a bounded time. It delegates all other attributes.

    asyncio closes a transport only once everything has been written, so a peer that reads nothing
    would keep it open for ever.

    Args:
        transport: the transport to wrap.
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
        """From now on, require that the peer reads in time."""
        if self._timer is None and not self._is_lost:
            self._waiting = self.transport.get_write_buffer_size()
            self._timer = self._loop.call_later(TIMEOUT, self.check_progress)

    def unwatch(self) -> None:
        """Stop the timer, because the peer has read enough; not if the transport is closing."""
        if not self.transport.is_closing():
            self._stop()

    def lost(self) -> None:
        """Stop the timer, because the socket is gone. A later :meth:`close` starts none."""
        self._is_lost = True
        self._stop()

    def check_progress(self) -> None:
        """Drop the socket if the peer has read too little since the last check, else go on."""
        self._stop()
        if self._waiting - self.transport.get_write_buffer_size() < MIN_PROGRESS:
            self.transport.abort()
        else:
            self.watch()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
