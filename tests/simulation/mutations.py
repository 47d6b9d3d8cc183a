"""Production code broken on purpose: what the simulation has to find.

Each mutation takes away one thing that a promise hangs on. ``python -m tests.simulation
--break NAME`` runs with it; tests/simulation/test_it_finds.py insists that it is found.
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
from notifications.publishing import notify as publishing
from notifications.streams import epochs, evidence, marks, positions

from .threads import Pool, Some


class Mutation(NamedTuple):
    """One thing that is broken.

    Args:
        promises: one of which is found broken.
        faults: kinds that bring it to light soonest; none for all.
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
    """Nobody looks for what the layer has lost."""
    PositionCheck.run = _nothing  # type: ignore[method-assign]


@mutation("P4", faults=("layer_forgets", "layer_down", "layer_partition"))
def forget_to_rejoin() -> None:
    """A group is joined once, and never again."""
    original = Groups._join

    async def join(self: Groups, stream: LocalStream) -> bool:
        if stream.joined_at:
            stream.is_joined = True
            return True
        return await original(self, stream)

    Groups._join = join  # type: ignore[method-assign]


@mutation("P1", faults=("stall", "trickle", "slow_database"))
def acknowledge_before_written() -> None:
    """A pong counts for what has been published, not for what was written before the ping."""

    def positions(self: Connection) -> dict[str, int]:
        return {name: reader.stream.top for name, reader in self.readers.items()}

    Connection.positions = positions  # type: ignore[method-assign]


@mutation("P1", faults=("stall", "trickle", "slow_network"))
def acknowledge_by_any_pong() -> None:
    """What is written while a ping is on its way counts as acknowledged by its pong."""
    original = Connections.arrived

    def arrived(self: Connections, connection: Connection, positions: dict[str, int]) -> None:
        original(self, connection, {n: r.stream.top for n, r in connection.readers.items()})

    Connections.arrived = arrived  # type: ignore[method-assign]


@mutation("P6", faults=("deactivate", "change_group", "change_staff", "log_out"))
def skip_rights() -> None:
    """Nobody looks again at what users may read."""
    Rights._apply_verdict = _nothing  # type: ignore[method-assign]


@mutation("P1", faults=("lossy_layer", "late_commit", "publisher_dies"))
def ignore_gaps() -> None:
    """Whatever is announced is written, even if something before it was not."""
    LocalStream.is_next = lambda self, offset: self.is_known and offset > self.top  # type: ignore[method-assign]


@mutation("P2", faults=("caller_rolls_back",))
def publish_before_commit() -> None:
    """What should follow the commit of the caller is done at once."""
    publishing.after_commit = lambda using, function, *args: function(*args)  # type: ignore[assignment,attr-defined]


@mutation("P5", faults=("stall",))
def queue_for_blocked_sockets() -> None:
    """What a socket does not take waits in memory."""

    def offer(self: ASGISocket, message: Any) -> bool:
        send = self._send({"type": "websocket.send", "text": message.text})
        asyncio.get_running_loop().create_task(self._finish(send))
        return True

    ASGISocket.offer = offer  # type: ignore[method-assign]


@mutation("P7", faults=("garbage",))
def believe_in_json() -> None:
    """What is no JSON raises whatever the decoder raises."""
    wire._decode = wire._decoder.decode  # type: ignore[assignment]


@mutation("P8", "P1", faults=("restore", "failover"))
def drop_equality() -> None:
    """Only a top that is higher than before is news."""
    evidence._gone_back = lambda seen, tops: set()


@mutation("P8", "P1", faults=("failover", "failover", "layer_down"))
def compare_tops_only() -> None:
    """A history that has passed its old top again counts as the same one."""
    evidence._gone_back = lambda seen, tops: {
        pk for pk, top in tops.items() if top.epoch == seen[pk].epoch and top.offset < seen[pk].top
    }


@mutation("P1", faults=("failover", "failover", "lossy_layer", "layer_down"))
def skip_clamp() -> None:
    """Marks stay where they are when a stream gets a new epoch."""
    marks.move_back = lambda cuts, newest: 0


@mutation("P8", "P1", faults=("restore", "failover"))
def believe_any_position() -> None:
    """A client has come as far as it says, whatever the epoch."""
    positions.may_resume = lambda feed, position: True


@mutation("P8", faults=("restore", "failover"))
def keep_epochs() -> None:
    """A history that went back goes on under its old epoch."""
    epochs._store = lambda heads: None


@mutation("P1", faults=("kill_worker", "new_browser", "cut_all_sockets"))
def acknowledge_one_more() -> None:
    """What is written as acknowledged is one offset further than what was."""
    original = Acknowledgements.add

    def add(self: Acknowledgements, user_id: Any, stream_id: int, mark: Mark) -> None:
        original(self, user_id, stream_id, mark._replace(offset=mark.offset + 1))

    Acknowledgements.add = add  # type: ignore[method-assign]


@mutation("P9", faults=("held_user", "cut_all_sockets"))
def wait_in_one_line() -> None:
    """All work of a process goes through one thread, and waits for locks there."""
    Pool.threads = Some("one", 1, 60.0)  # type: ignore[method-assign,assignment]
