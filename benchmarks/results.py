"""What a run has found: rows, and how to look something up in them. No measuring, no printing."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

#: The servers' names, as tables and targets know them.
FLOOR = "floor"
BARE = "bare uvicorn"
WS = "Node ws"
SOCKET_IO = "Socket.IO"
NCHAN = "nginx + nchan"
STOCK_MEMORY = "stock Channels, in memory"
STOCK_REDIS = "stock Channels, Redis"
OURS = "pushsite"
OURS_PG = "pushsite, PostgreSQL + Redis"
OURS_PG_2 = "pushsite, PostgreSQL + Redis, 2 workers"

#: The values that rows are ranked by; µs are CPU of the server's own processes.
DELIVERY = "µs per delivery"
CONNECTION = "µs per connection"
KILOBYTES = "KB per connection"
P99 = "p99 ms"
RECIPIENT = "µs per recipient"


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    benchmark: str
    server: str
    sockets: int
    values: dict[str, float]


@dataclass(frozen=True)
class Results:
    """All of one run."""

    rows: list[Row]
    #: Peers that could not be had, each with the command that installs it.
    missing: list[str] = field(default_factory=list)
    #: What to know before reading the figures.
    remarks: list[str] = field(default_factory=list)
    #: What it ran on, in a few words.
    machine: str = ""


def merged(rows: Sequence[Row]) -> list[Row]:
    """What was measured several times, as the floor is before and after, becomes its mean."""
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
    """A single figure; None where it was not measured."""
    for row in rows:
        if (row.benchmark, row.server, row.sockets) == (benchmark, server, sockets):
            return row.values.get(value)
    return None


def sizes(rows: Sequence[Row], benchmark: str, server: str) -> list[int]:
    """With how many sockets a server was measured, ascending."""
    own = {row.sockets for row in rows if (row.benchmark, row.server) == (benchmark, server)}
    return sorted(own)


def nearest(found: Sequence[int], wanted: int) -> int | None:
    """The size that comes nearest to the one a target speaks of."""
    return min(found, key=lambda size: abs(size - wanted), default=None)


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the least value that so many per cent do not exceed.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def spread(values: Sequence[float]) -> float:
    """How far values lie from their middle: 0.15 if all are within ±15 % of it."""
    low, high = min(values), max(values)
    return (high - low) / (high + low)
