"""The results of a run, and functions to look up figures in them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

#: Names of the servers in tables and targets.
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

#: Names of the values that are compared; µs are CPU time of the server's own processes.
DELIVERY = "µs per delivery"
CONNECTION = "µs per connection"
KILOBYTES = "KB per connection"
P99 = "p99 ms"
RECIPIENT = "µs per recipient"


@dataclass(frozen=True)
class Row:
    """One row of the report: the values of one benchmark and server, by name."""

    benchmark: str
    server: str
    sockets: int
    values: dict[str, float]


@dataclass(frozen=True)
class Results:
    """All results of one run."""

    rows: list[Row]
    #: Peers that are not installed, each with the command that installs it.
    missing: list[str] = field(default_factory=list)
    #: Reservations about the figures.
    remarks: list[str] = field(default_factory=list)
    #: Description of the machine.
    machine: str = ""


def merged(rows: Sequence[Row]) -> list[Row]:
    """Replace repeated measurements, such as those of the floor, by their mean."""
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
    """Return a single figure; None if it was not measured."""
    for row in rows:
        if (row.benchmark, row.server, row.sockets) == (benchmark, server, sockets):
            return row.values.get(value)
    return None


def sizes(rows: Sequence[Row], benchmark: str, server: str) -> list[int]:
    """The numbers of sockets with which a server was measured, ascending."""
    own = {row.sockets for row in rows if (row.benchmark, row.server) == (benchmark, server)}
    return sorted(own)


def nearest(found: Sequence[int], wanted: int) -> int | None:
    """The size nearest to the wanted one; None if there are none."""
    return min(found, key=lambda size: abs(size - wanted), default=None)


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the least value that ``percent`` % of the values do not exceed.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def spread(values: Sequence[float]) -> float:
    """The relative spread: 0.15 if all values are within ±15 % of the middle of their range."""
    low, high = min(values), max(values)
    return (high - low) / (high + low)
