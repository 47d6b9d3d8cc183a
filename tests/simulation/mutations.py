"""Deliberate bugs in production code that the simulation has to find.

Each mutation removes one thing that a promise depends on. ``python -m tests.simulation
--break NAME`` runs with it; tests/simulation/test_mutations.py requires that it is found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from notifications.hub import Connection, LocalStream
from notifications.hub.acknowledgements import Acknowledgements, Mark
from notifications.hub.connections import Connections
from notifications.hub.layer.groups import Groups
from notifications.hub.position_check import PositionCheck
from notifications.hub.rights import Rights
from notifications.hub.sockets.writing import ASGISocket
from notifications.protocol import json as wire
from notifications.publishing import inserting
from notifications.streams import epochs, evidence, marks, positions

from .threads import Pool, ThreadGroup


class Mutation(NamedTuple):
    """One deliberate bug.

    Args:
        promises: the promises that it may break; the first violation has to be of one of them.
        faults: kinds of faults that expose it soonest; empty for all kinds.
        apply: patches the production code.
    """

    promises: tuple[str, ...]
    faults: tuple[str, ...]
    apply: Callable[[], None]


MUTATIONS: dict[str, Mutation] = {}


def mutation(*promises: str, faults: tuple[str, ...] = ()) -> Callable[..., Callable[[], None]]:
    def register(apply: Callable[[], None]) -> Callable[[], None]:
        MUTATIONS[apply.__name__] = Mutation(promises, faults, apply)
        return apply

    return register


async def _nothing(*_: Any, **__: Any) -> None:
    return


@mutation("P1", "P4", faults=("lossy_layer", "layer_down", "publisher_dies"))
def skip_position_check() -> None:
    """The position check never runs, so nothing finds what the layer has lost."""
    PositionCheck.run = _nothing  # type: ignore[method-assign]


@mutation("P4", faults=("layer_forgets", "layer_down", "layer_partition"))
def forget_to_rejoin() -> None:
    """A group is joined once and never joined again."""
    original = Groups._join

    async def join(self: Groups, stream: LocalStream, **how: bool) -> bool:
        if stream.joined_at:
            stream.is_joined = True
            return True
        return await original(self, stream, **how)

    Groups._join = join  # type: ignore[method-assign]


@mutation("P1", faults=("stall", "trickle", "slow_database"))
def acknowledge_before_written() -> None:
    """A pong acknowledges what has been published, not what was written before the ping."""

    def positions(self: Connection) -> dict[str, int]:
        return {name: reader.stream.top for name, reader in self.readers.items()}

    Connection.positions = positions  # type: ignore[method-assign]


@mutation("P1", faults=("stall", "trickle", "slow_network"))
def acknowledge_by_any_pong() -> None:
    """A pong also acknowledges what was written after its ping."""
    original = Connections.arrived

    def arrived(self: Connections, connection: Connection, positions: dict[str, int]) -> None:
        original(self, connection, {n: r.stream.top for n, r in connection.readers.items()})

    Connections.arrived = arrived  # type: ignore[method-assign]


@mutation("P6", faults=("deactivate", "change_group", "change_staff", "log_out"))
def skip_rights() -> None:
    """The rights of connected users are never checked again."""
    Rights._apply_verdict = _nothing  # type: ignore[method-assign]


@mutation("P1", faults=("lossy_layer", "late_commit", "publisher_dies"))
def ignore_gaps() -> None:
    """An announced publication is written even if an earlier one is missing."""
    LocalStream.is_next = lambda self, offset: self.is_known and offset > self.top  # type: ignore[method-assign]


@mutation("P2", faults=("caller_rolls_back",))
def publish_before_commit() -> None:
    """Work that should follow the commit of the caller's transaction runs at once."""
    inserting.after_commit = lambda using, function, *args: function(*args)  # type: ignore[assignment,attr-defined]


@mutation("P5", faults=("stall",))
def queue_for_blocked_sockets() -> None:
    """Messages for a blocked socket wait in memory."""

    def offer(self: ASGISocket, message: Any) -> bool:
        send = self._send({"type": "websocket.send", "text": message.payload})
        asyncio.get_running_loop().create_task(self._finish(send))
        return True

    ASGISocket.offer = offer  # type: ignore[method-assign]


@mutation("P7", faults=("garbage",))
def believe_in_json() -> None:
    """Input that is not JSON raises the error of the decoder."""
    wire._decode = wire._decoder.decode  # type: ignore[assignment]


@mutation("P8", "P1", faults=("restore", "failover"))
def drop_equality() -> None:
    """No history ever counts as gone back."""
    evidence._gone_back = lambda seen, tops: set()


@mutation("P8", "P1", faults=("failover", "failover", "layer_down"))
def compare_tops_only() -> None:
    """A history that went back and has passed its old top again counts as unchanged."""
    evidence._gone_back = lambda seen, tops: {
        pk for pk, top in tops.items() if top.epoch == seen[pk].epoch and top.offset < seen[pk].top
    }


@mutation("P1", faults=("failover", "failover", "lossy_layer", "layer_down"))
def skip_clamp() -> None:
    """Marks are not moved back when a stream gets a new epoch."""
    marks.move_back = lambda common, newest: 0


@mutation("P8", "P1", faults=("restore", "failover"))
def believe_any_position() -> None:
    """Every position of a client is accepted, whatever its epoch."""
    positions.may_resume = lambda feed, position: True


@mutation("P8", faults=("restore", "failover"))
def keep_epochs() -> None:
    """A history that went back keeps its old epoch."""
    epochs._store = lambda heads: None


@mutation("P1", faults=("kill_worker", "new_browser", "cut_all_sockets"))
def acknowledge_one_more() -> None:
    """Acknowledgements are stored one offset too high."""
    original = Acknowledgements.add

    def add(self: Acknowledgements, user_id: Any, stream_id: int, mark: Mark) -> None:
        original(self, user_id, stream_id, mark._replace(offset=mark.offset + 1))

    Acknowledgements.add = add  # type: ignore[method-assign]


@mutation("P9", faults=("held_user", "cut_all_sockets"))
def wait_in_one_line() -> None:
    """All work of a process shares one thread, and waits there up to 60 seconds for locks."""
    Pool.threads = ThreadGroup("one", 1, 60.0)  # type: ignore[method-assign,assignment]
