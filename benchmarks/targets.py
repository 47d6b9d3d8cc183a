"""The performance targets of the project, compared with the results of a run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .results import (
    BARE,
    CONNECTION,
    DELIVERY,
    FLOOR,
    KILOBYTES,
    NCHAN,
    OURS,
    OURS_PG,
    P99,
    RECIPIENT,
    STOCK_REDIS,
    WS,
    Row,
    look_up,
    nearest,
    sizes,
    spread,
)

#: Sockets for which the targets are defined, and the range in which the cost has to be flat.
AT = 5000
FLAT = (500, 10_000)
#: Recipients of the bulk target.
BULK = 100_000


@dataclass(frozen=True)
class Verdict:
    """One target, the value reached, and the size or sizes at which it was measured."""

    target: str
    server: str
    at: str
    reached: str
    #: None if it was not measured in this run.
    met: bool | None
    #: A reservation, such as a run smaller than the target requires.
    remark: str = ""

    @property
    def word(self) -> str:
        if self.met is None:
            return "not measured"
        return "met" if self.met else "missed"


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Return the verdicts on all targets, in the order of the benchmarks."""
    return [*_fan_out(rows), *_flat(rows), *_connect(rows), *_memory(rows), *_rest(rows)]


def _fan_out(rows: Sequence[Row]) -> Iterator[Verdict]:
    for server in (OURS, OURS_PG):
        for text, other, low, high in (
            ("fan-out CPU ≤ 1.10 × floor", FLOOR, 0.0, 1.10),
            ("fan-out CPU < Node ws", WS, 0.0, 1.0),
            ("fan-out CPU < nchan", NCHAN, 0.0, 1.0),
        ):
            ratio, size = _ratio(rows, "fan-out", DELIVERY, server, other)
            yield _verdict(text, server, size, ratio, low, high, "×", strict=other != FLOOR)
        ratio, size = _ratio(rows, "fan-out", DELIVERY, STOCK_REDIS, server)
        yield _verdict("≥ 35 × cheaper than stock on Redis", server, size, ratio, 35, None, "×")


def _flat(rows: Sequence[Row]) -> Iterator[Verdict]:
    text = "cost per delivery flat, ±15 %, 500 to 10 000 sockets"
    for server in (OURS, OURS_PG):
        found = [size for size in sizes(rows, "fan-out", server) if FLAT[0] <= size <= FLAT[1]]
        if len(found) < 2:
            continue
        values = [_value(rows, "fan-out", server, size, DELIVERY) for size in found]
        reached = spread([value for value in values if value is not None])
        whole = (found[0], found[-1]) == FLAT
        yield Verdict(
            text,
            server,
            f"{found[0]} to {found[-1]}",
            f"±{reached:.0%}".replace("%", " %"),
            reached <= 0.15,
            "" if whole else "only some of the sizes",
        )


def _connect(rows: Sequence[Row]) -> Iterator[Verdict]:
    for server in (OURS, OURS_PG):
        ratio, size = _ratio(rows, "connect, 10 missed", CONNECTION, server, BARE, "connect")
        text = "connect, authenticated, 10 replayed ≤ 1.5 × bare uvicorn"
        yield _verdict(text, server, size, ratio, 0, 1.5, "×")


def _memory(rows: Sequence[Row]) -> Iterator[Verdict]:
    for server in (OURS, OURS_PG):
        size = _common(rows, "connect", server, "connect", BARE)
        ours = None if size is None else _value(rows, "connect", server, size, KILOBYTES)
        bare = None if size is None else _value(rows, "connect", BARE, size, KILOBYTES)
        more = None if ours is None or bare is None else ours - bare
        yield _verdict("memory ≤ bare uvicorn + 4 KB", server, size, more, None, 4, "KB more")


def _rest(rows: Sequence[Row]) -> Iterator[Verdict]:
    for row in rows:
        if row.benchmark == "notify() at 200/s" and row.server == OURS_PG:
            reached = row.values[P99]
            sent = row.values["rate"]
            met = reached <= 20 and not row.values["lost"] and sent >= 190
            yield Verdict(
                "notify() to the socket p99 ≤ 20 ms at 200/s, two processes",
                row.server,
                f"{row.sockets}",
                f"{reached:.1f} ms",
                met,
                "" if sent >= 190 else f"only {sent:.0f}/s could be sent",
            )
    for row in rows:
        if row.benchmark == "bulk":
            seconds = row.values[RECIPIENT] * BULK / 1e6
            yield Verdict(
                "notify() to 100 000 users ≤ 10 s",
                row.server,
                f"{row.sockets}",
                f"{seconds:.1f} s",
                seconds <= 10,
                "" if row.sockets >= BULK else "extrapolated from fewer recipients",
            )


def _value(rows: Sequence[Row], benchmark: str, server: str, size: int, name: str) -> float | None:
    return look_up(rows, benchmark, server, size, name)


def _common(
    rows: Sequence[Row], benchmark: str, one: str, other_benchmark: str, other: str
) -> int | None:
    """Return the size nearest to :data:`AT` at which both were measured, or None."""
    ours = set(sizes(rows, benchmark, one))
    return nearest(sorted(ours & set(sizes(rows, other_benchmark, other))), AT)


def _ratio(
    rows: Sequence[Row], benchmark: str, name: str, one: str, other: str, beside: str = ""
) -> tuple[float | None, int | None]:
    beside = beside or benchmark
    # The reference may be of another benchmark, because a bare server has nothing to replay.
    size = _common(rows, benchmark, one, beside, other)
    if size is None:
        return None, None
    above = _value(rows, benchmark, one, size, name)
    below = _value(rows, beside, other, size, name)
    if above is None or not below:
        return None, size
    return above / below, size


def _verdict(
    target: str,
    server: str,
    size: int | None,
    value: float | None,
    low: float | None,
    high: float | None,
    unit: str,
    *,
    strict: bool = False,
) -> Verdict:
    if size is None or value is None:
        return Verdict(target, server, "–", "–", None)
    met = (low is None or value >= low) and (
        high is None or (value < high if strict else value <= high)
    )
    remark = "" if size == AT else f"the target is for {AT}"
    return Verdict(target, server, str(size), f"{value:.2f} {unit}", met, remark)
