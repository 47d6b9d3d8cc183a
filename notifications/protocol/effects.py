"""The limits that a session enforces, and the effects that its shell carries out."""

from typing import NamedTuple

from . import codes, commands, messages

#: Bytes of a frame that cost as much as a command, beside the commands in it. Decoding 64 KiB takes
#: up to 25 ms, so without this a client could keep a process busy with malformed commands.
BYTES_PER_COMMAND = 4096


class Limits(NamedTuple):
    """The limits that a session enforces.

    Times are in seconds, ``max_frame_size`` in bytes, ``command_rate`` in commands per second and
    ``command_burst`` in commands.
    """

    ping_interval: float
    pong_timeout: float
    connect_timeout: float
    slow_timeout: float
    max_frame_size: int
    command_rate: float
    command_burst: int
    #: Seconds after their expiry during which credentials may still be renewed.
    expired_close_delay: float = 0.0

    def cost_of_size(self, frame: str | bytes) -> int:
        """Return what the size of a frame costs, in commands; always less than a whole burst."""
        return min(len(frame) // BYTES_PER_COMMAND, self.command_burst - 1)


class Send(NamedTuple):
    reply: messages.Reply


class Perform(NamedTuple):
    command_id: int
    request: commands.Request


class Arrived(NamedTuple):
    positions: dict[str, int]


class Close(NamedTuple):
    disconnect: codes.Disconnect


Effect = Send | Perform | Arrived | Close
