"""The rows of a run, and functions to look up values in them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from .quiet import Load

#: Names of the servers in tables and targets.
FLOOR = "floor"
FLOOR_LOOP = "floor with uvloop transports"
BARE = "bare uvicorn"
WS = "Node ws"
SOCKET_IO = "Socket.IO"
NCHAN = "nginx + nchan"
CENTRIFUGO = "Centrifugo, in memory"
CENTRIFUGO_REDIS = "Centrifugo, Redis"
STOCK_MEMORY = "stock Channels, in memory"
STOCK_REDIS = "stock Channels, Redis"
OURS = "pushsite"
OURS_PG = "pushsite, PostgreSQL + Redis"
OURS_PG_2 = "pushsite, PostgreSQL + Redis, 2 workers"

#: Names of the benchmarks that occur in several modules.
BACK = "connect, 10 missed"
STORM = "storm of connects"
IDLE = "idle"
PRIVATE = "private fan-out"
SCALING = "two workers"

#: The forms of the protocol, and the benchmarks that compare them.
FORMS = ("JSON", "Protobuf")
ENCODED = "encoding"
BY_FORM = "fan-out by form"

#: Names of the main values. µs are CPU time of the server's own processes, except per recipient.
DELIVERY = "µs per delivery"
CONNECTION = "µs per connection"
KILOBYTES = "KB per connection"
P99 = "p99 ms"
RECIPIENT = "µs per recipient"
WALL = "wall ms"
SIZE = "bytes"
CORE = "% of a core"
SLOWEST = "slowest s"
OVERTAKEN = "overtaken by, %"
FIRST = "first socket ms"
CALLER = "caller MB"
SPEED_UP = "speed-up"


@dataclass(frozen=True)
class Row:
    """One row of the report."""

    benchmark: str
    server: str
    sockets: int
    values: dict[str, float]


@dataclass(frozen=True)
class Results:
    """All of one run."""

    rows: list[Row]
    #: Servers that were not measured, each with the command that installs what they lack.
    missing: list[str] = field(default_factory=list)
    #: Warnings that matter for reading the figures.
    remarks: list[str] = field(default_factory=list)
    #: Short description of the machine.
    machine: str = ""
    #: What others used of the machine; None if it was not observed.
    load: Load | None = None


def merged(rows: Sequence[Row]) -> list[Row]:
    """Merge rows of the same measurement into one row with the means, as for the references."""
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.benchmark, row.server, row.sockets), []).append(row)
    return [
        Row(*key, {name: statistics.fmean(r.values[name] for r in same) for name in same[0].values})
        for key, same in groups.items()
    ]


def look_up(
    rows: Sequence[Row], benchmark: str, server: str, sockets: int, value: str
) -> float | None:
    """Return a single value, or None if it was not measured."""
    for row in rows:
        if (row.benchmark, row.server, row.sockets) == (benchmark, server, sockets):
            return row.values.get(value)
    return None


def sizes(rows: Sequence[Row], benchmark: str, server: str) -> list[int]:
    """Return the numbers of sockets with which a server was measured, ascending."""
    own = {row.sockets for row in rows if (row.benchmark, row.server) == (benchmark, server)}
    return sorted(own)


def nearest(found: Sequence[int], wanted: int) -> int | None:
    """Return the size that is nearest to ``wanted``, or None if there is none."""
    return min(found, key=lambda size: abs(size - wanted), default=None)


def overtaken(begun: Sequence[float]) -> int:
    """Return by how many places a client was served later than it arrived, at most.

    Args:
        begun: times of arrival, in the order of being served.
    """
    order = sorted(range(len(begun)), key=lambda served: begun[served])
    return max((served - place for place, served in enumerate(order)), default=0)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile.

    It is the smallest value such that at least ``percent`` per cent of the values do not exceed it.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def spread(values: Sequence[float]) -> float:
    """Return the largest relative deviation from the midrange: 0.15 if all are within ±15 %."""
    low, high = min(values), max(values)
    return (high - low) / (high + low)
