"""How much a run measures: quick, full, or with a million recipients."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Plan:
    """The sizes of the measurements."""

    #: Sockets of the connect measurements, and of the fan-out of most servers.
    main: int
    #: Sockets of the fan-out of our server and of the floor, in descending order.
    flat: tuple[int, ...]
    #: Sockets of the stock consumer in memory, whose broadcasts have quadratic cost.
    stock: int
    #: Seconds of each latency measurement.
    seconds: float
    #: Seconds for which the connections rest first, and then are observed.
    rest: float
    idle: float
    #: Recipients of the bulk measurements, ascending.
    bulk: tuple[int, ...]
    #: Blocks of a fan-out, whose median is reported.
    blocks: int

    @property
    def max_sockets(self) -> int:
        """Twice the main number when the two forms of the protocol are compared."""
        return max(2 * self.main, *self.flat)

    @property
    def users(self) -> int:
        return max(self.max_sockets, *self.bulk)


QUICK = Plan(
    main=2000,
    flat=(2000, 500),
    stock=500,
    seconds=4,
    rest=0,
    idle=10,
    bulk=(1000, 10_000),
    blocks=3,
)
FULL = Plan(
    main=5000,
    flat=(10_000, 5000, 2000, 1000, 500),
    stock=1000,
    seconds=20,
    rest=70,
    idle=30,
    bulk=(10_000, 100_000),
    blocks=5,
)
MILLION = replace(FULL, bulk=(*FULL.bulk, 1_000_000))
