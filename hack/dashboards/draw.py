"""Draws a dashboard as an SVG from the answers of a Prometheus: what it shows of a real run, for the documentation.

No Grafana is needed: the panels, their places and queries are those of ``panels``; only the look is simpler. Called by
tests/e2e/kubernetes/test_monitoring.py, which writes build/dashboards; a picture that is better than the one in docs/
is copied there by hand.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from hack.dashboards.panels import Kind, Panel

COLUMN, ROW, HEAD = 50, 150, 34
"""Pixels: one of the 24 columns, a panel's height, a heading's height."""
COLORS = ("#1f60c4", "#37872d", "#fa6400", "#8f3bb8", "#c4162a", "#0a7f8c", "#b58900", "#5c6470")
MOST_SERIES = 8

Series = Mapping[str, Any]
"""One element of the result of Prometheus' query_range: ``metric`` and ``values``."""
Ask = Callable[[str], Sequence[Series]]


def picture(title: str, rows: Mapping[str, Sequence[Panel]], ask: Ask) -> str:
    """The whole dashboard. ``ask`` answers an expression of a panel for the time that the picture shows."""
    parts, top = [_text(10, 24, title, size=18, weight="bold")], 40
    for name, panels in rows.items():
        parts.append(_text(10, top + 22, name, size=15, weight="bold"))
        top, left = top + HEAD, 0
        for panel in panels:
            if left + panel.width > 24:
                top, left = top + ROW, 0
            parts.append(f'<g transform="translate({left * COLUMN},{top})">{_panel(panel, ask)}</g>')
            left += panel.width
        top += ROW
    size = f'width="{24 * COLUMN}" height="{top + 10}" viewBox="0 0 {24 * COLUMN} {top + 10}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="#f4f5f5"/>{"".join(parts)}</svg>\n'
    )


def _panel(panel: Panel, ask: Ask) -> str:
    width = panel.width * COLUMN
    frame = f'<rect x="3" y="3" width="{width - 6}" height="{ROW - 6}" rx="3" fill="#fff" stroke="#d8d9da"/>'
    found = [(_legend(legend, each["metric"]), each) for query, legend in panel.queries for each in ask(query)]
    body = {Kind.NUMBER: _number, Kind.LINES: _lines, Kind.STATES: _states, Kind.TABLE: _table}[panel.kind]
    return frame + _text(12, 22, panel.title, size=12, weight="bold") + body(panel, found[:MOST_SERIES], width)


def _legend(pattern: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        pattern = pattern.replace(f"{{{{{name}}}}}", value)
    return pattern


def _number(panel: Panel, found: Sequence[tuple[str, Series]], width: int) -> str:
    shown = "no data"
    if found:
        query, pattern = panel.queries[0]
        legend, series = max(found, key=lambda each: float(each[1]["values"][-1][0]))
        value = formatted(float(series["values"][-1][1]), panel.unit)
        named = legend if query.endswith("== 1") else f"{legend}: {value}"
        shown = named if "{{" in pattern else value
    return _text(width / 2, 92, shown, size=26 if len(shown) < 12 else 18, anchor="middle", color=COLORS[1])


def _lines(panel: Panel, found: Sequence[tuple[str, Series]], width: int) -> str:
    points = [(float(at), float(value)) for _, each in found for at, value in each["values"] if value != "NaN"]
    if not points:
        return _text(width / 2, 85, "no data in this run", size=12, anchor="middle", color="#8e8e8e")
    first, last = min(at for at, _ in points), max(at for at, _ in points)
    most = max(value for _, value in points) or 1.0
    left, right, upper, lower = 14, width - 14, 34, ROW - 42
    across, down = (right - left) / max(last - first, 1), (lower - upper) / most
    drawn = [_text(right, 22, f"max {formatted(most, panel.unit)}", size=10, anchor="end", color="#6e6e6e")]
    drawn.append(f'<path d="M{left} {lower}H{right}" stroke="#d8d9da"/>')
    legend, place = [], left
    for number, (name, each) in enumerate(found):
        color = COLORS[number % len(COLORS)]
        line = " ".join(
            f"{left + (float(at) - first) * across:.1f},{lower - float(value) * down:.1f}"
            for at, value in each["values"]
            if value != "NaN"
        )
        drawn.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.4"/>')
        if name and place < width - 40:
            legend.append(_text(place, ROW - 24, name, size=10, color=color))
            place += 7 * len(name) + 12
    return "".join([*drawn, *legend, _text(left, ROW - 11, f"{last - first:.0f} s", size=9, color="#8e8e8e")])


def _states(_: Panel, found: Sequence[tuple[str, Series]], width: int) -> str:
    moments = [float(at) for _, each in found for at, _ in each["values"]]
    if not moments:
        return _text(width / 2, 85, "no data in this run", size=12, anchor="middle", color="#8e8e8e")
    first, last = min(moments), max(moments)
    left, right = 24 + max(6 * len(name) for name, _ in found), width - 14
    across = (right - left) / max(last - first, 1)
    step = min(16.0, (ROW - 40) / len(found))
    bars = []
    for number, (name, each) in enumerate(found):
        y = 32 + number * step
        bars.append(_text(12, y + step - 4, name, size=10))
        begin = before = float(each["values"][0][0])
        for at in [*(float(at) for at, _ in each["values"][1:]), float("inf")]:
            if at - before > 3 * max(1.0, (last - first) / 200):
                size = max((before - begin) * across, 2)
                x = left + (begin - first) * across
                bars.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{size:.1f}" height="{step - 3:.1f}" '
                    f'fill="{COLORS[number % len(COLORS)]}" opacity="0.75"/>'
                )
                begin = at
            before = at
    return "".join(bars)


def _table(panel: Panel, found: Sequence[tuple[str, Series]], _: int) -> str:
    lines = []
    for number, (legend, each) in enumerate(found[:6]):
        labels = ", ".join(f"{name}={value}" for name, value in sorted(each["metric"].items()) if name != "__name__")
        value = formatted(float(each["values"][-1][1]), panel.unit)
        lines.append(_text(12, 44 + 16 * number, f"{labels}: {legend} {value}", size=11))
    return "".join(lines)


def formatted(value: float, unit: str) -> str:
    """As Grafana would, more or less."""
    match unit:
        case "percentunit":
            return f"{value * 100:.1f} %"
        case "s":
            if value < 100:
                return f"{value:.2f} s"
            return f"{value / 60:.0f} min" if value < 7200 else f"{value / 86400:.1f} d"
        case "bytes" | "Bps":
            return f"{value / 1024:,.0f} KiB" + ("/s" if unit == "Bps" else "")
        case _:
            return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def _text(
    x: float, y: float, text: str, *, size: int, weight: str = "normal", anchor: str = "start", color: str = "#24292e"
) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{color}">{escape(text)}</text>'
    )
