"""What the messages of the channel layer mean in this process.

The layer only hints (P4): a publication that it brings is fanned out when it is the next one;
every gap, and every tail that no message tells of, is read from history. So a hint that is lost,
late, repeated or out of order costs latency, never a notification.
"""

from __future__ import annotations

from typing import Any

from ..streams.encoding import Publication
from .delivery.repairs import SLICE
from .layer.probe import Pulse
from .local_streams import LocalStreams
from .loops import Loops
from .position_check import PositionCheck
from .rights import Rights


class Hearing:
    """Takes each message to the part of the hub that it is for.

    Args:
        streams: of this process.
        rights: told of users whose rights or read state have changed.
        check: asked for by publishers to very many.
        pulse: waits for its own messages.
        loops: by which a message is reported that cannot be understood.
    """

    def __init__(
        self,
        streams: LocalStreams,
        rights: Rights,
        check: PositionCheck,
        pulse: Pulse,
        loops: Loops,
    ) -> None:
        self._streams = streams.by_name
        self._repairs = streams.repairs
        self._renewals = streams.renewals
        self._rights = rights
        self._check = check
        self._pulse = pulse
        self._loops = loops

    def take(self, message: dict[str, Any]) -> None:
        """Take a message; one that cannot be understood is reported, not raised."""
        try:
            self._take(message)
        except Exception as error:  # a worker of another version may say it differently
            self._loops.report("a message of the channel layer", error)

    def publication(
        self, name: str, epoch: str, offset: int, data: bytes, at: int = 0, previous: int = 0
    ) -> None:
        """A publication has been announced.

        Args:
            at: when it was published, in microseconds, and ``previous`` the one before it; 0 from
                workers of an earlier version.
        """
        stream = self._streams.get(name)
        if stream is None or stream.is_suspect or (stream.is_known and stream.epoch != epoch):
            return
        tip = stream.tip
        if tip.contradicts(offset, at) or tip.contradicts(offset - 1, previous):
            # Of another history: either the tip, or what was announced, is not there any more.
            self._renewals.add(stream)
            return
        stream.note(epoch, offset)
        if not stream.is_next(offset):
            if offset > stream.top:
                self._repairs.start(stream)
        elif len(stream.live) <= SLICE:
            self._repairs.fan_out(stream, Publication(offset, data), at)
        else:
            self._repairs.start(stream, Publication(offset, data), at)

    def _take(self, message: dict[str, Any]) -> None:
        kind, stream = message["type"], message["stream"]
        if kind == "notifications.publication":
            times = message.get("at", 0), message.get("previous", 0)
            self.publication(stream, message["epoch"], message["offset"], message["data"], *times)
        elif kind == "notifications.message":
            # Workers of an earlier version tell nothing of the count.
            counted = message.get("unread"), message.get("revision"), message.get("recounted")
            self._rights.read_state.tell(stream, message["data"], message["origin"], *counted)
        elif kind == "notifications.changed":
            self._rights.suspect(stream, message.get("session", ""))
        elif kind == "notifications.session_ended":
            self._rights.end_session(message["session"])
        elif kind == "notifications.check":
            self._check.ask()
        elif kind == "notifications.beat":
            self._pulse.hear(message)
