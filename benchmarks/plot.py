"""A bar chart of the figures, as one static SVG.

It has its own background, so that it is readable on a light and on a dark page.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .results import CONNECTION, DELIVERY, KILOBYTES, OURS, Row, nearest

WIDTH, LEFT, BAR, LINE = 850, 352, 400, 26
MARGIN, HEAD, GAP = 24, 64, 34
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
PAPER, INK, FAINT, GRID = "#10182b", "#e8edf7", "#93a1bd", "#26324d"
PEER, HIGHLIGHT = "#5a6a8c", "#2fd6a3"

#: A bar is cut if its value is more than this many times the median.
OUTLIER = 4.0
#: Number of sockets that the panels show, or the nearest that was measured.
SHOWN = 5000


@dataclass(frozen=True)
class Bar:
    """One server in a panel."""

    name: str
    value: float
    note: str = ""

    @property
    def is_ours(self) -> bool:
        return self.name.startswith(OURS)


@dataclass(frozen=True)
class Panel:
    title: str
    unit: str
    bars: Sequence[Bar]


def panels(rows: Sequence[Row]) -> list[Panel]:
    """Return the panels of a run, with each server at the size nearest to :data:`SHOWN`."""
    found = [
        Panel("Fan-out: server CPU per delivery", "µs", _bars(rows, "fan-out", DELIVERY)),
        Panel("Connect: server CPU per connection", "µs", _bars(rows, "connect", CONNECTION)),
        Panel("Memory per idle connection", "KB", _bars(rows, "connect", KILOBYTES)),
    ]
    return [panel for panel in found if panel.bars]


def scale(values: Sequence[float]) -> float:
    """Return the value of a bar of full length; longer bars are cut.

    A bar is cut if its value is more than :data:`OUTLIER` times the median.
    """
    limit = statistics.median(values) * OUTLIER
    longest = max(value for value in values if value <= limit)
    return longest if longest == max(values) else longest * 1.25


def draw(found: Sequence[Panel], title: str, subtitle: str) -> str:
    """Return an SVG with the panels one below another."""
    height = HEAD + sum(GAP + LINE * len(panel.bars) + 18 for panel in found) + MARGIN // 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="{FONT}" font-size="13" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="12" fill="{PAPER}"/>',
        _text(MARGIN, 34, title, INK, 'font-size="18" font-weight="600"'),
        _text(MARGIN, 54, subtitle, FAINT),
    ]
    top = HEAD
    for panel in found:
        parts += _panel(panel, top)
        top += GAP + LINE * len(panel.bars) + 18
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bars(rows: Sequence[Row], benchmark: str, value: str) -> list[Bar]:
    own = [row for row in rows if row.benchmark == benchmark and value in row.values]
    bars = []
    for server in dict.fromkeys(row.server for row in own):
        found = {row.sockets: row for row in own if row.server == server}
        size = nearest(sorted(found), SHOWN)
        assert size is not None
        note = "" if size == SHOWN else f"at {size:,}".replace(",", " ")
        bars.append(Bar(server, max(found[size].values[value], 0.0), note))
    return sorted(bars, key=lambda bar: bar.value)


def _panel(panel: Panel, top: int) -> list[str]:
    full = scale([bar.value for bar in panel.bars])
    bottom = top + GAP + LINE * len(panel.bars)
    heading = f"{panel.title} ({panel.unit}, shorter is better)"
    parts = [_text(MARGIN, top + 22, heading, INK, 'font-weight="600"')]
    for quarter in range(1, 5):
        x = LEFT + BAR * quarter // 4
        parts.append(f'<path d="M{x} {top + GAP}V{bottom}" stroke="{GRID}"/>')
    for number, bar in enumerate(panel.bars):
        parts += _bar(bar, full, top + GAP + LINE * number)
    return parts


def _bar(bar: Bar, full: float, top: int) -> list[str]:
    is_cut = bar.value > full
    width = BAR if is_cut else max(2, round(BAR * bar.value / full))
    colour = HIGHLIGHT if bar.is_ours else PEER
    ink = PAPER if bar.is_ours else INK
    weight = 'font-weight="600"' if bar.is_ours else ""
    figure = f"{bar.value:,.0f}" if bar.value >= 100 else f"{bar.value:.1f}"
    words = [figure.replace(",", " "), *(["(bar cut)"] if is_cut else [])]
    name = f"{bar.name} ({bar.note})" if bar.note else bar.name
    parts = [
        _text(LEFT - 10, top + 17, name, INK, f'text-anchor="end" font-size="12" {weight}'),
        f'<rect x="{LEFT}" y="{top + 4}" width="{width}" height="{LINE - 8}" rx="3" '
        f'fill="{colour}"/>',
    ]
    if is_cut:
        parts.append(_tear(LEFT + width - 48, top))
        parts.append(_text(LEFT + width - 58, top + 17, " ".join(words), ink, 'text-anchor="end"'))
    else:
        parts.append(_text(LEFT + width + 8, top + 17, words[0], INK, weight))
    return parts


def _tear(x: int, top: int) -> str:
    """Return a zigzag line that marks a cut bar."""
    steps = "l5 5 -5 5 5 5 -5 5 5 5"
    return (
        f'<path d="M{x} {top}{steps}M{x + 9} {top}{steps}" fill="none" stroke="{PAPER}" '
        'stroke-width="4"/>'
    )


def _text(x: int, y: int, words: str, colour: str, attributes: str = "") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" {attributes}>{escape(words)}</text>'
