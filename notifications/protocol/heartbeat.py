"""Pings and pongs of one connection, without I/O.

A pong acknowledges delivery: frames are ordered, so the answer to a ping proves that everything
written before that ping has arrived (see docs/decisions/0002-pong-acknowledges.md).
"""

from . import codes
from .codes import Disconnect
from .effects import Limits

#: Seconds until a ping that the socket did not accept is retried.
PING_RETRY = 1.0


class Heartbeat:
    """Decides when a ping is due, and when a missing pong ends the connection.

    Args:
        limits: see :class:`~notifications.protocol.effects.Limits`.
        spread: delay of the first ping, as a fraction (0 to 1) of the ping interval.
        awaits_pongs: whether clients answer pings. If not, pings only keep the connection open.
    """

    __slots__ = (
        "_awaits_pongs",
        "_blocked_since",
        "_limits",
        "_ping_at",
        "_pinged",
        "_pong_due",
        "_retry_at",
        "_spread",
        "_stuck_since",
        "is_awaiting_pong",
    )

    def __init__(self, limits: Limits, spread: float, *, awaits_pongs: bool = True) -> None:
        self.is_awaiting_pong = False
        self._awaits_pongs = awaits_pongs
        self._limits = limits
        self._spread = spread
        self._ping_at = 0.0
        self._pong_due = 0.0
        #: When the socket first failed to accept the ping that is due; None if it did not fail.
        self._blocked_since: float | None = None
        self._retry_at = 0.0
        #: When the socket was first found blocked with the pong overdue; None if it was not.
        self._stuck_since: float | None = None
        self._pinged: dict[str, int] = {}

    @property
    def deadline(self) -> float:
        """The time of the next check."""
        if self.is_awaiting_pong:
            return self._pong_due
        if self._blocked_since is not None:
            return self._retry_at
        return self._ping_at + self._limits.ping_interval

    @property
    def owes_ping(self) -> bool:
        """Whether a ping is due that the socket has not accepted yet."""
        return self._blocked_since is not None and not self.is_awaiting_pong

    def is_due(self, now: float) -> bool:
        """Return whether a ping is due."""
        return self.owes_ping or now >= self._ping_at + self._limits.ping_interval

    def start(self, now: float) -> None:
        """Start the first ping interval, when the connection is established."""
        interval = self._limits.ping_interval
        self._ping_at = now - interval + interval * self._spread

    def ping(self, now: float, positions: dict[str, int]) -> None:
        """Record that a ping is written after everything up to ``positions``."""
        self._ping_at = now
        if not self._awaits_pongs:
            self._blocked_since = None
            return
        self.is_awaiting_pong = True
        self._stuck_since = None
        self._pong_due = now + self._limits.pong_timeout
        self._pinged = positions

    def pong(self) -> dict[str, int]:
        """Record the pong.

        Returns:
            The positions up to which the client has received everything.
        """
        self.is_awaiting_pong = False
        self._blocked_since = None
        positions, self._pinged = self._pinged, {}
        return positions

    def take_back(self) -> None:
        """Forget the last ping, because it could not be written."""
        self.is_awaiting_pong = False
        self._pinged = {}

    def postpone_ping(self, now: float) -> Disconnect | None:
        """Retry the ping after ``PING_RETRY`` seconds.

        Returns:
            ``SLOW`` once the socket has accepted no ping for ``slow_timeout`` seconds, else None.
            So a socket that never drains is closed even if nothing else is written to it.
        """
        if self._blocked_since is None:
            self._blocked_since = now
        if now - self._blocked_since >= self._limits.slow_timeout:
            return codes.SLOW
        self._retry_at = now + PING_RETRY
        return None

    def check_overdue_pong(
        self, now: float, *, is_blocked: bool, is_performing: bool
    ) -> Disconnect | None:
        """Decide what follows from a missing pong.

        Args:
            now: seconds of the session's clock.
            is_blocked: the socket's send buffer is full.
            is_performing: a request of this client is being carried out.

        Returns:
            The disconnect to close with; None if the pong is not due yet, or if the server may be
            the reason for the delay.
        """
        if now < self._pong_due:
            return None
        if is_blocked:
            # The ping may still be in the send buffer.
            if self._stuck_since is None:
                self._stuck_since = now
            if now - self._stuck_since >= self._limits.slow_timeout:
                return codes.SLOW
            self._pong_due = now + PING_RETRY
        elif is_performing or self._stuck_since is not None:
            # The pong may be queued behind a request that waits for a slow database, or the
            # ping may only just have left the send buffer. Neither is the client's fault.
            self._stuck_since = None
            self._pong_due = now + self._limits.pong_timeout
        else:
            return codes.NO_PONG
        return None
