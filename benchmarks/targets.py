"""The performance targets of the project, compared with the results of a run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .results import (
    BACK,
    BARE,
    BY_FORM,
    CALLER,
    CENTRIFUGO,
    CENTRIFUGO_REDIS,
    CONNECTION,
    CORE,
    DELIVERY,
    FIRST,
    FLOOR,
    FORMS,
    IDLE,
    KILOBYTES,
    NCHAN,
    OURS,
    OURS_PG,
    OURS_PG_2,
    OVERTAKEN,
    P99,
    PRIVATE,
    RECIPIENT,
    SCALING,
    SIZE,
    SLOWEST,
    SOCKET_IO,
    SPEED_UP,
    STOCK_REDIS,
    STORM,
    WALL,
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
#: Our two configurations, each with Centrifugo in the one like it.
LIKE = {OURS: CENTRIFUGO, OURS_PG: CENTRIFUGO_REDIS}
#: Recipients of the bulk targets, and the seconds allowed.
BULK, BULK_SECONDS = 100_000, {OURS: 3, OURS_PG: 4}
MILLION, MILLION_SECONDS = 1_000_000, 60
#: What the caller of ``notify()`` may need more for all recipients than for a tenth, in MB. The
#: primary keys that it returns take 4 MB of it.
CALLER_MORE = 10
#: Setting CONNECT_TIMEOUT in seconds, and how far the storm may be out of order, in % of its
#: places: clients that arrive together are served together.
CONNECT_TIMEOUT, OUT_OF_ORDER = 10, 10
#: What Protobuf may cost in proportion to JSON: no more, and 0.05 is the bound for noise.
NOISE = 1.05
#: How much faster two workers are on two processors than on one: the databases and the kernel's
#: work for the client share them.
SCALES = 1.7


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


@dataclass(frozen=True)
class _Value:
    """A value of a run: which server's, in which benchmark."""

    benchmark: str
    server: str
    name: str

    def at(self, rows: Sequence[Row], size: int) -> float | None:
        return look_up(rows, self.benchmark, self.server, size, self.name)

    def sizes(self, rows: Sequence[Row]) -> set[int]:
        found = sizes(rows, self.benchmark, self.server)
        return {size for size in found if self.at(rows, size) is not None}


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Return the verdicts on all targets, in the order of the benchmarks."""
    return [
        *_fan_out(rows),
        *_flat(rows),
        *_forms(rows),
        *_scaling(rows),
        *_connect(rows),
        *_resting(rows),
        *_latency(rows),
        *_private(rows),
        *_bulk(rows),
    ]


def _fan_out(rows: Sequence[Row]) -> Iterator[Verdict]:
    for server, centrifugo in LIKE.items():
        own = _Value("fan-out", server, DELIVERY)
        floor = _Value("fan-out", FLOOR, DELIVERY)
        yield _ratio(rows, "fan-out CPU ≤ 1.10 × floor", own, floor, most=1.10)
        for other in (WS, NCHAN, centrifugo, SOCKET_IO):
            beside = _Value("fan-out", other, DELIVERY)
            yield _ratio(rows, f"fan-out CPU < {other}", own, beside, below=1)
        stock = _Value("fan-out", STOCK_REDIS, DELIVERY)
        text = "≥ 40 × cheaper than stock on Redis"
        yield _ratio(rows, text, stock, own, least=40, server=server)


def _flat(rows: Sequence[Row]) -> Iterator[Verdict]:
    text = "cost per delivery flat, ±15 %, 500 to 10 000 sockets"
    for server in LIKE:
        own = _Value("fan-out", server, DELIVERY)
        found = sorted(size for size in own.sizes(rows) if FLAT[0] <= size <= FLAT[1])
        if len(found) < 2:
            continue
        values = [own.at(rows, size) for size in found]
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


def _forms(rows: Sequence[Row]) -> Iterator[Verdict]:
    text, binary = FORMS
    for words, name, most, below in (
        (f"fan-out CPU in {binary} ≤ {NOISE} × {text}", DELIVERY, NOISE, None),
        (f"frames in {binary} smaller than in {text}", SIZE, None, 1.0),
    ):
        one, other = (_Value(BY_FORM, form, name) for form in (binary, text))
        yield _ratio(rows, words, one, other, most=most, below=below, server=OURS)


def _scaling(rows: Sequence[Row]) -> Iterator[Verdict]:
    text = f"two workers on two processors ≥ {SCALES} × as fast as on one"
    value = _Value(SCALING, OURS_PG_2, SPEED_UP)
    at = nearest(sorted(value.sizes(rows)), AT)
    reached = None if at is None else value.at(rows, at)
    if reached is None:
        yield Verdict(text, OURS_PG_2, "–", "–", None)
    else:
        yield Verdict(text, OURS_PG_2, f"{at}", f"{reached:.2f} ×", reached >= SCALES)


def _connect(rows: Sequence[Row]) -> Iterator[Verdict]:
    for server, centrifugo in LIKE.items():
        back = _Value(BACK, server, CONNECTION)
        # A bare server has nothing to replay.
        bare = _Value("connect", BARE, CONNECTION)
        text = "connect, authenticated, 10 replayed"
        yield _ratio(rows, f"{text} ≤ 1.5 × bare uvicorn", back, bare, most=1.5)
        beside = _Value(BACK, centrifugo, CONNECTION)
        yield _ratio(rows, f"{text} ≤ 3 × {centrifugo}", back, beside, most=3)
        slowest = _Value(STORM, server, SLOWEST)
        text = f"storm of connects: nobody waits longer than {CONNECT_TIMEOUT} s"
        yield _single(rows, text, slowest, "s", CONNECT_TIMEOUT)
        text = f"storm of connects: in order of arrival, ±{OUT_OF_ORDER} % of the places"
        yield _single(rows, text, _Value(STORM, server, OVERTAKEN), "%", OUT_OF_ORDER)


def _resting(rows: Sequence[Row]) -> Iterator[Verdict]:
    for server, centrifugo in LIKE.items():
        memory = _Value("connect", server, KILOBYTES)
        yield _single(rows, "memory ≤ 16 KB per connection", memory, "KB", 16)
        idle = _Value(IDLE, server, CORE)
        yield _single(rows, "idle ≤ 3 % of a core", idle, "%", 3)
        # On the machine on which the target was set, Centrifugo used 5.5 %.
        beside = _Value(IDLE, centrifugo, CORE)
        yield _ratio(rows, f"idle ≤ 0.55 × {centrifugo}", idle, beside, most=0.55)


def _latency(rows: Sequence[Row]) -> Iterator[Verdict]:
    for row in rows:
        if row.benchmark == "notify() at 200/s" and row.server == OURS_PG:
            reached, sent = row.values[P99], row.values["rate"]
            yield Verdict(
                "notify() to the socket p99 ≤ 10 ms at 200/s, two processes",
                row.server,
                f"{row.sockets}",
                f"{reached:.1f} ms",
                reached <= 10 and not row.values["lost"] and sent >= 190,
                "" if sent >= 190 else f"only {sent:.0f}/s could be sent",
            )


def _private(rows: Sequence[Row]) -> Iterator[Verdict]:
    for server, centrifugo in LIKE.items():
        own, beside = (_Value(PRIVATE, name, WALL) for name in (server, centrifugo))
        text = f"private fan-out, to the last socket ≤ 1.5 × {centrifugo}"
        yield _ratio(rows, text, own, beside, most=1.5)


def _bulk(rows: Sequence[Row]) -> Iterator[Verdict]:
    for server, seconds in BULK_SECONDS.items():
        own = _Value("bulk", server, RECIPIENT)
        found = sorted(own.sizes(rows))
        at = nearest(found, BULK)
        if at is None:
            continue
        reached = (own.at(rows, at) or 0) * BULK / 1e6
        remark = "" if at >= BULK else "extrapolated from fewer recipients"
        text = f"notify() to 100 000 users ≤ {seconds} s"
        yield Verdict(text, server, f"{at}", f"{reached:.1f} s", reached <= seconds, remark)
        if server == OURS_PG:
            text = "notify() to 100 000 users: first socket ≤ 300 ms after the commit"
            yield _single(rows, text, _Value("bulk", server, FIRST), "ms", 300, BULK)
        yield _caller(rows, server, at)
        if MILLION in found:
            text = f"notify() to 1 000 000 users with progress ≤ {MILLION_SECONDS} s"
            whole = _Value("bulk", server, "seconds")
            yield _single(rows, text, whole, "s", MILLION_SECONDS, MILLION)


def _caller(rows: Sequence[Row], server: str, at: int) -> Verdict:
    text = f"notify(): memory of the caller flat, ≤ {CALLER_MORE} MB more than for a tenth"
    memory = _Value("bulk", server, CALLER)
    whole, tenth = memory.at(rows, at), memory.at(rows, at // 10)
    if whole is None or tenth is None:
        return Verdict(text, server, "–", "–", None)
    more = whole - tenth
    remark = "" if at >= BULK else f"the target is for {BULK}"
    return Verdict(text, server, f"{at}", f"{more:.1f} MB more", more <= CALLER_MORE, remark)


def _single(
    rows: Sequence[Row], target: str, value: _Value, unit: str, most: float, size: int = AT
) -> Verdict:
    """Judge one value, at the size nearest to that of the target."""
    at = nearest(sorted(value.sizes(rows)), size)
    reached = None if at is None else value.at(rows, at)
    if at is None or reached is None:
        return Verdict(target, value.server, "–", "–", None)
    remark = "" if at == size else f"the target is for {size}"
    return Verdict(target, value.server, str(at), f"{reached:.2f} {unit}", reached <= most, remark)


def _ratio(
    rows: Sequence[Row],
    target: str,
    own: _Value,
    other: _Value,
    *,
    most: float | None = None,
    below: float | None = None,
    least: float | None = None,
    server: str = "",
) -> Verdict:
    """Judge the ratio of two values at the size nearest to :data:`AT` at which both are known."""
    server = server or own.server
    size = nearest(sorted(own.sizes(rows) & other.sizes(rows)), AT)
    above, beside = (None, None) if size is None else (own.at(rows, size), other.at(rows, size))
    if above is None or not beside:
        return Verdict(target, server, "–", "–", None)
    ratio = above / beside
    met = (
        (most is None or ratio <= most)
        and (below is None or ratio < below)
        and (least is None or ratio >= least)
    )
    remark = "" if size == AT else f"the target is for {AT}"
    return Verdict(target, server, str(size), f"{ratio:.2f} ×", met, remark)
