"""An explanation as a matplotlib picture: values (blue) on one side of each edge, messages (orange) on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import plots
from .graph import Graph
from .scene import LINE, SIZE, Box, Edge, scene
from .text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORWARD, BACKWARD = plots.LINES[0], plots.LINES[1]
_PER_INCH = 100.0
_POINTS = SIZE * 72 / _PER_INCH * 0.94
_FACES = {"call": "#f2f2f2", "fold": "#e4e4ee", "parameter": "#e3f4ec", "input": "#fdf3dc"}
_MARGIN, _HEAD = 12.0, 30.0


def picture(
    graph: Graph, *, values: bool = True, messages: bool = True, formulas: bool = False, title: str | None = None
) -> Figure:
    """See :meth:`pyneural.explaining.Explanation.figure`."""
    from matplotlib.figure import Figure

    extra = {}
    if formulas:
        for node in graph.nodes:
            rules = list(dict.fromkeys(plain(m.formula) for m in node.sent))
            extra[node.k] = "; ".join(rules)
    placed = scene(graph, values=values, messages=messages, extra=extra)
    heading = graph.title if title is None else title
    head = _HEAD if heading else 0.0
    width, height = max(placed.width, 220.0) + 2 * _MARGIN, placed.height + 2 * _MARGIN + head
    with plots.style():
        fig = Figure(figsize=(width / _PER_INCH, height / _PER_INCH))
        axes = fig.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-_MARGIN, width - _MARGIN), ylim=(height - _MARGIN - head, -_MARGIN - head))
        axes.axis("off")
        for edge in placed.edges:
            _edge(axes, edge, placed.down)
        for box in placed.boxes:
            _box(axes, box)
        if heading:
            axes.text(0, -head, heading, fontsize=10, weight="bold", va="top")
            axes.text(0, -head + 15, "blue: values, forward", fontsize=7.5, color=FORWARD, va="top")
            axes.text(130, -head + 15, "orange: messages, back", fontsize=7.5, color=BACKWARD, va="top")
    return fig


def _box(axes: Axes, box: Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    rounding = 9 if box.leaf is not None else 3
    axes.add_patch(FancyBboxPatch(
        (box.x - box.width / 2 + 1, box.y - box.height / 2 + 1), box.width - 2, box.height - 2,
        boxstyle=f"round,pad=0,rounding_size={rounding}", facecolor=_FACES.get(box.kind, "#ffffff"),
        edgecolor="#888888", linewidth=0.8))  # fmt: skip
    lines = [(t, plots.INK) for t in box.lines] + [(t, BACKWARD) for t in box.sums]
    top = box.y - LINE * (len(lines) - 1) / 2
    for i, (text, colour) in enumerate(lines):
        _text(axes, box.x, top + i * LINE, text, colour, "center", "bold" if i == 0 else "normal")


def _edge(axes: Axes, edge: Edge, down: bool) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    places, codes = [edge.points[0]], [Path.MOVETO]
    for piece in edge.pieces(down):
        places += piece
        codes += [Path.LINETO if len(piece) == 1 else Path.CURVE4] * len(piece)
    axes.add_patch(FancyArrowPatch(path=Path(places, codes), arrowstyle="->,head_length=5,head_width=2.5",
                                   color="#777777", linewidth=0.9, shrinkA=0, shrinkB=0))  # fmt: skip
    if down:
        top = edge.y - edge.height / 2 + LINE / 2 + 1
        for lines, colour, side in ((edge.values, FORWARD, "right"), (edge.messages, BACKWARD, "left")):
            for i, line in enumerate(lines):
                _text(axes, edge.x + (-4 if side == "right" else 4), top + i * LINE, line, colour, side)
        return
    above = edge.y - 3 - LINE * len(edge.values) + LINE / 2
    for i, line in enumerate(edge.values):
        _text(axes, edge.x, above + i * LINE, line, FORWARD, "center")
    for i, line in enumerate(edge.messages):
        _text(axes, edge.x, edge.y + 3 + LINE / 2 + i * LINE, line, BACKWARD, "center")


def _text(axes: Axes, x: float, y: float, text: str, colour: str, side: Any, weight: str = "normal") -> None:
    font: Any = {"fontsize": _POINTS, "family": "DejaVu Sans Mono", "weight": weight}
    axes.text(x, y, text.replace("$", r"\$"), ha=side, va="center_baseline", color=colour, **font)


__all__ = ["picture"]
