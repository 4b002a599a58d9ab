"""The labels of a plot of costs."""

from __future__ import annotations

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ovsam.paper.plot import _Dot, _draw_panel, _label


def test_labels_of_close_dots_stand_apart_and_inside() -> None:
    figure = Figure(figsize=(5, 4))
    canvas = FigureCanvasAgg(figure)
    panel = figure.subplots()
    dots = [_Dot(10 + i / 10, 50 - i / 9, f"{i}, {i + 1}", True) for i in range(5)]
    dots += [_Dot(100, 20, "12", False), _Dot(99, 20, "13", False)]
    _draw_panel(panel, dots, "top-1", "parameters")
    canvas.draw()  # type: ignore[no-untyped-call]
    _label(panel, dots)
    texts = [text for text in panel.texts if text.get_text()]
    assert [text.get_text() for text in texts] == [dot.label for dot in dots]
    boxes = [text.get_window_extent() for text in texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    for box in boxes:
        assert panel.bbox.contains(box.x0, box.y0) and panel.bbox.contains(box.x1, box.y1)
    places = panel.transData.transform([(dot.x, dot.y) for dot in dots])
    assert not any(box.contains(x, y) for box in boxes for x, y in places)
