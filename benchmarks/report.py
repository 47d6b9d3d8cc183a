"""The figures as a table, as JSON and as a plot."""

import json
import platform
from pathlib import Path

from .measures import Row

#: What each benchmark is ranked by, and beside whom.
RANKED = {
    "fan-out": ("µs per delivery", "floor"),
    "connect": ("µs per connection", "bare uvicorn"),
    "latency": ("p99 ms", ""),
    "bulk": ("seconds", ""),
}
BAR, LINE, LEFT = 320, 24, 260


def table(rows: list[Row]) -> str:
    """A Markdown table for each benchmark, with the ratio to the reference of the same run."""
    parts = []
    for benchmark, (value, reference) in RANKED.items():
        own = [row for row in rows if row.benchmark == benchmark]
        if not own:
            continue
        names = list(own[0].values)
        head = ["server", "sockets", *names, *([f"× {reference}"] if reference else [])]
        lines = [f"\n### {benchmark}\n", _line(head), _line(["---"] * len(head))]
        for row in own:
            cells = [row.server, str(row.sockets), *(f"{row.values[n]:.4g}" for n in names)]
            if reference:
                cells.append(_ratio(row, own, value, reference))
            lines.append(_line(cells))
        parts.append("\n".join(lines))
    return "\n".join(parts)


def save(rows: list[Row], missing: list[str], folder: Path) -> None:
    """Write ``results.json`` and a plot of the fan-out."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "missing": missing,
        "rows": [vars(row) for row in rows],
    }
    (folder / "results.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    (folder / "fan-out.svg").write_text(plot([row for row in rows if row.benchmark == "fan-out"]))


def plot(rows: list[Row]) -> str:
    """A bar for each server: CPU per delivery."""
    values = [row.values["µs per delivery"] for row in rows]
    # One server may be far beyond the others; its bar is cut and its figure tells.
    most = sorted(values)[max(0, len(values) * 2 // 3 - 1)] * 1.6 if values else 1.0
    height = LINE * (len(rows) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + BAR + 90}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="100%" height="{height}" fill="#fff"/>',
        '<text x="12" y="18" font-weight="bold">CPU per delivery, one broadcast (µs)</text>',
    ]
    for number, row in enumerate(rows):
        value = row.values["µs per delivery"]
        y = LINE * (number + 1) + 10
        width = min(value / most, 1.0) * BAR
        colour = "#0a7" if row.server.startswith("pushsite") else "#99a"
        parts += [
            f'<text x="12" y="{y + 14}">{row.server}, {row.sockets} sockets</text>',
            f'<rect x="{LEFT}" y="{y + 2}" width="{width:.0f}" height="16" fill="{colour}"/>',
            f'<text x="{LEFT + width + 6:.0f}" y="{y + 15}">{value:.1f}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ratio(row: Row, rows: list[Row], value: str, reference: str) -> str:
    beside = [r for r in rows if r.server == reference and r.sockets == row.sockets]
    return f"{row.values[value] / beside[0].values[value]:.2f}" if beside else "–"
