"""Dispatches messages of the channel layer to the parts of the hub.

Messages are only hints (P4). A publication that arrives is fanned out if it is the next one of its
stream; any gap, and any publication that was never announced, is read from history. A hint that is
lost, late, repeated or out of order costs latency, never a notification.
"""

from __future__ import annotations

from typing import Any

from ..protocol.codes import Disconnect
from ..streams.encoding import announced
from .delivery.together import Together
from .emulation import Emulation
from .join_leave import JoinLeave
from .layer.probe import Probe
from .local_streams import LocalStreams
from .loops import Loops
from .position_check import PositionCheck
from .rights import Rights


class LayerMessages:
    """Passes each message to the part of the hub that handles it.

    Args:
        streams: the streams of this process.
        rights: notified of users whose rights or read state have changed.
        check: run on request of publishers that do not announce each publication.
        probe: receives the probe messages of this process.
        join_leave: writes joins and leaves to the clients of this process.
        emulation: receives what clients have sent through other processes.
        loops: reports messages that cannot be handled.
    """

    def __init__(
        self,
        streams: LocalStreams,
        rights: Rights,
        check: PositionCheck,
        probe: Probe,
        join_leave: JoinLeave,
        emulation: Emulation,
        loops: Loops,
    ) -> None:
        self._streams = streams.by_name
        self._repairs = streams.repairs
        self._renewals = streams.renewals
        self._ephemeral = streams.ephemeral
        self._rights = rights
        self._check = check
        self._probe = probe
        self._join_leave = join_leave
        self._emulation = emulation
        self._loops = loops
        self.together = Together(
            streams.by_name,
            self.handle_publication,
            streams.catch_up.fall_behind,
            check,
            loops,
        )

    def dispatch(self, message: dict[str, Any]) -> None:
        """Handle one message; report an exception instead of raising it."""
        try:
            self._dispatch(message)
        except Exception as error:  # a worker of another version may use another format
            self._loops.report_failure("handling a layer message", error, "it is ignored")

    def handle_publication(
        self, name: str, epoch: str, offset: int, data: bytes, at: int = 0, previous: int = 0
    ) -> None:
        """Fan out an announced publication, or start a repair if it is not the next one.

        Args:
            name: name of the stream.
            epoch: epoch in which ``offset`` was given.
            offset: offset of the publication.
            data: its encoded content.
            at: when it was published, in microseconds since 1970; 0 from workers of an earlier
                version.
            previous: when the entry before it was published, likewise.
        """
        stream = self._streams.get(name)
        if stream is None or stream.is_suspect or (stream.is_known and stream.epoch != epoch):
            return
        tip = stream.tip
        if tip.contradicts(offset, at) or tip.contradicts(offset - 1, previous):
            # They belong to different histories: either the tip or the announced entry is gone.
            self._renewals.add(stream)
            return
        stream.note_announced(epoch, offset)
        if stream.is_next(offset):
            self._repairs.deliver(stream, announced(name, offset, data, at), at)
        elif offset > stream.top:
            self._repairs.start(stream)

    def _dispatch(self, message: dict[str, Any]) -> None:
        kind, stream = message["type"], message["stream"]
        if kind == "notifications.publication":
            times = message.get("at", 0), message.get("previous", 0)
            self.handle_publication(
                stream, message["epoch"], message["offset"], message["data"], *times
            )
        elif kind == "notifications.publications":
            content, entries = message["content"], message["entries"]
            self.together.receive(content, entries, has_id=message["has_id"])
        elif kind == "notifications.ephemeral":
            self._ephemeral.deliver(stream, message["data"], message["at"])
        elif kind == "notifications.members":
            self._join_leave.receive(stream, message["joined"], message["left"])
        elif kind == "notifications.check":
            self._check.request()
        elif kind == "notifications.beat":
            self._probe.receive(message)
        elif kind == "notifications.emulation":
            self._emulation.take_forwarded(message["session"], message["frame"])
        else:
            self._dispatch_to_rights(kind, stream, message)

    def _dispatch_to_rights(self, kind: str, stream: str, message: dict[str, Any]) -> None:
        """Handle a message about one user, whose private stream this is, or about a session."""
        if kind == "notifications.message":
            # Workers of an earlier version do not send these three.
            counted = message.get("unread"), message.get("revision"), message.get("recounted")
            self._rights.read_state.push_change(
                stream, message["data"], message["origin"], *counted
            )
        elif kind == "notifications.changed":
            self._rights.suspect(stream, message.get("session", ""))
        elif kind == "notifications.session_ended":
            self._rights.endings.end_session(message["session"])
        elif kind == "notifications.close":
            why = Disconnect(message["code"], message["reason"])
            self._rights.endings.close(stream, why, message["only"], message["spared"])
        elif kind == "notifications.expire":
            self._rights.endings.expire(stream, message["at"], message["only"])
