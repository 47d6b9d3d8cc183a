"""What a session enforces, and what it asks its shell to do."""

from typing import NamedTuple

from . import codes, messages


class Limits(NamedTuple):
    """What a session enforces; seconds, bytes, commands per second, commands at once."""

    ping_interval: float
    pong_timeout: float
    connect_timeout: float
    slow_timeout: float
    max_frame_size: int
    command_rate: float
    command_burst: int
    #: How long after their expiry credentials may still be renewed.
    expired_close_delay: float = 0.0


class Send(NamedTuple):
    text: str


class Perform(NamedTuple):
    command_id: int
    request: messages.Request


class Arrived(NamedTuple):
    positions: dict[str, int]


class Close(NamedTuple):
    disconnect: codes.Disconnect


Effect = Send | Perform | Arrived | Close
