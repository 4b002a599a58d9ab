"""Accuracy against cost, as the paper's Figure 1: what was measured beside the paper's points."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from ovsam.extras import missing
from ovsam.paper.results import FilledTable
from ovsam.paper.table_set import Cost

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
except ImportError as error:
    raise missing("The plot of accuracy against cost", "matplotlib") from error

_UNITS: dict[Cost, tuple[str, float]] = {
    "multiply_adds": ("multiply-adds, G", 1e9),
    "parameters": ("parameters, M", 1e6),
}
_OURS, _PAPER = "#0072b2", "#d55e00"  # told apart with every common colour blindness
_MARKER, _TEXT = 6, 8  # sizes in points
_FAR = 16  # points; a label so far from its dot has a line to it
_PLACES = [  # of a label beside its dot, in points: near ones first
    (far * x, far * y)
    for far in (7, 12, 18, 26, 36)
    for x, y in (
        (1, 0.7),
        (1, -0.7),
        (-1, 0.7),
        (-1, -0.7),
        (0, 1.2),
        (0, -1.2),
        (1.3, 0),
        (-1.3, 0),
    )
]


@dataclass(frozen=True)
class _Dot:
    """A place of a plot, in its axes' units, and the numbers of the rows that lie there."""

    x: float
    y: float
    label: str
    ours: bool

    @property
    def colour(self) -> str:
        return _OURS if self.ours else _PAPER


def draw_costs(filled: FilledTable) -> bytes:
    """Each of the table's `plot` columns over both costs, rows by their numbers: PNG."""
    headings = filled.table.plot
    figure = Figure(figsize=(10.5, 4.2 * len(headings) + 0.14 * len(filled.rows)))
    canvas = FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    panels = figure.subplots(len(headings), 2, squeeze=False)
    dots: list[tuple[Axes, list[_Dot]]] = []
    for line, heading in zip(panels, headings, strict=True):
        for panel, cost in zip(line, _UNITS, strict=True):
            dots.append((panel, _dots(filled, heading, cost)))
            _draw_panel(panel, dots[-1][1], heading, cost)
    names = [
        Line2D([], [], linestyle="", label=f"{number}  {row.method}")
        for number, row in enumerate(filled.rows, start=1)
    ]
    kinds = [
        Line2D([], [], linestyle="", marker="o", color=_OURS, label="measured here"),
        Line2D([], [], linestyle="", marker="D", color=_PAPER, mfc="white", label="the paper"),
    ]
    figure.legend(handles=[*kinds, *names], loc="outside lower center", ncols=2, fontsize=8.5)
    canvas.draw()  # type: ignore[no-untyped-call]  # only now is known where the dots are
    figure.set_layout_engine("none")
    for panel, here in dots:
        _label(panel, here)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _dots(filled: FilledTable, heading: str, cost: Cost) -> list[_Dot]:
    size = _UNITS[cost][1]
    costs = [column.heading for column in filled.table.columns if column.cost == cost]
    found: dict[tuple[float, float, bool], list[int]] = {}
    cells = zip(filled.column(heading), filled.column(costs[0]), strict=True)
    for number, (figure, place) in enumerate(cells, start=1):
        if figure.value is not None and place.value is not None:
            at = place.value / size, 100 * figure.value, True
            found.setdefault(at, []).append(number)
        if figure.paper is not None and place.paper is not None:
            found.setdefault((place.paper, figure.paper, False), []).append(number)
    return [_Dot(x, y, ", ".join(map(str, rows)), ours) for (x, y, ours), rows in found.items()]


def _draw_panel(panel: Axes, dots: Sequence[_Dot], heading: str, cost: Cost) -> None:
    for dot in dots:
        fill = dot.colour if dot.ours else "white"
        kind = "o" if dot.ours else "D"
        panel.plot([dot.x], [dot.y], kind, color=dot.colour, mfc=fill, markersize=_MARKER)
    panel.set_xscale("log")
    panel.margins(0.12)
    panel.set(xlabel=_UNITS[cost][0], ylabel=heading)
    panel.grid(alpha=0.3, which="both")
    panel.set_axisbelow(True)


def _label(panel: Axes, dots: Sequence[_Dot]) -> None:
    """Write the numbers beside each dot, inside the plot and on nothing else as far as can be."""
    points = 72 / panel.figure.dpi
    places = [tuple(points * panel.transData.transform((dot.x, dot.y))) for dot in dots]
    inside = tuple(points * edge for edge in panel.bbox.extents)
    half = _MARKER / 2 + 1
    taken = [(x - half, y - half, x + half, y + half) for x, y in places]
    for dot, (x, y) in zip(dots, places, strict=True):
        width, height = 0.6 * _TEXT * len(dot.label), 1.1 * _TEXT
        boxes = []
        for right, up in _PLACES:
            left = x + right - (width if right < 0 else width / 2 if right == 0 else 0)
            boxes.append((left, y + up - height / 2, left + width, y + up + height / 2))
        # What is covered, less what lies inside: all boxes of a dot are of one size.
        bad = [sum(_overlap(b, other) for other in taken) - _overlap(b, inside) for b in boxes]
        chosen = min(range(len(boxes)), key=lambda i: (round(bad[i]), i))
        box, (right, up) = boxes[chosen], _PLACES[chosen]
        taken.append(box)
        is_far = abs(right) + abs(up) > _FAR
        line = {"arrowstyle": "-", "color": dot.colour, "lw": 0.5, "shrinkA": 1, "shrinkB": 2}
        panel.annotate(
            dot.label,
            (dot.x, dot.y),
            xytext=((box[0] + box[2]) / 2 - x, up),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=_TEXT,
            color=dot.colour,
            arrowprops=line if is_far else None,
        )


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The area that two boxes xyxy share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)
