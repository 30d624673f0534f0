"""Chains of operations as a picture: forward values above the edges, messages (gradients of the loss) below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pyneural import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORWARD, BACKWARD = plots.LINES[0], plots.LINES[1]
EDGE, LINE = 0.95, 0.155  # inches: length of an edge, height of a line of text


@dataclass(frozen=True)
class Stage:
    """One operation: what its box says, and the name, value and message (None for none) of what comes out of it.

    `inputs` are what else goes in, drawn below the box: name to (value, gradient), the gradient None for data.
    """

    operation: str
    name: str
    value: Any
    message: Any = None
    inputs: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def width(self) -> float:
        """Of the box, in inches; mathematical signs such as $\\sigma$ count as one letter."""
        return 0.34 + 0.063 * (1 if "$" in self.operation else len(self.operation))


@dataclass(frozen=True)
class Chain:
    """Operations from left to right; `name` and `value` are what goes into the first one."""

    title: str
    name: str
    value: Any
    stages: Sequence[Stage]


def picture(*chains: Chain, loss: str = "L", decimals: int = 4) -> Figure:
    """The chains, one below the other; numbers get `decimals` decimals, `loss` is the name in the gradients."""
    fig, axes = plots.new()
    right, top = 0.0, 0.0
    with plots.style():
        for chain in chains:
            lines = max(len(_numbers(v, decimals)) for v in (chain.value, *(s.value for s in chain.stages)))
            axes.text(0.05, top, chain.title, va="top", fontsize=10, weight="bold")
            y = top - LINE * (lines + 3)
            messages = [_numbers(s.message, decimals) for s in chain.stages if s.message is not None]
            below = y - LINE * (max(map(len, messages)) + 2)  # what comes in from below stays clear of all messages
            bottom, x = below, 0.05 + EDGE
            _edge(axes, 0.05, y, chain.name, _numbers(chain.value, decimals), loss, [])
            for stage in chain.stages:
                bottom = min(bottom, _draw(axes, stage, x, y, below, loss, decimals))
                x += stage.width + EDGE
            right, top = max(right, x), bottom - LINE
        axes.set(xlim=(0, right + 0.05), ylim=(top + 0.5 * LINE, 0.05))
        axes.axis("off")
        fig.set_size_inches(right + 0.2, 0.15 - top)  # with the padding, one unit of the axes is about an inch
    return fig


def _draw(axes: Axes, stage: Stage, x: float, y: float, below: float, loss: str, decimals: int) -> float:
    """A box at (x, y), the edge to its right, and its inputs, written from `below` on; returns where they end."""
    middle = x + stage.width / 2
    frame = {"boxstyle": "round,pad=0.45", "facecolor": "#f2f2f2", "edgecolor": "#888888"}
    axes.text(middle, y, stage.operation, ha="center", va="center", fontsize=9, bbox=frame)
    messages = [] if stage.message is None else _numbers(stage.message, decimals)
    _edge(axes, x + stage.width, y, stage.name, _numbers(stage.value, decimals), loss, messages)
    if stage.inputs:
        axes.annotate("", (middle, y - 0.17), (middle, below), arrowprops={"arrowstyle": "->", "color": FORWARD})
    for name, (value, gradient) in stage.inputs.items():
        below = _text(axes, middle, below, name, _numbers(value, decimals), FORWARD)
        if gradient is not None:
            below = _text(axes, middle, below, _slope(loss, name), _numbers(gradient, decimals), BACKWARD)
        below -= 0.4 * LINE
    return below


def _edge(axes: Axes, left: float, y: float, name: str, value: list[str], loss: str, message: list[str]) -> None:
    right, middle = left + EDGE, left + EDGE / 2
    axes.annotate("", (right, y + 0.05), (left, y + 0.05), arrowprops={"arrowstyle": "->", "color": FORWARD})
    _text(axes, middle, y + 0.12 + LINE * (len(value) + 1), name, value, FORWARD)
    if message:
        axes.annotate("", (left, y - 0.05), (right, y - 0.05), arrowprops={"arrowstyle": "->", "color": BACKWARD})
        _text(axes, middle, y - 0.12, _slope(loss, name), message, BACKWARD)


def _text(axes: Axes, x: float, top: float, name: str, rows: list[str], colour: str) -> float:
    """The name and below it the numbers, line by line; returns where the text ends."""
    axes.text(x, top, name, ha="center", va="top", fontsize=8.5, color=colour, weight="bold")
    for i, row in enumerate(rows, 1):
        axes.text(x, top - LINE * i, row, ha="center", va="top", fontsize=7.5, color=colour, family="monospace")
    return top - LINE * (len(rows) + 1)


def _slope(loss: str, name: str) -> str:
    return f"\N{PARTIAL DIFFERENTIAL}{loss}/\N{PARTIAL DIFFERENTIAL}{name}"


def _numbers(value: Any, decimals: int) -> list[str]:
    """Lines of text: one number, a column vector, or the rows of a matrix."""
    rows = np.asarray(value, np.float64)
    rows = rows.reshape(len(rows), -1) if rows.ndim else rows.reshape(1, 1)
    cells = [[f"{x:.{decimals}f}".replace("-", "\N{MINUS SIGN}") for x in row] for row in rows]
    width = max(len(cell) for row in cells for cell in row)
    return [" ".join(cell.rjust(width) for cell in row) for row in cells]
