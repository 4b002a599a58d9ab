"""Accuracy against cost, as the paper's Figure 1: what was measured beside the paper's points."""

from __future__ import annotations

import io

from ovsam.errors import OvsamError
from ovsam.tables.results import FilledTable
from ovsam.tables.table_set import Cost

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
except ImportError as error:
    raise OvsamError(
        "Accuracy against cost is drawn with matplotlib, which is not installed: pip install "
        "'ovsam[train]'."
    ) from error

_UNITS: dict[Cost, tuple[str, float]] = {
    "multiply_adds": ("multiply-adds, G", 1e9),
    "parameters": ("parameters, M", 1e6),
}
_OURS, _PAPER = "#0072b2", "#d55e00"  # told apart with every common colour blindness


def draw_costs(filled: FilledTable) -> bytes:
    """Each of the table's `plot` columns over both costs, rows by their numbers: PNG."""
    headings = filled.table.plot
    figure = Figure(figsize=(10.5, 3.6 * len(headings) + 0.28 * len(filled.rows)))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(len(headings), 2, squeeze=False)
    for line, heading in zip(panels, headings, strict=True):
        for panel, cost in zip(line, _UNITS, strict=True):
            _draw_panel(panel, filled, heading, cost)
    names = [
        Line2D([], [], linestyle="", label=f"{number}  {row.method}")
        for number, row in enumerate(filled.rows, start=1)
    ]
    kinds = [
        Line2D([], [], linestyle="", marker="o", color=_OURS, label="measured here"),
        Line2D([], [], linestyle="", marker="D", color=_PAPER, mfc="white", label="the paper"),
    ]
    figure.legend(handles=[*kinds, *names], loc="outside lower center", ncols=2, fontsize=8.5)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _draw_panel(panel: Axes, filled: FilledTable, heading: str, cost: Cost) -> None:
    unit, size = _UNITS[cost]
    costs = [column.heading for column in filled.table.columns if column.cost == cost]
    figures = filled.column(heading)
    places = filled.column(costs[0])
    for number, (figure, place) in enumerate(zip(figures, places, strict=True), start=1):
        if figure.value is not None and place.value is not None:
            _draw_point(panel, place.value / size, 100 * figure.value, number, ours=True)
        if figure.paper is not None and place.paper is not None:
            _draw_point(panel, place.paper, figure.paper, number, ours=False)
    panel.set_xscale("log")
    panel.set(xlabel=unit, ylabel=heading)
    panel.grid(alpha=0.3, which="both")
    panel.set_axisbelow(True)


def _draw_point(panel: Axes, x: float, y: float, number: int, *, ours: bool) -> None:
    colour = _OURS if ours else _PAPER
    fill = colour if ours else "white"
    panel.plot([x], [y], "o" if ours else "D", color=colour, mfc=fill, markersize=6)
    panel.annotate(
        str(number), (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8, color=colour
    )
