"""Pings and pongs of one connection, without I/O.

Delivery is acknowledged by the pong: frames are ordered, so the answer to a ping proves that all
that was written before that ping has arrived (see docs/decisions/0002-pong-acknowledges.md).
"""

from . import codes
from .codes import Disconnect
from .effects import Limits

#: Seconds until a ping is tried again that the socket did not take.
PING_RETRY = 1.0


class Heartbeat:
    """When a ping is due, and whose fault it is if no pong comes.

    Args:
        limits: see :class:`~notifications.protocol.effects.Limits`.
        spread: 0 to 1, where in the ping interval the first ping falls.
    """

    __slots__ = (
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

    def __init__(self, limits: Limits, spread: float) -> None:
        self.is_awaiting_pong = False
        self._limits = limits
        self._spread = spread
        self._ping_at = 0.0
        self._pong_due = 0.0
        #: Since when the socket has taken no ping, None while it takes them.
        self._blocked_since: float | None = None
        self._retry_at = 0.0
        #: Since when a ping that the socket took may not have left the server, None if it has.
        self._stuck_since: float | None = None
        self._pinged: dict[str, int] = {}

    @property
    def deadline(self) -> float:
        """When to look again."""
        if self.is_awaiting_pong:
            return self._pong_due
        if self._blocked_since is not None:
            return self._retry_at
        return self._ping_at + self._limits.ping_interval

    @property
    def owes_ping(self) -> bool:
        """Has a ping come due that the socket did not take yet?"""
        return self._blocked_since is not None and not self.is_awaiting_pong

    def is_due(self, now: float) -> bool:
        """Is it time for a ping?"""
        return self.owes_ping or now >= self._ping_at + self._limits.ping_interval

    def start(self, now: float) -> None:
        """The connection is established."""
        interval = self._limits.ping_interval
        self._ping_at = now - interval + interval * self._spread

    def ping(self, now: float, positions: dict[str, int]) -> None:
        """A ping is written, behind everything up to these positions."""
        self._ping_at = now
        self.is_awaiting_pong = True
        self._stuck_since = None
        self._pong_due = now + self._limits.pong_timeout
        self._pinged = positions

    def pong(self) -> dict[str, int]:
        """The pong has come.

        Returns:
            The positions up to which the client has everything.
        """
        self.is_awaiting_pong = False
        self._blocked_since = None
        positions, self._pinged = self._pinged, {}
        return positions

    def take_back(self) -> None:
        """The last ping could not be written: it counts as never sent."""
        self.is_awaiting_pong = False
        self._pinged = {}

    def put_off(self, now: float) -> Disconnect | None:
        """Try again soon. A socket that never drains ends although nobody has to write to it."""
        if self._blocked_since is None:
            self._blocked_since = now
        if now - self._blocked_since >= self._limits.slow_timeout:
            return codes.SLOW
        self._retry_at = now + PING_RETRY
        return None

    def miss_pong(self, now: float, *, is_blocked: bool, is_performing: bool) -> Disconnect | None:
        """There is no pong yet. Tells with which code to end, if that is the client's fault."""
        if now < self._pong_due:
            return None
        if is_blocked:
            # The ping may be among what has not left the server.
            if self._stuck_since is None:
                self._stuck_since = now
            if now - self._stuck_since >= self._limits.slow_timeout:
                return codes.SLOW
            self._pong_due = now + PING_RETRY
        elif is_performing or self._stuck_since is not None:
            # It may wait behind the request, for a database that is slow; or the ping has
            # only just been written. That is not the client's fault.
            self._stuck_since = None
            self._pong_due = now + self._limits.pong_timeout
        else:
            return codes.NO_PONG
        return None
