"""The results as Markdown tables, as JSON and as a plot."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from . import plot
from .quiet import Load
from .results import (
    BACK,
    BARE,
    BY_FORM,
    CENTRIFUGO,
    CONNECTION,
    CORE,
    DELIVERY,
    FLOOR,
    FORMS,
    IDLE,
    PRIVATE,
    WALL,
    Results,
    Row,
    look_up,
)
from .targets import Verdict, verdicts

#: Benchmarks with a reference: the compared value, and the benchmark and server of the reference.
COMPARED = {
    "fan-out": (DELIVERY, "fan-out", FLOOR),
    "connect": (CONNECTION, "connect", BARE),
    BACK: (CONNECTION, "connect", BARE),
    IDLE: (CORE, IDLE, CENTRIFUGO),
    PRIVATE: (WALL, PRIVATE, CENTRIFUGO),
    BY_FORM: (DELIVERY, BY_FORM, FORMS[0]),
}
PLOT = "benchmarks.svg"
TABLES = "tables.md"
JSON = "benchmarks.json"
#: The page in docs/ that shows a run, and the line below which its tables are.
PAGE = "benchmarks.md"
MARK = "<!-- The rest is written by python -m benchmarks --publish -->"


def tables(results: Results) -> str:
    """Return Markdown: the targets, then a table with ratios for each benchmark.

    Between the heading and the targets is whether the machine was quiet.
    """
    parts = ["### Targets", quietness(results.load), _targets(verdicts(results.rows))]
    for benchmark in dict.fromkeys(row.benchmark for row in results.rows):
        parts.append(
            _benchmark([row for row in results.rows if row.benchmark == benchmark], results)
        )
    if results.machine:
        parts.append(f"Measured on: {results.machine}.")
    if results.missing:
        parts.append("\n".join(f"- Missing: {reason}" for reason in results.missing))
    if results.remarks:
        parts.append("\n".join(f"- Note: {remark}" for remark in results.remarks))
    return "\n\n".join(parts) + "\n"


def quietness(load: Load | None) -> str:
    """Say whether a run was quiet, and if not, why."""
    if load is None:
        return "Nobody observed whether the machine was quiet during this run."
    if load.is_quiet:
        return f"The machine was quiet: {load}."
    why = "; ".join(load.disturbances)
    return f"**The machine was not quiet: {why}.** So times and verdicts are preliminary: {load}."


def picture(results: Results) -> str:
    """Return the plot of a run as SVG."""
    return plot.draw(
        plot.panels(results.rows),
        "pushsite beside other push servers",
        f"{plot.SHOWN} sockets unless noted; one run, one machine, one client"
        + ("" if results.load is None or results.load.is_quiet else "; the machine was not quiet"),
    )


def save(results: Results, folder: Path) -> None:
    """Write the JSON, the tables and the plot."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON).write_text(_json(results))
    (folder / TABLES).write_text(tables(results))
    (folder / PLOT).write_text(picture(results))


def publish(results: Results, docs: Path) -> None:
    """Write the page, the plot and the JSON of a run into docs/. The README shows the same plot.

    Raises:
        ValueError: the page has no :data:`MARK` line.
    """
    page = docs / PAGE
    words, mark, _ = page.read_text().partition(MARK)
    if not mark:
        raise ValueError(f"{page} has no line {MARK!r}")
    page.write_text(f"{words}{MARK}\n\n{tables(results)}")
    (docs / JSON).write_text(_json(results))
    (docs / "images" / PLOT).write_text(picture(results))


def load(path: Path) -> Results:
    """Read the JSON that :func:`save` has written."""
    found = json.loads(path.read_text())
    rows = [Row(**row) for row in found["rows"]]
    load = found.get("load")
    return Results(
        rows,
        found["missing"],
        found["remarks"],
        found["machine"],
        None if load is None else Load(**load),
    )


def _json(results: Results) -> str:
    return json.dumps(asdict(results), indent=1, ensure_ascii=False) + "\n"


def _targets(found: Sequence[Verdict]) -> str:
    lines = [_line(["target", "server", "at", "reached", "verdict"]), _line(["---"] * 5)]
    for verdict in found:
        word = f"{verdict.word} ({verdict.remark})" if verdict.remark else verdict.word
        lines.append(_line([verdict.target, verdict.server, verdict.at, verdict.reached, word]))
    return "\n".join(lines)


def _benchmark(own: Sequence[Row], results: Results) -> str:
    benchmark = own[0].benchmark
    names = list(dict.fromkeys(name for row in own for name in row.values))
    head = ["server", "recipients" if benchmark == "bulk" else "sockets", *names]
    if benchmark in COMPARED:
        head.append(f"× {COMPARED[benchmark][2]}")
    lines = [f"### {benchmark}", "", _line(head), _line(["---"] * len(head))]
    for row in own:
        cells = [row.server, str(row.sockets)]
        cells += [_figure(row.values[name]) if name in row.values else "–" for name in names]
        if benchmark in COMPARED:
            cells.append(_ratio(row, results.rows))
        lines.append(_line(cells))
    return "\n".join(lines)


def _ratio(row: Row, rows: Sequence[Row]) -> str:
    value, benchmark, reference = COMPARED[row.benchmark]
    beside = look_up(rows, benchmark, reference, row.sockets, value)
    return f"{row.values[value] / beside:.2f}" if beside else "–"


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
